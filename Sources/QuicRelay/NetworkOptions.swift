import ArgumentParser
import Relay
import RelayCore

/// Where and how the relay meets the network.
struct NetworkOptions: NamedOptions {
    static let valueOptions = [
        Setting.port.name, "bind", Setting.receiveBuffer.name, Setting.workers.name,
        Setting.busyPoll.name, Setting.coalesce.name,
    ]
    static let flagOptions = ["no-offload", "no-overload-filter"]

    @Option(setting: .port)
    var port = Setting.port.defaultValue

    @Option(
        name: .customLong("bind"),
        help: ArgumentHelp("Address to listen on (default: all, IPv4 and IPv6).", valueName: "ip"),
        transform: parseAddress)
    var address: IPAddress?

    @Flag(help: "Send and receive datagrams one by one, without UDP_SEGMENT and UDP_GRO.")
    var noOffload = false

    @Flag(
        help: "Leave it to chance which datagrams are dropped when more come than can be read.")
    var noOverloadFilter = false

    @Option(setting: .receiveBuffer)
    var receiveBufferBytes = Setting.receiveBuffer.defaultValue

    @Option(
        name: .customLong(Setting.workers.name),
        help: ArgumentHelp(WorkerCount.help, valueName: "number"), transform: parseWorkers)
    var workers = WorkerCount.exactly(Setting.workers.defaultValue)

    @Option(setting: .busyPoll)
    var busyPollUs = Setting.busyPoll.defaultValue

    @Option(setting: .coalesce)
    var coalesceUs = Setting.coalesce.defaultValue

    /// What the socket is opened with.
    var configuration: SocketConfiguration {
        get throws {
            try SocketConfiguration(
                address: address, port: port, receiveBufferBytes: receiveBufferBytes,
                usesOffload: !noOffload, filtersOverload: !noOverloadFilter,
                busyPollMicroseconds: busyPollUs, coalesceMicroseconds: coalesceUs)
        }
    }
}

/// How many threads are to forward.
enum WorkerCount: CustomStringConvertible {
    case exactly(Int)
    /// As many as suit the machine.
    case automatic

    /// The word for it.
    var description: String {
        switch self {
        case .exactly(let number): "\(number)"
        case .automatic: "auto"
        }
    }

    /// The number that it comes to on this machine.
    var number: Int {
        switch self {
        case .exactly(let number): number
        case .automatic: Setting.automaticWorkers
        }
    }

    fileprivate static var help: String {
        let range = Setting.workers.range
        return
            "\(Setting.workers.summary.dropLast()) (\(range.lowerBound) to \(range.upperBound) or "
            + "auto; default: \(Setting.workers.defaultValue))."
    }
}

private func parseWorkers(_ word: String) throws -> WorkerCount {
    if word == "auto" { return .automatic }
    let range = Setting.workers.range
    guard let number = Int(word), range.contains(number) else {
        throw NotAllowed(
            description: "must be a number from \(range.lowerBound) to \(range.upperBound), or auto"
        )
    }
    return .exactly(number)
}
