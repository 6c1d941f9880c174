/// Texts of headers that came lately: the same few come with every request of a connection.
struct HeaderTexts {
    private static let textsMax = 32
    private static let bytesMax = 64

    private var texts: [(bytes: [UInt8], text: String)] = []
    private var oldest = 0

    mutating func text(_ bytes: UnsafeBufferPointer<UInt8>) -> String {
        guard bytes.count <= Self.bytesMax else { return String(decoding: bytes, as: UTF8.self) }
        for place in texts.indices where texts[place].bytes.count == bytes.count {
            let isSame = texts[place].bytes.withUnsafeBufferPointer { $0.elementsEqual(bytes) }
            if isSame { return texts[place].text }
        }
        let text = String(decoding: bytes, as: UTF8.self)
        if texts.count < Self.textsMax {
            texts.append((Array(bytes), text))
        } else {
            texts[oldest] = (Array(bytes), text)
            oldest = (oldest + 1) % Self.textsMax
        }
        return text
    }
}
