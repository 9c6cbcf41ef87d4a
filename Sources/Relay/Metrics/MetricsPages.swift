internal import RelayCore

/// What there is to read by HTTP, whoever serves it.
struct MetricsPages: Sendable {
    /// An answer.
    struct Page: Equatable {
        let status: Int
        let contentType: String
        let body: String

        fileprivate static func words(_ status: Int, _ text: String) -> Page {
            Page(status: status, contentType: "text/plain; charset=utf-8", body: text + "\n")
        }
    }

    let service: RelayService
    let version: String

    /// The answer to a request for `target`: a path, and perhaps a query, which changes nothing.
    func page(method: String, target: String) -> Page {
        guard method == "GET" || method == "HEAD" else {
            return .words(405, "only GET and HEAD are allowed")
        }
        let now = MonotonicClock.now()
        let totals = service.totals
        let health = RelayHealth(totals, at: now)
        switch target.prefix(while: { $0 != "?" }) {
        case "/metrics": return totals.map { metrics($0, at: now) } ?? answer(health.defect)
        case "/healthz": return answer(health.defect)
        case "/readyz": return answer(health.reasonNotReady)
        default: return .words(404, "there are /metrics, /healthz and /readyz")
        }
    }

    private func answer(_ trouble: String?) -> Page {
        .words(trouble == nil ? 200 : 503, trouble ?? "ok")
    }

    private func metrics(_ totals: RelayTotals, at now: Instant) -> Page {
        let text = MetricsText(
            MetricFamily.all,
            of: MetricSources(
                version: version, restoredSessions: service.restoredSessions, totals: totals,
                socket: service.socket,
                records: service.sessionRecords, stateFile: service.stateFile, process: .current(),
                now: now))
        return Page(status: 200, contentType: MetricsText.contentType, body: text.text)
    }
}
