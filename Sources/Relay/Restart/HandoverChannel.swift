internal import CLinux
internal import Glibc

/// What the two relays of a hand-over say to each other over a socket pair, a byte each.
///
///     old                               new
///                                       reads its arguments, makes ready what it can
///         ◄──────────── prepared ─────
///     stops receiving, writes its state
///         ───────────── state ────────►
///                                       takes up the state and the socket, receives nothing yet
///         ◄──────────── ready ────────
///         ───────────── go ───────────►
///     ends                              receives
///
/// Until it says "go" the old relay can go on with what it has: it kills the new one, waits for its
/// end and receives again. The new one receives nothing before "go", so there are never two.
enum HandoverMessage: UInt8 {
    case prepared = 0x50
    case state = 0x53
    case ready = 0x52
    case go = 0x47
}

/// One end of the socket pair.
struct HandoverChannel: ~Copyable, Sendable {
    let file: FileDescriptor

    init(_ file: consuming FileDescriptor) {
        self.file = file
    }

    /// Both ends.
    static func pair() throws(SystemError) -> (old: Int, new: Int) {
        var ends: [Int32] = [-1, -1]
        try systemCall("socketpair") {
            let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
            // Sound: there is room for two descriptors.
            return unsafe Int(socketpair(AF_UNIX, type, 0, &ends))
        }
        return (Int(ends[0]), Int(ends[1]))
    }

    /// Says something; says no if nobody is there.
    func send(_ message: HandoverMessage) -> Bool {
        var byte = message.rawValue
        // Sound: the byte is there to be read.
        return unsafe Glibc.send(file.number, &byte, 1, Int32(MSG_NOSIGNAL)) == 1
    }

    /// What the other one says next; nothing once it has ended. Waits for it.
    func receive() -> UInt8? {
        var byte: UInt8 = 0
        while true {
            // Sound: there is room for the byte.
            switch systemCall({ unsafe recv(file.number, &byte, 1, 0) }) {
            case .done(let count): return count == 1 ? byte : nil
            case .failed(let errno): if errno.code != EINTR { return nil }
            }
        }
    }
}
