extension Array {
    /// The first place from which on `isBehind` holds, as it does for none before it; `count` where it holds for none. Logarithmic.
    @inlinable
    package func partitioningIndex(where isBehind: (Element) -> Bool) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if isBehind(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
