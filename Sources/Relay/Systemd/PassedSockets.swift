internal import Glibc
internal import RelayCore

/// The sockets that systemd opened before it started the relay, or kept from the one before it
/// (sd_listen_fds(3)): descriptors from 3 on, with names.
public struct PassedSockets: Equatable, Sendable {
    /// A descriptor and the name that it was given, by `FileDescriptorName=` or by us.
    struct Named: Equatable, Sendable {
        let descriptor: Int32
        let name: String
    }

    /// Why what was passed cannot be used; one line.
    public struct Mistake: Error, Equatable, Sendable, CustomStringConvertible {
        /// The line.
        public let description: String
    }

    /// Sockets that are taken at all: far more than a relay has use for.
    static let limit = 64
    /// The first descriptor after standard input, output and error (SD_LISTEN_FDS_START).
    static let firstDescriptor: Int32 = 3

    /// The name of the UDP socket that a socket unit opens.
    static let udpName = "udp"
    /// The name of the UDP socket that a relay opened itself and left with systemd. Another name:
    /// where it is bound to was the relay's choice, which may have changed since.
    static let storedName = "udp-stored"
    /// The name of the Unix socket for control clients.
    static let controlName = "control"

    let sockets: [Named]

    /// None.
    public static let none = PassedSockets([])

    init(_ sockets: [Named]) { self.sockets = sockets }

    /// Reads the variables that announce them. Those for another process are not ours, and none
    /// are there then.
    init(
        variables value: (String) -> String?, process: Int32
    ) throws(Mistake) {
        guard let count = value("LISTEN_FDS"), let owner = value("LISTEN_PID") else {
            self = .none
            return
        }
        guard let owner = Int32(owner), owner > 0 else {
            throw Mistake(description: "LISTEN_PID='\(owner)' is not the number of a process")
        }
        guard owner == process else {
            self = .none
            return
        }
        guard let count = Int(count), (0...PassedSockets.limit).contains(count) else {
            throw Mistake(
                description: "LISTEN_FDS='\(count)' must be a number from 0 to \(Self.limit)")
        }
        let names = (value("LISTEN_FDNAMES") ?? "").split(
            separator: ":", omittingEmptySubsequences: false)
        sockets = (0..<count).map { index in
            let name = index < names.count ? String(names[index]) : ""
            return Named(descriptor: Self.firstDescriptor + Int32(index), name: name)
        }
    }

    /// Which of the sockets are to be used, and where they came from; the others are closed.
    public func choose(
        for configuration: SocketConfiguration
    ) throws(Mistake) -> SocketChoice {
        for socket in sockets where fcntl(socket.descriptor, F_SETFD, FD_CLOEXEC) != 0 {
            throw Mistake(description: "\(socket) was passed, but is not open")
        }
        let (udp, stored, control) = try sorted()
        var choice = SocketChoice(control: control?.descriptor)
        if let udp {
            guard let address = DatagramSocket.boundAddress(of: udp.descriptor) else {
                throw Mistake(description: "\(udp) was passed, but is no socket")
            }
            guard address.port != 0 else {
                throw Mistake(description: "\(udp) was passed, but is bound to no port")
            }
            choice.adopted = udp.descriptor
            choice.origin = .passed
            choice.isElsewhere = !configuration.allows(address)
        }
        for old in stored {
            let isFit = DatagramSocket.boundAddress(of: old.descriptor).map(configuration.allows)
            if choice.adopted == nil, isFit == true {
                choice.adopted = old.descriptor
                choice.origin = .stored
            } else {
                _ = close(old.descriptor)
                choice.hasOutdated = true
            }
        }
        return choice
    }

    /// The sockets by their use. What has no known name is taken for the UDP socket if nothing else
    /// can be: a unit's author need not name what cannot be mistaken.
    private func sorted() throws(Mistake) -> (udp: Named?, stored: [Named], control: Named?) {
        let stored = sockets.filter { $0.name == Self.storedName }
        let control = sockets.filter { $0.name == Self.controlName }
        let udp = sockets.filter { ![Self.storedName, Self.controlName].contains($0.name) }
        guard udp.count <= 1 else {
            let list = udp.map(\.description).joined(separator: ", ")
            throw Mistake(
                description: "a relay has one UDP socket, and \(udp.count) were passed: \(list); "
                    + "ListenDatagram= must stand once, BindIPv6Only=both makes it serve IPv4, too")
        }
        guard control.count <= 1 else {
            throw Mistake(description: "\(control.count) sockets named control were passed")
        }
        return (udp.first, stored, control.first)
    }
}

extension PassedSockets.Named: CustomStringConvertible {
    var description: String {
        name.isEmpty ? "descriptor \(descriptor)" : "descriptor \(descriptor) '\(name)'"
    }
}

/// What is to be done with the sockets that were passed.
public struct SocketChoice: Equatable, Sendable {
    /// Where the relay's UDP socket comes from.
    public enum Origin: String, Sendable {
        /// The relay opens it.
        case own
        /// From a socket unit, which says where it is bound to.
        case passed
        /// From the relay before this one, by way of systemd.
        case stored
        /// From the relay before this one, which handed it over and has stored it if need be.
        case inherited
    }

    /// The UDP socket to adopt; nothing if the relay has to open one.
    public var adopted: Int32?
    /// Where that comes from.
    public var origin = Origin.own
    /// The Unix socket for control clients, if there is one.
    public var control: Int32?
    /// Whether the UDP socket is bound to something else than the options say.
    public var isElsewhere = false
    /// Whether a socket is stored that is of no use any more.
    public var hasOutdated = false
}

extension SocketConfiguration {
    /// Whether a socket that is bound to `bound` is what this describes. An address that is not
    /// given is every address; IPv4's alone is what a system without IPv6 has.
    func allows(_ bound: TransportAddress) -> Bool {
        guard port == 0 || port == bound.port else { return false }
        guard let address else { return bound.ip == .unspecified || bound.ip == IPAddress(v4: 0) }
        return address == bound.ip
    }
}
