internal import Bytes
internal import Simulation

/// Makes each mistake in turn and counts the seeds it takes to find it.
struct Planted {
    let first: UInt64
    let limit: Int
    let sample: Int?
    let only: String?

    func run() throws -> Bool {
        #if WEFT_MISTAKES
            var mistakes = Mistake.allCases
            if let only { mistakes = mistakes.filter { $0.rawValue == only } }
            if let sample {
                var generator = SystemRandomNumberGenerator()
                mistakes = Array(mistakes.shuffled(using: &generator).prefix(sample))
            }
            var missed: [Mistake] = []
            for mistake in mistakes where try !find(mistake) { missed.append(mistake) }
            print("\(mistakes.count - missed.count) of \(mistakes.count) mistakes found")
            return missed.isEmpty && !mistakes.isEmpty
        #else
            print("this build makes no mistakes; `scripts/sim --planted` makes one that does")
            return false
        #endif
    }

    private func find(_ mistake: Mistake) throws -> Bool {
        var worker = try WorkerProcess(first: first, count: limit, without: [], mistake: mistake.rawValue)
        defer { worker.stop() }
        var count = 0
        while let result = try worker.next() {
            count += 1
            guard let failure = result.failure else { continue }
            let check = failure.split(separator: ":").first.map(String.init) ?? failure
            print("found   \(mistake.rawValue) (\(mistake.summary)) after \(count) seeds by: \(check)")
            return true
        }
        print("MISSED  \(mistake.rawValue) (\(mistake.summary)) in \(count) seeds")
        return false
    }
}
