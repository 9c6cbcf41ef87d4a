internal import Glibc
public import RelayCore

/// Why a relay that was to take over cannot.
public enum InheritanceError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The variable is not what a relay that hands over sets.
    case malformed(String)
    /// The relay that was to hand over has ended, or has thought better of it.
    case withdrawn
    /// Its state is none.
    case unusable(CheckpointError)
    /// The system would not let us take it.
    case system(SystemError)

    /// One line.
    public var description: String {
        switch self {
        case .malformed(let text):
            "\(Inheritance.variable)=\(text): set by a relay that hands over, and by nobody else"
        case .withdrawn: "the relay that was to hand over does so no more"
        case .unusable(let error): "the state that was handed over: \(error)"
        case .system(let error): error.description
        }
    }
}

/// What a relay gets from the one in whose place it was started: its socket, its sessions, the lock
/// of its state directory. The counterpart of `Succession`.
public final class Inheritance: Sendable {
    /// The variable of the environment that tells a program that it is to take over, and where what
    /// it gets is: `1 channel=7 socket=5 state=8 errors=11 others=6,9 lock=4`.
    public static let variable = "QUICRELAY_HANDOVER"

    /// The socket, which is not ours before `receive` returns.
    public let socket: Int32
    /// Those of further workers.
    public let otherSockets: [Int32]
    /// The lock of the state directory, if there was one.
    public let lock: Int32?
    private let channel: HandoverChannel
    private let state: FileDescriptor
    private let errors: FileDescriptor

    /// Reads the variable; nothing if this program was started in nobody's place.
    public static func take(_ value: String?) throws(InheritanceError) -> Inheritance? {
        guard let value, !value.isEmpty else { return nil }
        return try Inheritance(value)
    }

    private init(_ value: String) throws(InheritanceError) {
        guard let legacy = Legacy(value), legacy.all.allSatisfy(Inheritance.take) else {
            throw .malformed(value)
        }
        channel = HandoverChannel(FileDescriptor(Int(legacy.channel)))
        socket = legacy.socket
        otherSockets = legacy.otherSockets
        state = FileDescriptor(Int(legacy.state))
        errors = FileDescriptor(Int(legacy.errors))
        lock = legacy.lock
    }

    /// Lets a descriptor be closed on exec from now on; says no if it is not open.
    private static func take(_ number: Int32) -> Bool { fcntl(number, F_SETFD, FD_CLOEXEC) == 0 }

    /// Says that this relay is prepared, and waits for the other one's last state.
    public func receive() throws(InheritanceError) -> StoredCheckpoint {
        guard channel.send(.prepared), channel.receive() == HandoverMessage.state.rawValue else {
            throw .withdrawn
        }
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try state.readAll("state", limit: StoredCheckpoint.byteLimit)
        } catch {
            throw .system(error)
        }
        do throws(CheckpointError) {
            return try StoredCheckpoint(bytes)
        } catch {
            throw .unusable(error)
        }
    }

    /// Says that this relay is ready to receive, waits until the other one lets it, and begins. If
    /// that one crashes now this one goes on: nobody else is there. Standard error is the other
    /// one's from now on.
    public func takeOver(_ service: RelayService) throws(InheritanceError) {
        guard channel.send(.ready) else { throw .withdrawn }
        if let answer = channel.receive(), answer != HandoverMessage.go.rawValue {
            throw .withdrawn
        }
        _ = dup2(errors.number, STDERR_FILENO)
        service.resume()
    }
}

extension Inheritance {
    /// The descriptors that the variable names, each of which has one owner.
    struct Legacy: Equatable, CustomStringConvertible {
        let channel: Int32
        let socket: Int32
        let state: Int32
        let errors: Int32
        var otherSockets: [Int32] = []
        var lock: Int32?

        var all: [Int32] {
            [channel, socket, state, errors] + otherSockets + (lock.map { [$0] } ?? [])
        }

        /// As the variable has it.
        var description: String {
            var value = "1 channel=\(channel) socket=\(socket) state=\(state) errors=\(errors)"
            if !otherSockets.isEmpty {
                value += " others=" + otherSockets.map(String.init).joined(separator: ",")
            }
            return value + (lock.map { " lock=\($0)" } ?? "")
        }

        init(
            channel: Int32, socket: Int32, state: Int32, errors: Int32, otherSockets: [Int32],
            lock: Int32?
        ) {
            self.channel = channel
            self.socket = socket
            self.state = state
            self.errors = errors
            self.otherSockets = otherSockets
            self.lock = lock
        }

        /// Reads the variable. Words that a newer relay adds are passed over.
        init?(_ text: String) {
            let words = text.split(separator: " ")
            func value(of name: String) -> Substring? {
                words.dropFirst().first { $0.hasPrefix(name + "=") }?.dropFirst(name.count + 1)
            }
            func number(of name: String) -> Int32? { value(of: name).flatMap(Legacy.descriptor) }
            let others = (value(of: "others") ?? "").split(separator: ",")
            guard words.first == "1", let channel = number(of: "channel"),
                let socket = number(of: "socket"), let state = number(of: "state"),
                let errors = number(of: "errors")
            else { return nil }
            self.init(
                channel: channel, socket: socket, state: state, errors: errors,
                otherSockets: others.compactMap(Legacy.descriptor), lock: number(of: "lock"))
            guard otherSockets.count == others.count, Set(all).count == all.count else {
                return nil
            }
        }

        /// The number of a descriptor that is not a standard one.
        private static func descriptor(_ text: Substring) -> Int32? {
            Int32(text).flatMap { $0 > 2 ? $0 : nil }
        }
    }
}
