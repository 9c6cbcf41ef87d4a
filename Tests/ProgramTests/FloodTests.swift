import Glibc
import TestSupport
import Testing

@Suite("Floods", .serialized)
struct FloodTests {
    /// What the relay said that its tables take at the most, in KiB.
    private func memoryLimit(_ relay: RunningRelay) throws -> Int {
        let text = try #require(relay.listening["memory_limit"])
        #expect(text.hasSuffix("MiB"))
        return 1_024 * (try #require(Int(text.dropLast(3))))
    }

    /// Floods while a pair talks, and checks that neither memory nor the accounts suffer. Between
    /// two exchanges a batch is sent, small enough for the receive buffer.
    private func flood(
        _ arguments: [String] = [], batches: Int, of size: Int,
        send: (_ relay: RunningRelay, _ batch: Int) throws -> Void
    ) throws -> (summary: LogLine, lines: [LogLine]) {
        let relay = try RunningRelay(["--no-tui", "--peer-grace-secs", "3600"] + arguments)
        var pair = try Pair(relay)
        let limit = try memoryLimit(relay)
        let before = try relay.program.kibibytes("VmRSS")
        for batch in 0..<batches {
            try send(relay, batch)
            try pair.exchange()
        }
        let most = try relay.program.kibibytes("VmHWM")
        if let sanitizer {
            // It keeps what was freed for a while, and a picture of all memory beside it.
            print("FloodTests: memory is not judged under the \(sanitizer) sanitizer")
        } else {
            #expect(most - before <= limit, "\(most - before) KiB more, \(limit) KiB allowed")
        }
        let lines = try relay.end()
        let summary = try #require(lines.last)
        try expectToAddUp(summary)
        // What the receive buffer lost counts as received and dropped, so that nothing is missing.
        #expect(summary.number("received") == 2 + 4 + 2 * batches + batches * size)
        #expect(summary.number("forwarded") == 4 + 2 * batches)
        return (summary, lines)
    }

    @Test func randomIdsFromOneAddress() throws {
        var random = SplitMix64(seed: 1)
        var peer: TestPeer?
        let (summary, lines) = try flood(batches: 400, of: 250) { relay, _ in
            let sender = try peer ?? TestPeer(relay, host: 9)
            peer = sender
            for _ in 0..<250 { sender.send(random.registration()) }
        }
        // One address is in one session at a time.
        #expect(summary.number("sessions_waiting") == 1)
        #expect(summary.number("sessions_paired") == 1)
        #expect(lines.count < 12_000)
    }

    @Test func randomIdsFromManyPortsOfOneHost() throws {
        var random = SplitMix64(seed: 2)
        var peers: [TestPeer] = []
        let (summary, _) = try flood(batches: 400, of: 250) { relay, batch in
            if peers.isEmpty { peers = try (0..<1_000).map { _ in try TestPeer(relay, host: 9) } }
            for number in 0..<250 {
                peers[(batch * 250 + number) % 1_000].send(random.registration())
            }
        }
        #expect(try #require(summary.number("sessions_waiting")) <= 1_000)
        #expect(summary.number("sessions_paired") == 1)
    }

    @Test func randomIdsFromManyHostsFillTheTableAndNoMore() throws {
        var random = SplitMix64(seed: 3)
        var peers: [TestPeer] = []
        let (summary, _) = try flood(
            ["--session-limit", "500"], batches: 200, of: 250
        ) { relay, batch in
            if peers.isEmpty {
                peers = try (0..<1_000).map { try TestPeer(relay, host: 10 + UInt32($0 % 200)) }
            }
            for number in 0..<250 {
                peers[(batch * 250 + number) % 1_000].send(random.registration())
            }
        }
        // The pair keeps its place; half-open sessions make room for one another.
        #expect(summary.number("sessions_waiting") == 499)
        #expect(summary.number("sessions_paired") == 1)
    }

    /// Datagrams that are nearly registrations, cut registrations, and random bytes.
    private func malformed() -> [[UInt8]] {
        var random = SplitMix64(seed: 4)
        var datagrams: [[UInt8]] = []
        let line = random.registration()
        for length in 0..<40 { datagrams.append(Array(line.prefix(length))) }
        for place in 0..<40 {
            for byte in [0, 0x0a, 0x20, 0x67, 0x80, 0xff] as [UInt8] {
                var changed = line
                changed[place] = byte
                datagrams.append(changed)
            }
        }
        let text = String(decoding: line, as: UTF8.self)
        for variant in [
            text + "\n", text + " ", " " + text, String(text.dropLast()) + "\r",
            String(text.dropLast()) + "\n\r", String(text.dropLast()) + "\0",
            text.replacing("REG:", with: "reg:"), text.replacing("-", with: ""),
            text.replacing("REG:", with: "REG: "), "ACK\n", "REG:\n", "REG:" + text, "punch",
            "{\(text.dropFirst(4).dropLast())}", text + text,
        ] {
            datagrams.append(Array(variant.utf8))
        }
        while datagrams.count < 2_000 {
            datagrams.append(random.bytes(Int(random.next() % 1_500)))
        }
        return datagrams
    }

    @Test func aMillionMalformedDatagramsAreDroppedInSilence() throws {
        let datagrams = malformed()
        var senders: [TestPeer] = []
        let (summary, lines) = try flood(batches: 2_000, of: 500) { relay, batch in
            if senders.isEmpty { senders = try (0..<8).map { _ in try TestPeer(relay, host: 9) } }
            for number in 0..<500 {
                senders[number % 8].send(datagrams[(batch * 500 + number) % datagrams.count])
            }
        }
        #expect(senders.allSatisfy { $0.receive(waits: false) == nil })
        #expect(summary.number("replied") == 2)
        #expect(summary.number("dropped") == 1_000_000)
        #expect(summary.number("sessions_waiting") == 0)
        #expect(summary.number("sessions_paired") == 1)
        // On a slow machine it lasts long enough for the pair, which is not QUIC, to be diagnosed,
        // and with a sanitizer for the relay to sum up.
        let events = lines.map(\.event).filter { !["session_diagnosed", "summary"].contains($0) }
        #expect(events == ["session_opened", "session_paired", "stopped"])
    }
}
