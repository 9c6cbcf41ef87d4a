internal import Glibc
internal import RelayCore

/// What the system says about this process (proc(5)); a figure that it does not tell is nothing.
struct ProcessFigures: Sendable, Equatable {
    /// User and system CPU time.
    let cpuSeconds: Double?
    let residentBytes: Double?
    let virtualBytes: Double?
    let openFiles: Double?
    let openFileLimit: Double?
    /// In seconds since 1970.
    let startedAtUnixSeconds: Double?

    /// The figures of this moment.
    static func current() -> ProcessFigures {
        let memory = ProcessFigures.words(of: "/proc/self/statm")
        let page = Double(sysconf(Int32(_SC_PAGESIZE)))
        return ProcessFigures(
            cpuSeconds: seconds(CLOCK_PROCESS_CPUTIME_ID),
            residentBytes: memory.dropFirst().first.flatMap(Double.init).map { $0 * page },
            virtualBytes: memory.first.flatMap(Double.init).map { $0 * page },
            openFiles: openFileCount().map(Double.init), openFileLimit: openFileSoftLimit(),
            startedAtUnixSeconds: startedAt)
    }

    /// Asked once: the time of day may be set, and the process did not start at another time then.
    private static let startedAt = startTime()

    /// When the process started: its age on the clock that it was noted by, before now.
    private static func startTime() -> Double? {
        guard let now = seconds(CLOCK_REALTIME), let uptime = seconds(CLOCK_BOOTTIME) else {
            return nil
        }
        // The name, in parentheses, may hold anything; the 22nd field is the 20th after it.
        guard let text = ProcessFigures.text(of: "/proc/self/stat"),
            let end = text.lastIndex(of: ")")
        else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        guard fields.count > 19, let ticks = Double(fields[19]) else { return nil }
        let age = uptime - ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
        return ((now - age) * 100).rounded() / 100
    }

    private static func seconds(_ clock: clockid_t) -> Double? {
        var time = timespec()
        // Sound: the call writes one timespec, which is there.
        guard unsafe clock_gettime(clock, &time) == 0 else { return nil }
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    private static func openFileSoftLimit() -> Double? {
        OpenFileLimit.current.map { $0 == rlim_t.max ? .infinity : Double($0) }
    }

    private static func openFileCount() -> Int? {
        guard let directory = unsafe opendir("/proc/self/fd") else { return nil }
        defer { unsafe closedir(directory) }
        var count = 0
        // Sound: the stream is open, and of the entries only whether there is one matters.
        while unsafe readdir(directory) != nil { count += 1 }
        // Without ".", ".." and the directory itself.
        return count - 3
    }

    private static func words(of path: String) -> [Substring] {
        text(of: path)?.split(separator: " ") ?? []
    }

    /// A short file of the system's, nothing if it cannot be read.
    private static func text(of path: String) -> String? {
        guard case .done(let number) = systemCall({ Int(unsafe open(path, O_RDONLY | O_CLOEXEC)) })
        else { return nil }
        let file = FileDescriptor(number)
        var bytes = [UInt8](repeating: 0, count: 1_024)
        // Sound: no more is written than there is room for.
        let result = systemCall { unsafe read(file.number, &bytes, bytes.count) }
        guard case .done(let count) = result else { return nil }
        return String(decoding: bytes[..<count], as: UTF8.self)
    }
}
