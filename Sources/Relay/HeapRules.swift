internal import CLinux

/// How the C library manages this process's memory (malloc(3)).
public enum HeapRules {
    /// A block of so many bytes, or longer, is a mapping of its own: 128 KiB, glibc's first value.
    private static let mappedBytes: Int32 = 128 << 10

    /// Lets the system have each long block back as soon as it is freed. To be called before any
    /// is.
    ///
    /// Unless it is told a limit, glibc raises its own to the longest block that was freed so far,
    /// up to 32 MiB (mallopt(3), M_MMAP_THRESHOLD), and a queue of megabytes is freed soon after
    /// the start. From then on the answers of the control socket, which have some hundred KiB and
    /// no two the same length, are cut out of one region, which grows for minutes and never
    /// shrinks. The data path frees nothing.
    public static func returnLongBlocks() {
        // It can only be refused for a limit that no region could hold, which is not this one.
        precondition(clinux_map_blocks_from(mappedBytes) != 0)
    }
}
