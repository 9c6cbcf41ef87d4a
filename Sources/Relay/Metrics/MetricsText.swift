internal import RelayCore

/// Text in which Prometheus takes metrics, exposition format 0.0.4: for each family what it means,
/// of what kind it is, and its samples.
///
///     # HELP quic_relay_sessions Sessions that the relay holds.
///     # TYPE quic_relay_sessions gauge
///     quic_relay_sessions{state="waiting"} 3
struct MetricsText {
    /// What a response with this text is called.
    static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    private(set) var text = ""
    private var name = ""

    /// All families, with what they are now.
    init(_ families: [MetricFamily], of sources: MetricSources) {
        text.reserveCapacity(16_384)
        for family in families {
            name = family.name
            text += "# HELP \(name) \(family.help)\n# TYPE \(name) \(family.kind.rawValue)\n"
            family.write(&self, sources)
        }
    }

    /// The family's only sample.
    mutating func add(_ value: some BinaryInteger) {
        line("", "", "\(value)")
    }

    /// The family's only sample; nothing that is known is "NaN".
    mutating func add(_ value: Double?) {
        line("", "", MetricsText.number(value ?? .nan))
    }

    /// One sample of several. Labels and their values are words of ours: there is nothing to quote.
    mutating func add(_ value: some BinaryInteger, _ label: String, _ word: String) {
        line("", "{\(label)=\"\(word)\"}", "\(value)")
    }

    /// A histogram whose values are counted in units of 10^-`decimals` seconds.
    mutating func add(_ histogram: Histogram, decimals: Int) {
        for index in 0..<histogram.bounds.count {
            let bound = histogram.bounds[index].decimal(places: decimals)
            line("_bucket", "{le=\"\(bound)\"}", "\(histogram.count(upTo: index))")
        }
        line("_bucket", "{le=\"+Inf\"}", "\(histogram.count)")
        line("_sum", "", histogram.sum.decimal(places: decimals))
        line("_count", "", "\(histogram.count)")
    }

    private mutating func line(_ suffix: String, _ labels: String, _ value: String) {
        text += "\(name)\(suffix)\(labels) \(value)\n"
    }

    /// A number as Go reads it.
    private static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        return "\(value)"
    }
}
