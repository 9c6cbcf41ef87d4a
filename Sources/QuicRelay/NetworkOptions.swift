import ArgumentParser
import Relay
import RelayCore

/// Where and how the relay meets the network.
struct NetworkOptions: NamedOptions {
    static let valueOptions = [Setting.port.name, "bind", Setting.receiveBuffer.name]
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

    /// What the socket is opened with.
    var configuration: SocketConfiguration {
        get throws {
            try SocketConfiguration(
                address: address, port: port, receiveBufferBytes: receiveBufferBytes,
                usesOffload: !noOffload, filtersOverload: !noOverloadFilter)
        }
    }
}
