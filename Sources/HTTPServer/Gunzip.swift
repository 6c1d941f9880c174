internal import CZlib

/// A gzip member decompressed, to at most `bytesMax` bytes.
func gunzip(_ source: [UInt8], bytesMax: Int) throws(GRPCStatus) -> [UInt8] {
    var stream = z_stream()
    let windowBitsAndGzip: Int32 = 15 + 16
    let size = Int32(MemoryLayout<z_stream>.size)
    guard inflateInit2_(&stream, windowBitsAndGzip, ZLIB_VERSION, size) == Z_OK else {
        throw GRPCStatus(code: 13, message: "grpc: no memory to decompress with")
    }
    defer { inflateEnd(&stream) }
    var result: [UInt8] = []
    var source = source
    let status = source.withUnsafeMutableBufferPointer { input in
        stream.next_in = input.baseAddress
        stream.avail_in = UInt32(clamping: input.count)
        return inflateAll(&stream, into: &result, bytesMax: bytesMax)
    }
    if result.count > bytesMax {
        throw GRPCStatus(
            code: 8,
            message: "grpc: received message after decompression larger than max (\(result.count) vs. \(bytesMax))")
    }
    guard status == Z_STREAM_END, stream.avail_in == 0 else {
        throw GRPCStatus(code: 13, message: "grpc: failed to decompress the received message: not gzip")
    }
    return result
}

/// Inflates until the end, an error, or more than `bytesMax` bytes.
private func inflateAll(_ stream: inout z_stream, into result: inout [UInt8], bytesMax: Int) -> Int32 {
    let step = 16 << 10
    var status = Z_OK
    while status == Z_OK, result.count <= bytesMax {
        let piece = [UInt8](unsafeUninitializedCapacity: step) { output, count in
            stream.next_out = output.baseAddress
            stream.avail_out = UInt32(step)
            status = inflate(&stream, Z_NO_FLUSH)
            count = step - Int(stream.avail_out)
        }
        result += piece
    }
    return status
}
