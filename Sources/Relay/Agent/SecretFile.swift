internal import Glibc

/// A file whose first line is a secret, such as one that systemd or a container mounts.
public enum SecretFile {
    /// Longer first lines hold no secret of ours.
    private static let byteLimit = 256

    /// Reads the only word of the first line; nothing if there is not just one. Waits for a pipe.
    public static func word(path: String) throws(SystemError) -> String? {
        let number = try systemCall("open", path) {
            // Sound: the path is read as a C string during the call.
            unsafe Int(open(path, O_RDONLY | O_CLOEXEC))
        }
        return try word(FileDescriptor(number), path)
    }

    private static func word(
        _ file: borrowing FileDescriptor, _ path: String
    ) throws(SystemError) -> String? {
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
        return word(line: String(decoding: line, as: UTF8.self))
    }

    /// Reads a line, with blanks around the word if there are any.
    public static func word(line: String) -> String? {
        let words =
            line.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).first
            .map { $0.split(whereSeparator: \.isWhitespace) } ?? []
        return words.count == 1 ? String(words[0]) : nil
    }
}
