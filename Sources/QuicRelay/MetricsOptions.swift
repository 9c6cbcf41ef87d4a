import ArgumentParser
import Relay

/// Who is told how the relay does, besides its log.
struct MetricsOptions: NamedOptions {
    static let valueOptions = ["metrics"]
    static let flagOptions: [String] = []

    @Option(
        name: .customLong("metrics"),
        help: ArgumentHelp(
            "Serve Prometheus metrics and health by HTTP; a port alone is on 127.0.0.1.",
            valueName: "addr:port"),
        transform: parseMetricsAddress)
    var metricsAddress: MetricsAddress?

    /// Starts to serve them if that was asked for, on a thread that is made only then.
    func serve(
        _ service: RelayService, on thread: @autoclosure () -> ServiceThread
    ) throws(SystemError) -> MetricsServer? {
        guard let metricsAddress else { return nil }
        return try MetricsServer(
            on: thread(), at: metricsAddress, of: service,
            version: QuicRelay.configuration.version)
    }
}

private func parseMetricsAddress(_ word: String) throws -> MetricsAddress {
    guard let address = MetricsAddress(word) else {
        throw NotAllowed(description: MetricsAddress.allowed)
    }
    return address
}
