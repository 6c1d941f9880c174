package import MVCC

/// Values by ranges of keys. Those whose range contains a key are found in a time that grows with how many they are and with
/// the logarithm of how many there are.
///
/// A balanced tree (AVL) by where ranges start; each node knows how far the ranges of its subtree reach.
package struct RangeIndex<Value> {
    /// A range without its two ways to say one key.
    private struct Span: Equatable {
        let start: [UInt8]
        /// The first key behind it; nil if there is none.
        let end: [UInt8]?

        init(_ range: KeyRange) {
            start = range.start
            end =
                switch range.end {
                case .single: range.start + [0]
                case .before(let end): end
                case .unbounded: nil
                }
        }

        func precedes(_ other: Span) -> Bool {
            if start != other.start { return MVCC.precedes(start, other.start) }
            return end != other.end && !RangeIndex.reaches(end, beyond: other.end)
        }
    }

    private struct Node {
        var span: Span
        var value: Value
        var left: Int?
        var right: Int?
        var height = 1
        /// Where the last of the ranges of its subtree ends.
        var reach: [UInt8]?
    }

    private var nodes: [Node?] = []
    private var free: [Int] = []
    private var root: Int?

    package init() {}

    package var count: Int { nodes.count - free.count }

    package subscript(_ range: KeyRange) -> Value? {
        let span = Span(range)
        var next = root
        while let place = next {
            let node = self[place]
            if node.span == span { return node.value }
            next = span.precedes(node.span) ? node.left : node.right
        }
        return nil
    }

    /// Puts `value` there, in the place of what was.
    package mutating func put(_ value: Value, at range: KeyRange) {
        root = put(value, Span(range), under: root)
    }

    package mutating func remove(_ range: KeyRange) {
        root = remove(Span(range), under: root)
    }

    /// - Returns: how many ranges were looked at.
    @discardableResult
    package func forEach(containing key: [UInt8], _ body: (Value) -> Void) -> Int {
        visit(root, key, body)
    }

    private func visit(_ place: Int?, _ key: [UInt8], _ body: (Value) -> Void) -> Int {
        guard let place else { return 0 }
        let node = self[place]
        guard Self.reaches(node.reach, beyond: key) else { return 1 }
        let before = visit(node.left, key, body)
        // What stands to the right starts no earlier.
        guard !precedes(key, node.span.start) else { return before + 1 }
        if Self.reaches(node.span.end, beyond: key) { body(node.value) }
        return before + 1 + visit(node.right, key, body)
    }

    /// - Parameters:
    ///   - end: nil is behind all keys.
    ///   - other: likewise.
    private static func reaches(_ end: [UInt8]?, beyond other: [UInt8]?) -> Bool {
        guard let other else { return false }
        return end.map { precedes(other, $0) } ?? true
    }

    // MARK: - The tree

    private subscript(_ place: Int) -> Node {
        get {
            guard let node = nodes[place] else { preconditionFailure("no range stands at \(place)") }
            return node
        }
        set { nodes[place] = newValue }
    }

    private func height(_ place: Int?) -> Int { place.map { self[$0].height } ?? 0 }

    private mutating func put(_ value: Value, _ span: Span, under place: Int?) -> Int {
        guard let place else {
            let node = Node(span: span, value: value, reach: span.end)
            guard let spare = free.popLast() else {
                nodes.append(node)
                return nodes.count - 1
            }
            nodes[spare] = node
            return spare
        }
        if self[place].span == span {
            self[place].value = value
            return place
        }
        if span.precedes(self[place].span) {
            self[place].left = put(value, span, under: self[place].left)
        } else {
            self[place].right = put(value, span, under: self[place].right)
        }
        return balanced(place)
    }

    private mutating func remove(_ span: Span, under place: Int?) -> Int? {
        guard let place else { return nil }
        let node = self[place]
        if node.span != span {
            if span.precedes(node.span) {
                self[place].left = remove(span, under: node.left)
            } else {
                self[place].right = remove(span, under: node.right)
            }
            return balanced(place)
        }
        guard let left = node.left, var next = node.right else {
            nodes[place] = nil
            free.append(place)
            return node.left ?? node.right
        }
        // The next range takes its place.
        while let earlier = self[next].left { next = earlier }
        let heir = self[next]
        let right = remove(heir.span, under: node.right)
        self[place] = Node(span: heir.span, value: heir.value, left: left, right: right)
        return balanced(place)
    }

    /// The root of a subtree whose branches differ in height by two at most, once they differ by one at most.
    private mutating func balanced(_ place: Int) -> Int {
        let tilt = height(self[place].left) - height(self[place].right)
        if tilt > 1, let left = self[place].left {
            if height(self[left].left) < height(self[left].right) { self[place].left = rotatedLeft(left) }
            return rotatedRight(place)
        }
        if tilt < -1, let right = self[place].right {
            if height(self[right].right) < height(self[right].left) { self[place].right = rotatedRight(right) }
            return rotatedLeft(place)
        }
        sumUp(place)
        return place
    }

    private mutating func rotatedRight(_ place: Int) -> Int {
        guard let left = self[place].left else { preconditionFailure("there is nothing to rotate") }
        self[place].left = self[left].right
        self[left].right = place
        sumUp(place)
        sumUp(left)
        return left
    }

    private mutating func rotatedLeft(_ place: Int) -> Int {
        guard let right = self[place].right else { preconditionFailure("there is nothing to rotate") }
        self[place].right = self[right].left
        self[right].left = place
        sumUp(place)
        sumUp(right)
        return right
    }

    private mutating func sumUp(_ place: Int) {
        var node = self[place]
        node.height = 1 + max(height(node.left), height(node.right))
        node.reach = node.span.end
        for branch in [node.left, node.right] {
            guard let branch, Self.reaches(self[branch].reach, beyond: node.reach) else { continue }
            node.reach = self[branch].reach
        }
        self[place] = node
    }
}
