internal import CLinux
internal import Glibc
internal import RelayCore

/// A client's end of a control socket: lines in and out, and nothing that waits unless asked to.
final class ControlSocket {
    /// Where it leads.
    let path: String
    private let file: FileDescriptor
    private var received: [UInt8] = []
    /// How much of that is known to hold no line's end.
    private var searched = 0
    private var unsent: [UInt8] = []
    /// Why nothing more comes.
    private var end: ControlClientError?

    private static let pieceByteCount = 64 << 10

    /// Attempts to connect where others wait to be accepted, 10 ms apart.
    private static let patience = 200

    /// Connects. Where others wait to be accepted it waits, too, if it `isPatient`.
    init(_ path: String, isPatient: Bool = true) throws(ControlClientError) {
        self.path = path
        let socket = clinux_unix_socket()
        guard socket >= 0 else { throw .noRelay("\(path): no socket for it") }
        file = FileDescriptor(Int(socket))
        // Sound: the path is read as a C string during the call.
        var result = systemCall { unsafe Int(clinux_unix_connect(socket, path)) }
        for _ in 0..<(isPatient ? ControlSocket.patience : 0) {
            guard case .failed(let errno) = result, errno.code == EAGAIN else { break }
            _ = usleep(10_000)
            result = systemCall { unsafe Int(clinux_unix_connect(socket, path)) }
        }
        switch result {
        case .done: break
        case .failed(let errno) where errno.code == EACCES: throw .notPermitted(path)
        case .failed(let errno): throw .noRelay("no relay at \(path): \(errno)")
        }
    }

    /// What becomes of connecting to a path.
    static func attempt(_ path: String) -> SystemResult {
        let socket = clinux_unix_socket()
        guard socket >= 0 else { return .failed(Errno(code: EMFILE)) }
        let file = FileDescriptor(Int(socket))
        defer { withExtendedLifetime(file) {} }
        // Sound: as above.
        return systemCall { unsafe Int(clinux_unix_connect(file.number, path)) }
    }

    /// Readable when there are lines, or when the other end is gone.
    var descriptor: Int32 { file.number }

    /// Whether something waits to be sent.
    var hasUnsent: Bool { !unsent.isEmpty }

    /// Sends a line, as much of it as there is room for; the rest with `flush`.
    func send(_ line: [UInt8]) throws(ControlClientError) {
        unsent += line
        try flush()
    }

    /// Sends more of what waits.
    func flush() throws(ControlClientError) {
        while !unsent.isEmpty {
            // Sound: as many bytes are read as there are.
            let result = systemCall {
                unsafe clinux_unix_send(file.number, unsent, unsent.count)
            }
            switch result {
            case .done(let count): unsent.removeFirst(count)
            case .failed(let errno) where errno.code == EINTR: continue
            case .failed(let errno) where errno.code == EAGAIN: return
            case .failed(let errno): throw .lost("\(path): \(errno)")
            }
        }
    }

    /// Reads what there is, and hands out the lines that are complete, without their ends. What
    /// came before the connection's end is handed out before that is told.
    func lines() throws(ControlClientError) -> [[UInt8]] {
        var lines: [[UInt8]] = []
        while read() {
            while let end = received[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                lines.append(Array(received[..<end]))
                received.removeFirst(end + 1)
                searched = 0
            }
            searched = received.count
            if received.count > ControlProtocol.answerByteLimit {
                end = .lost("\(path): a line of more than \(ControlProtocol.answerByteLimit) bytes")
            }
        }
        if let end, lines.isEmpty { throw end }
        return lines
    }

    /// Reads once; says whether there was anything.
    private func read() -> Bool {
        guard end == nil else { return false }
        var piece = [UInt8](repeating: 0, count: ControlSocket.pieceByteCount)
        while true {
            // Sound: there is room for as many bytes.
            let result = systemCall {
                unsafe recv(file.number, &piece, ControlSocket.pieceByteCount, 0)
            }
            switch result {
            case .done(0):
                end = .lost("\(path): the relay closed the connection")
                return false
            case .done(let count):
                received += piece[..<count]
                return true
            case .failed(let errno) where errno.code == EINTR: continue
            case .failed(let errno) where errno.code == EAGAIN: return false
            case .failed(let errno):
                end = .lost("\(path): \(errno)")
                return false
            }
        }
    }

    /// Waits until something can be read, or sent if something waits to be; says whether it can.
    func wait(milliseconds: Int32) -> Bool {
        let wanted = Int16(POLLIN) | (hasUnsent ? Int16(POLLOUT) : 0)
        var files = pollfd(fd: file.number, events: wanted, revents: 0)
        // Sound: there is one entry. An interruption is as good as a time-out.
        return unsafe poll(&files, 1, milliseconds) > 0
    }
}
