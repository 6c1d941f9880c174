#if canImport(Glibc)
    internal import Glibc
#endif

/// What this machine has.
enum MachineMemory {
    private static let leastBudget = 256 << 20
    private static let mostBudget = 4 << 30

    /// A quarter of it, within bounds: the rest is for the state, the page cache and the machine's other work.
    static let defaultBudget: Int = {
        let (pages, size) = (sysconf(Int32(_SC_PHYS_PAGES)), sysconf(Int32(_SC_PAGESIZE)))
        guard pages > 0, size > 0 else { return leastBudget }
        return min(max(pages * size / 4, leastBudget), mostBudget)
    }()
}
