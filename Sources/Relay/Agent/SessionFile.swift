internal import Glibc
public import RelayCore

/// A file whose first line is a session id, such as a secret that systemd or a container mounts.
public enum SessionFile {
    /// Longer first lines hold no session id.
    private static let byteLimit = 256

    /// Reads the session id; nothing if the first line is none. Waits for a pipe.
    public static func session(path: String) throws(SystemError) -> SessionID? {
        let number = try systemCall("open", path) {
            // Sound: the path is read as a C string during the call.
            unsafe Int(open(path, O_RDONLY | O_CLOEXEC))
        }
        return try session(FileDescriptor(number), path)
    }

    private static func session(
        _ file: borrowing FileDescriptor, _ path: String
    ) throws(SystemError) -> SessionID? {
        var line: [UInt8] = []
        while line.count < byteLimit, !line.contains(UInt8(ascii: "\n")) {
            var part = [UInt8](repeating: 0, count: byteLimit)
            let count = try systemCall("read", path) {
                // Sound: no more is written than there is room for.
                unsafe read(file.number, &part, part.count)
            }
            if count == 0 { break }
            line += part[..<count]
        }
        return session(line: String(decoding: line, as: UTF8.self))
    }

    /// Reads a line, with blanks around the id if there are any.
    public static func session(line: String) -> SessionID? {
        let words =
            line.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).first
            .map { $0.split(whereSeparator: \.isWhitespace) } ?? []
        return words.count == 1 ? SessionID(String(words[0])) : nil
    }
}
