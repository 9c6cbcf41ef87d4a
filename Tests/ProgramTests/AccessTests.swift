import Glibc
import Testing

/// Relays that have to do with some addresses only, from the files that name them to what they do.
@Suite("Allowing and denying")
struct AccessTests {
    private static let first = "00000000-0000-4000-8000-000000000001"
    private static let second = "00000000-0000-4000-8000-000000000002"

    /// What a reload tells of lists, and of nothing else.
    private func reload(_ relay: RunningRelay) throws -> [LogLine] {
        relay.program.signal(SIGHUP)
        return try relay.lines(until: "configuration_reloaded").filter {
            $0.event == "address_lists_changed"
        }
    }

    /// Whether a registration is answered. A witness that is heard after it shows that it would
    /// have been by now.
    private func isHeard(
        _ peer: TestPeer, _ id: String, before witness: TestPeer
    ) throws -> Bool {
        peer.send(Array("REG:\(id)\n".utf8))
        try witness.register("00000000-0000-4000-8000-00000000cafe")
        return peer.receive(waits: false) == Array("ACK\n".utf8)
    }

    @Test func denyWinsOverAllow() throws {
        let allow = try TestFile("127.0.0.0/8  # all of this machine\n")
        let deny = try TestFile("# a neighbour\n127.0.0.3\n")
        let relay = try RunningRelay(["--no-tui", "--allow", allow.path, "--deny", deny.path])
        let witness = try TestPeer(relay)
        #expect(try isHeard(try TestPeer(relay, host: 2), Self.first, before: witness))
        #expect(try !isHeard(try TestPeer(relay, host: 3), Self.first, before: witness))
        try relay.endWithSummary()
    }

    @Test func listsAreReadAgain() throws {
        let deny = try TestFile("")
        let relay = try RunningRelay(["--no-tui", "--deny", deny.path])
        let witness = try TestPeer(relay)
        let (a, b) = (try TestPeer(relay, host: 2), try TestPeer(relay, host: 3))
        try a.register(Self.first)
        try b.register(Self.second)
        // The same list, otherwise written, is no change.
        try deny.write("# nothing yet\n")
        #expect(try reload(relay).isEmpty)
        try deny.write("127.0.0.2/31\n127.0.0.2\n")
        let changed = try reload(relay)
        #expect(changed.map { $0["deny"] } == ["1"] && changed.map { $0["allow"] } == ["all"])
        // Both peers' sessions end, and the peers are not heard any more.
        var ended = [try #require(try relay.lines(until: "session_ended").last)]
        ended.append(try #require(try relay.lines(until: "session_ended").last))
        #expect(ended.map { $0["reason"] } == ["denied", "denied"])
        #expect(try !isHeard(a, Self.first, before: witness))
        // A list with a mistake changes nothing.
        try deny.write("127.0.0.2/30\n")
        relay.program.signal(SIGHUP)
        let refused = try relay.lines(until: "configuration_refused").last
        #expect(
            refused?["reason"]?.contains(
                "--deny: \(deny.path):1: '127.0.0.2/30' has bits behind its prefix") == true)
        #expect(try !isHeard(b, Self.second, before: witness))
        try deny.write("127.0.0.2\n")
        #expect(try reload(relay).count == 1)
        #expect(try !isHeard(a, Self.first, before: witness))
        #expect(try isHeard(b, Self.second, before: witness))
        try relay.endWithSummary()
    }

    @Test(arguments: ["allow", "deny"]) func aBadFileIsToldInOneLine(option: String) throws {
        let file = try TestFile("127.0.0.1\nlocalhost\n")
        for arguments in [["--no-tui"], ["check-config"]] {
            let run = try Run(arguments + ["--\(option)", file.path])
            #expect(run.ending == .exit(EX_CONFIG) && run.output == [])
            #expect(
                run.errors == [
                    "quic-relay: --\(option): \(file.path):2: 'localhost' must be an address or a "
                        + "block of addresses, such as 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32"
                ])
            let missing = try Run(arguments + ["--\(option)", "/nowhere/list"])
            #expect(missing.ending == .exit(EX_NOINPUT))
            #expect(
                missing.errors == [
                    "quic-relay: --\(option): open /nowhere/list: No such file or directory"
                ])
        }
    }

    @Test func aListThatAllowsNobodyIsAMistake() throws {
        let file = try TestFile("# all are gone\n")
        let run = try Run(["--no-tui", "--allow", file.path])
        #expect(run.ending == .exit(EX_CONFIG))
        #expect(
            run.errors == [
                "quic-relay: --allow: \(file.path): must have an address: without one nobody is "
                    + "allowed"
            ])
    }

    @Test(arguments: [
        ("0", true), ("off", true), ("1M", true), ("2Ti", true), ("999999", false),
        ("1Q", false), ("", false),
    ])
    func aSessionsVolumeIsReadAsABudget(word: String, isGood: Bool) throws {
        let run = try Run(["check-config", "--session-bytes", word])
        #expect(run.ending == .exit(isGood ? 0 : EX_USAGE))
        #expect(run.errors.count == (isGood ? 0 : 1))
        if !isGood { #expect(run.errors[0].contains("session-bytes"), "\(run.errors)") }
    }
}
