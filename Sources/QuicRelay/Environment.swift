import Glibc

/// The process's environment (environ(7)).
enum Environment {
    /// The value of a variable, nothing when it is not set.
    static func value(of name: String) -> String? {
        // Sound: the value is copied at once. Only what systemd passes is taken out of the
        // environment, at the start, while there is one thread.
        guard let value = unsafe getenv(name) else { return nil }
        return unsafe String(cString: value)
    }

    /// The names of all variables that the process was started with (proc_pid_environ(5)).
    static var names: [String] {
        // Sound: both are C strings during the call; the stream is closed below.
        guard let file = unsafe fopen("/proc/self/environ", "re") else { return [] }
        defer { unsafe fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 18)
        // Sound: no more is read than the buffer holds.
        let count = unsafe fread(&bytes, 1, bytes.count, file)
        return bytes[..<count].split(separator: 0).compactMap { entry in
            entry.split(separator: UInt8(ascii: "="), maxSplits: 1).first.map {
                String(decoding: $0, as: UTF8.self)
            }
        }
    }
}
