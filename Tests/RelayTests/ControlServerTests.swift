import FoundationEssentials
import Glibc
import RelayCore
import Testing

@testable import Relay

/// The control socket, by clients that speak as they like.
@Suite("The control socket", .serialized)
struct ControlServerTests {
    private static let first = SessionID(high: 0x0011_2233_4455_6677, low: 1)
    private static let second = SessionID(high: 0x0011_2299_4455_6677, low: 2)

    /// Runs a test with a relay, and ends that.
    private func withRelay(_ body: (ControlledRelay) throws -> Void) throws {
        let relay = try ControlledRelay()
        do {
            try body(relay)
        } catch {
            try relay.end()
            throw error
        }
        try relay.end()
    }

    private func greeted(_ client: RawClient) throws -> ControlGreeting {
        let answer = try client.answer()
        return try #require(answer?.greeting)
    }

    @Test func itGreetsAndTellsTheStatus() throws {
        try withRelay { relay in
            try relay.open(ControlServerTests.first)
            let client = try relay.client()
            let greeting = try greeted(client)
            #expect(greeting.protocolVersion == 1 && greeting.programVersion == "1.2.3")
            #expect(greeting.pid == getpid() && !greeting.isReadOnly)
            #expect(greeting.address == "\(relay.service.socket.address)")
            let answer = try client.ask(#"{"id":7,"request":"status","unknown":[1]}"#)
            let status = try #require(answer.status)
            #expect(answer.id == 7 && status.limits == ["session-limit": 1_000])
            #expect(status.totals.pairedSessions == 1 && status.control.clients == 1)
            #expect(
                status.totals.diagnoses["silent"] == 1
                    && status.totals.drops.count == DropReason.allCases.count)
            #expect(status.uptimeSeconds >= 0)
        }
    }

