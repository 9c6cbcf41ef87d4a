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
        let words = value.split(separator: " ")
        var numbers: [Int32?] = []
        for name in ["channel", "socket", "state", "errors", "lock"] {
            let word = words.dropFirst().first { $0.hasPrefix(name + "=") }
            numbers.append(word.flatMap { Inheritance.descriptor($0.dropFirst(name.count + 1)) })
        }
        let others = words.dropFirst().first { $0.hasPrefix("others=") } ?? "others="
        let numbersOfOthers = others.dropFirst(7).split(separator: ",").map(Inheritance.descriptor)
        guard words.first == "1", let channel = numbers[0], let socket = numbers[1],
            let state = numbers[2], let errors = numbers[3], !numbersOfOthers.contains(nil)
        else { throw .malformed(value) }
        self.channel = HandoverChannel(FileDescriptor(Int(channel)))
        self.socket = socket
        otherSockets = numbersOfOthers.compactMap(\.self)
        self.state = FileDescriptor(Int(state))
        self.errors = FileDescriptor(Int(errors))
        lock = numbers[4]
    }

    /// The number of a descriptor that is open, not a standard one, and closed on exec from now on.
    private static func descriptor(_ text: Substring) -> Int32? {
        guard let number = Int32(text), number > 2, fcntl(number, F_SETFD, FD_CLOEXEC) == 0 else {
            return nil
        }
        return number
    }

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
