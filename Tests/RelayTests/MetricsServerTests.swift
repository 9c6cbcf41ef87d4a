import RelayCore
import Testing

@testable import Relay

/// What can be read by HTTP, without the network: paths, methods, health.
struct MetricsServerTests {
    private func totals(_ state: RelayState = .serving, atSecond second: UInt64) -> RelayTotals {
        var totals = RelayTotals()
        totals.time = Instant(nanoseconds: second * Nanoseconds.perSecond)
        totals.state = state
        return totals
    }

    private func health(_ totals: RelayTotals?, atSecond second: UInt64) -> RelayHealth {
        RelayHealth(totals, at: Instant(nanoseconds: second * Nanoseconds.perSecond))
    }

    @Test func aRelayThatReportsIsAlive() {
        for second in 100...105 as ClosedRange<UInt64> {
            let health = health(totals(atSecond: 100), atSecond: second)
            #expect(health.defect == nil && health.reasonNotReady == nil)
        }
        let silent = health(totals(atSecond: 100), atSecond: 106)
        #expect(silent.defect == "the forwarding thread has not reported for 6 s")
        #expect(silent.reasonNotReady == silent.defect)
    }

    @Test func aRelayThatDrainsLivesAndIsNotReady() {
        for (state, reason) in [
            (RelayState.draining, "the relay is draining"), (.drained, "the relay is drained"),
        ] {
            let health = health(totals(state, atSecond: 9), atSecond: 10)
            #expect(health.defect == nil && health.reasonNotReady == reason)
        }
    }

    @Test func whatCannotBeReadIsNoHealth() {
        #expect(health(nil, atSecond: 1).defect != nil)
        #expect(health(RelayTotals(), atSecond: 1).defect != nil)
    }

    @Test func pathsAndMethods() throws {
        let service = try RelayService(
            RelayConfiguration(sessionLimit: 10),
            socket: SocketConfiguration(
                address: IPAddress(v4: 0x7f00_0001), port: 0, receiveBufferBytes: 100_000),
            logLevel: .info)
        let pages = MetricsPages(service: service, version: "1")
        func status(_ method: String, _ target: String) -> Int {
            pages.page(method: method, target: target).status
        }
        #expect(status("GET", "/metrics") == 200 && status("HEAD", "/metrics?x=1") == 200)
        #expect(pages.page(method: "GET", target: "/metrics").contentType.contains("0.0.4"))
        #expect(status("POST", "/metrics") == 405 && status("get", "/metrics") == 405)
        for target in ["/", "", "/metrics/", "//metrics", "/healthz/../metrics", "metrics", "?"] {
            #expect(status("GET", target) == 404, "\(target)")
        }
        service.stop()
        #expect(status("GET", "/healthz") == 200 && status("GET", "/readyz") == 200)
    }

    @Test(arguments: [
        ("9433", "127.0.0.1:9433", true), ("127.0.0.1:1", "127.0.0.1:1", true),
        ("127.9.9.9:80", "127.9.9.9:80", true), ("[::1]:9433", "[::1]:9433", true),
        ("0.0.0.0:9433", "0.0.0.0:9433", false), ("[::]:9433", "[::]:9433", false),
        ("192.0.2.1:65535", "192.0.2.1:65535", false),
    ])
    func addressesAreRead(text: String, shown: String, isLoopback: Bool) throws {
        let address = try #require(MetricsAddress(text))
        #expect(address.description == shown && address.isLoopback == isLoopback)
    }

    @Test(arguments: [
        "", ":", ":9433", "::1:9433", "[::1]", "[127.0.0.1]:9433", "localhost:9433", "65536",
        "-1", "+1", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:9433 ", "١٢", "*:9433", "[]:1",
    ])
    func otherWordsAreRefused(text: String) {
        #expect(MetricsAddress(text) == nil)
    }
}