    @Test func whatIsNoRequestIsAnsweredAndNoMore() throws {
        try withRelay { relay in
            let client = try relay.client()
            _ = try greeted(client)
            for (text, code, id) in [
                ("rubbish", ControlErrorCode.badRequest, nil as UInt64?),
                ("[1,2]", .badRequest, nil), (#"{"request":"status"}"#, .badRequest, nil),
                (#"{"id":-1,"request":"status"}"#, .badRequest, nil),
                (#"{"id":1}"#, .badRequest, nil), ("\u{1}\u{2}{", .badRequest, nil),
                (#"{"id":1,"request":"dance"}"#, .unknownRequest, 1),
                (#"{"id":2,"request":"sessions","filter":"speed>1"}"#, .badField, 2),
                (#"{"id":3,"request":"sessions","sort":"beauty"}"#, .badField, 3),
                (#"{"id":4,"request":"sessions","window_s":3}"#, .badField, 4),
                (#"{"id":5,"request":"view","offset":-1}"#, .badField, 5),
                (#"{"id":6,"request":"view","limit":99999999999}"#, .badField, 6),
                (#"{"id":7,"request":"session"}"#, .badField, 7),
                (#"{"id":8,"request":"session","session":"xyz"}"#, .badField, 8),
                (#"{"id":9,"request":"evict","sessions":[]}"#, .badField, 9),
                (#"{"id":10,"request":"set_log_level","level":"loud"}"#, .badField, 10),
                (#"{"id":11,"request":"events","level":"loud"}"#, .badField, 11),
                (#"{"id":12,"request":"view","picture":99}"#, .pictureGone, 12),
                (#"{"id":13,"request":"session","session":"00"}"#, .notFound, 13),
            ] {
                let answer = try client.ask(text)
                #expect(answer.error?.code == code && answer.id == id, "\(text)")
                #expect(answer.error?.message.isEmpty == false)
            }
            #expect(try client.ask(#"{"id":14,"request":"status"}"#).status != nil)
        }
    }

    @Test func linesComeInPiecesAndTogether() throws {
        try withRelay { relay in
            let client = try relay.client()
            _ = try greeted(client)
            for byte in #"{"id":1,"req"#.utf8 { try client.socket.send([byte]) }
            try client.send(
                "uest\":\"status\"}\n\n  \n{\"id\":2,\"request\":\"status\"}\n{\"id\":3,")
            #expect(try client.answer()?.id == 1)
            #expect(try client.answer()?.id == 2)
            #expect(try client.ask("\"request\":\"status\"}").id == 3)
        }
    }

    @Test func aLineThatIsTooLongEndsTheConnection() throws {
        try withRelay { relay in
            for isEnded in [false, true] {
                let client = try relay.client()
                _ = try greeted(client)
                let long = String(repeating: "x", count: ControlProtocol.requestByteLimit + 1)
                try client.send(long + (isEnded ? "\n" : ""))
                #expect(try client.answer()?.error?.code == .lineTooLong)
                #expect(try client.answer() == nil)
            }
            // One that is just not too long is read.
            let client = try relay.client()
            _ = try greeted(client)
            let request = #"{"id":1,"request":"status"}"#
            let blanks = ControlProtocol.requestByteLimit - request.utf8.count
            let answer = try client.ask(String(repeating: " ", count: blanks) + request)
            #expect(answer.status != nil)
        }
    }

    @Test func clientsHaveALimit() throws {
        try withRelay { relay in
            var clients = try (0..<ControlProtocol.clientLimit).map { number in
                try relay.client(readOnly: number % 2 == 0)
            }
            for client in clients { _ = try greeted(client) }
            for _ in 0..<3 {
                let refused = try relay.client()
                #expect(try refused.answer()?.error?.code == .tooManyClients)
                #expect(try refused.answer() == nil)
            }
            clients.removeLast()
            // The relay may learn of that a little later than a new client comes.
            var isWelcome = false
            while !isWelcome { isWelcome = try relay.client().answer()?.greeting != nil }
            let status = try clients[0].ask(#"{"id":1,"request":"status"}"#).status
            #expect((status?.control.refusedClients ?? 0) >= 3)
        }
    }

    @Test func aThousandConnectionsLeaveNothingBehind() throws {
        try withRelay { relay in
            let client = try relay.client()
            _ = try greeted(client)
            for number in 0..<1_000 {
                let other = try relay.client()
                if number % 3 == 0 { try other.send("{\"id\":1,\"request\":\"view\"}\n{") }
                if number % 3 == 1 { _ = try other.answer() }
            }
            var clients = 2
            while clients > 1 {
                let status = try client.ask(#"{"id":1,"request":"status"}"#).status
                clients = try #require(status).control.clients
            }
            // The listener, and what it accepted: both have its path (proc(5)).
            func sockets() throws -> Int {
                try String(contentsOfFile: "/proc/net/unix", encoding: .utf8)
                    .split(separator: "\n").count { $0.hasSuffix(" \(relay.path)") }
            }
            // A connection is out of the count a moment before its socket is closed.
            for _ in 0..<10_000 where try sockets() > 2 { _ = usleep(1_000) }
            #expect(try sockets() == 2)
        }
    }

    @Test func whoLeavesBeforeTheAnswersDoesNoHarm() throws {
        try withRelay { relay in
            try relay.open(ControlServerTests.first)
            // The relay may be writing, or about to, when it finds out.
            for follows in [false, true] {
                for _ in 0..<200 {
                    let lines = (1...ControlProtocol.requestLimit).map {
                        #"{"id":\#($0),"request":"events","follow":\#(follows)}"# + "\n"
                    }
                    let client = try relay.client()
                    _ = try greeted(client)
                    try client.send(lines.joined())
                }
            }
            let client = try relay.client()
            _ = try greeted(client)
            #expect(try client.ask(#"{"id":1,"request":"status"}"#).status != nil)
        }
    }

    @Test func oneThatHasAskedForTooMuchIsTold() throws {
        try withRelay { relay in
            let client = try relay.client()
            _ = try greeted(client)
            let limit = ControlProtocol.requestLimit
            var lines = ""
            for id in 1...UInt64(limit + 1) {
                lines += "{\"id\":\(id),\"request\":\"events\",\"follow\":true}\n"
            }
            try client.send(lines)
            let answers = try (0...limit).map { _ in try client.answer() }
            #expect(answers.count { $0?.error?.code == .tooManyRequests } == 1)
            #expect(answers.last??.id == UInt64(limit + 1))
        }
    }

    @Test func aClientThatSaysNoMoreGetsItsAnswers() throws {
        try withRelay { relay in
            let client = try relay.client()
            try client.send("{\"id\":1,\"request\":\"status\"}\n")
            _ = shutdown(client.socket.descriptor, Int32(SHUT_WR))
            _ = try greeted(client)
            #expect(try client.answer()?.status != nil)
            #expect(try client.answer() == nil)
        }
    }

    // MARK: Who may do what

    @Test func theReadOnlySocketTakesNoCommandsAndTellsNoIDs() throws {
        try withRelay { relay in
            let id = ControlServerTests.first
            try relay.open(id)
            let client = try relay.client(readOnly: true)
            #expect(try greeted(client).isReadOnly)
            for request in [
                #""evict","session":"00112233""#, #""undo_evict","session":"00112233""#,
                #""drain""#, #""set_log_level","level":"debug""#, #""reload""#,
            ] {
                let answer = try client.ask(#"{"id":1,"request":"# + request + "}")
                #expect(answer.error?.code == .readOnly, "\(request)")
            }
            #expect(relay.service.totals?.state == .serving)
            let text = id.description
            let answers = try [
                client.ask(#"{"id":2,"request":"sessions"}"#),
                client.ask(#"{"id":3,"request":"session","session":"00112233"}"#),
                client.ask(#"{"id":4,"request":"view"}"#),
                client.ask(#"{"id":5,"request":"events"}"#),
            ]
            let ids = [
                answers[0].sessions?.sessions.first?.id, answers[1].session?.id,
                answers[2].view?.sessions.first?.id, answers[3].events?.events.first?.session,
            ]
            let shown = try #require(ids[0])
            #expect(ids.allSatisfy { $0 == shown } && shown != text)
            #expect(shown.prefix(8) == text.prefix(8))
            // Nor are they found out digit by digit.
            for filter in ["id:0011223344", "!id:0011223344"] {
                let line = #"{"id":6,"request":"sessions","filter":"\#(filter)"}"#
                let count = try client.ask(line).sessions?.matchCount
                #expect(count == (filter.hasPrefix("!") ? 1 : 0))
            }
            let line = #"{"id":7,"request":"session","session":"\#(text)"}"#
            #expect(try client.ask(line).error?.code == .notFound)
        }
    }

    @Test func itsFileIsItsUsersAloneAndGoesWithIt() throws {
        try withRelay { relay in
            let client = try relay.client()
            _ = try greeted(client)
            let attributes = try FileManager.default.attributesOfItem(atPath: relay.path)
            #expect(attributes[.posixPermissions] as? Int == 0o600)
            // A living one's is not taken away.
            #expect(throws: SystemError.self) { try ControlListener.open(relay.path) }
            relay.endServing()
            #expect(!FileManager.default.fileExists(atPath: relay.path))
            #expect(try client.answer() == nil)
            // A dead one's is, but nothing else that has its name.
            let dead = try ControlListener.open(relay.path)
            close(dead.descriptor)
            try relay.serve()
            _ = try greeted(relay.client())
            relay.endServing()
            try "text".write(toFile: relay.path, atomically: false, encoding: .utf8)
            #expect(throws: SystemError.self) { try relay.serve() }
            #expect(FileManager.default.fileExists(atPath: relay.path))
        }
    }

    @Test func aRelayThatCameAfterKeepsItsFile() throws {
        try withRelay { relay in
            let path = "\(relay.directory)/other.sock"
            let former = try ControlListener.open(path)
            close(former.descriptor)
            let later = try ControlListener.open(path)
            former.remove()
            #expect(ControlListener.isAlive(path))
            later.remove()
            #expect(!FileManager.default.fileExists(atPath: path))
            close(later.descriptor)
        }
    }
}
