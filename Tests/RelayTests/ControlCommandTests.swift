import RelayCore
import Testing

@testable import Relay

/// What clients of the control socket look at, and what they command.
@Suite("Views and commands of the control socket", .serialized)
struct ControlCommandTests {
    private static let first = SessionID(high: 0x0011_2233_4455_6677, low: 1)
    private static let second = SessionID(high: 0x0011_2299_4455_6677, low: 2)

    private func withRelay(_ body: (ControlledRelay, RawClient) throws -> Void) throws {
        let relay = try ControlledRelay()
        do {
            try relay.open(ControlCommandTests.first)
            try relay.open(ControlCommandTests.second)
            let client = try relay.client()
            #expect(try client.answer()?.greeting != nil)
            try body(relay, client)
        } catch {
            try relay.end()
            throw error
        }
        try relay.end()
    }

    private func ids(_ answer: ControlAnswer) -> [String]? {
        (answer.view?.sessions ?? answer.sessions?.sessions)?.map(\.id)
    }

    // MARK: Looking

    @Test func eachClientHasItsOwnView() throws {
        try withRelay { relay, client in
            let other = try relay.client()
            _ = try other.answer()
            let names = [ControlCommandTests.first, ControlCommandTests.second].map(\.description)
            try client.send("{\"id\":1,\"request\":\"view\",\"sort\":\"id\"}\n")
            try other.send(
                "{\"id\":1,\"request\":\"view\",\"sort\":\"id\",\"descending\":true,\"limit\":1}\n")
            let (mine, others) = (try client.answer(), try other.answer())
            #expect(mine.flatMap(ids) == names)
            #expect(others.flatMap(ids) == [names[1]])
            #expect(others?.view?.matchCount == 2 && others?.view?.sessionCount == 2)
            let filtered = try other.ask(#"{"id":2,"request":"view","filter":"id:001122334"}"#)
            #expect(ids(filtered) == [names[0]])
            #expect(filtered.view?.matchCount == 1)
        }
    }

    @Test func anOrderIsHeldForTheClientThatWantsIt() throws {
        try withRelay { relay, client in
            let names = [ControlCommandTests.first, ControlCommandTests.second].map(\.description)
            _ = try client.ask(#"{"id":1,"request":"view","sort":"id","hold":"take"}"#)
            let held = try client.ask(
                #"{"id":2,"request":"view","sort":"id","descending":true,"hold":"keep"}"#)
            #expect(ids(held) == names)
            let other = try relay.client()
            _ = try other.answer()
            let others = try other.ask(
                #"{"id":1,"request":"view","sort":"id","descending":true,"hold":"keep"}"#)
            #expect(ids(others) == names.reversed())
            let free = try client.ask(
                #"{"id":3,"request":"view","sort":"id","descending":true}"#)
            #expect(ids(free) == names.reversed())
        }
    }

    @Test func aPictureIsKeptForWhoLooksAtIt() throws {
        try withRelay { relay, client in
            let view = try client.ask(#"{"id":1,"request":"view","limit":1}"#).view
            let picture = try #require(view)
            let other = try relay.client()
            _ = try other.answer()
            for id in 1..<10 as Range<UInt64> {
                _ = try other.ask("{\"id\":\(id),\"request\":\"view\"}")
            }
            let again = try client.ask(
                "{\"id\":2,\"request\":\"view\",\"offset\":1,\"picture\":\(picture.picture)}")
            #expect(again.view?.totals.timeMicroseconds == picture.totals.timeMicroseconds)
            #expect(again.view?.sessions.count == 1)
        }
    }

    @Test func aListIsWrittenInPartsToItsEnd() throws {
        try withRelay { relay, client in
            let count = ControlProtocol.rowLimit + 7
            var peers: [TestSocket] = []
            for number in 1...UInt64(count) {
                let peer = try TestSocket("127.0.0.1")
                peer.send(
                    registrationLine(SessionID(high: number, low: number)),
                    to: relay.service.socket.address)
                #expect(peer.receive() != nil)
                peers.append(peer)
            }
            try client.send(
                "{\"id\":1,\"request\":\"sessions\",\"sort\":\"id\",\"filter\":\"state:waiting\"}\n"
            )
            var seen: [String] = []
            var parts = 0
            var hasMore = true
            while hasMore {
                let answer = try client.answer()
                let report = try #require(answer?.sessions)
                #expect(report.offset == seen.count && report.matchCount == count)
                seen += report.sessions.map(\.id)
                hasMore = report.hasMore
                parts += 1
            }
            #expect(
                parts == 2 && peers.count == count && seen.count == count && seen == seen.sorted())
        }
    }

    @Test func eventsAreToldFromANumberOnAndAsTheyHappen() throws {
        try withRelay { relay, client in
            let past = try client.ask(#"{"id":1,"request":"events"}"#).events
            let events = try #require(past)
            #expect(
                events.events.map(\.name) == [
                    "session_opened", "session_paired", "session_opened", "session_paired",
                ])
            #expect(events.events.map(\.sequence) == [1, 2, 3, 4] && events.lost == 0)
            let some = try client.ask(#"{"id":2,"request":"events","after":2,"limit":1}"#).events
            #expect(some?.events.map(\.sequence) == [4])
            let one = try client.ask(
                #"{"id":3,"request":"events","session":"001122334455","level":"info"}"#)
            #expect(one.events?.events.map(\.sequence) == [1, 2])
            let none = try client.ask(
                "{\"id\":4,\"request\":\"events\",\"after\":\(events.latest),\"follow\":true,"
                    + "\"level\":\"notice\"}")
            #expect(none.id == 4 && none.events?.events.isEmpty == true)
            #expect(relay.service.submit(.setLogLevel(.debug)))
            let news = try client.answer()
            #expect(news?.id == 4 && news?.events?.events.map(\.name) == ["log_level_changed"])
        }
    }

    // MARK: Commanding

    @Test func anEvictionIsAnsweredWhenItIsDone() throws {
        try withRelay { _, client in
            let evicted = try client.ask(
                #"{"id":1,"request":"evict","sessions":["0011223","001122","00FF"]}"#
            ).command
            let outcomes = try #require(evicted?.outcomes)
            #expect(outcomes.map(\.isDone) == [true, false, false])
            #expect(outcomes.map(\.error?.code) == [nil, .ambiguous, .notFound])
            #expect(outcomes[0].id == ControlCommandTests.first.description)
            let session = try client.ask(#"{"id":2,"request":"session","session":"0011223"}"#)
            #expect(session.session?.state == "evicted")
            #expect(session.session?.nextStep?.isEmpty == false)
            // In a list only if that is wanted.
            #expect(try client.ask(#"{"id":3,"request":"sessions"}"#).sessions?.matchCount == 1)
            let all = try client.ask(#"{"id":4,"request":"sessions","include_evicted":true}"#)
            #expect(all.sessions?.matchCount == 2)
            let id = ControlCommandTests.first.description
            let twice = try client.ask(#"{"id":5,"request":"evict","session":"\#(id)"}"#)
            #expect(twice.command?.outcomes?.first?.error?.code == .notFound)
            let undone = try client.ask(#"{"id":6,"request":"undo_evict","session":"\#(id)"}"#)
            #expect(undone.command?.outcomes?.first?.isDone == true)
            let back = try client.ask(#"{"id":7,"request":"session","session":"\#(id)"}"#)
            #expect(back.session?.state == "paired")
        }
    }

    /// Pictures are shared by requests that come soon after each other, but not from before it.
    @Test func whatACommandDidIsSeenByTheNextRequest() throws {
        try withRelay { _, client in
            let session = #""session":"\#(ControlCommandTests.first)""#
            for round in 0..<10 as Range<UInt64> {
                for (command, state) in [("evict", "evicted"), ("undo_evict", "paired")] {
                    let request = "{\"id\":\(round),\"request\":"
                    _ = try client.ask(request + "\"\(command)\",\(session)}")
                    let answer = try client.ask(request + "\"session\",\(session)}")
                    #expect(answer.session?.state == state, "round \(round)")
                }
            }
        }
    }

    /// Events that are too many alike are left out; the command is answered all the same.
    @Test func anEvictionThatNoEventTellsOfIsAnsweredToo() throws {
        try withRelay { _, client in
            let id = ControlCommandTests.first.description
            var outcomes: [Bool?] = []
            for number in 0..<14 as Range<UInt64> {
                let request = number % 2 == 0 ? "evict" : "undo_evict"
                let answer = try client.ask(
                    "{\"id\":\(number),\"request\":\"\(request)\",\"session\":\"\(id)\"}")
                outcomes.append(answer.command?.outcomes?.first?.isDone)
            }
            #expect(outcomes == Array(repeating: true, count: 14))
        }
    }

    @Test func drainingAndTheLogLevelAreAnsweredByWhatHolds() throws {
        try withRelay { relay, client in
            let loud = try client.ask(
                #"{"id":1,"request":"set_log_level","level":"trace","revert_s":1}"#)
            #expect(loud.command?.from == "info" && loud.command?.to == "trace")
            #expect(loud.command?.revertSeconds == 1)
            // Nobody has to wait for that.
            let other = try relay.client()
            _ = try other.answer()
            _ = try other.ask(#"{"id":1,"request":"events","after":5,"follow":true}"#)
            let back = try other.answer()
            #expect(back?.events?.events.first?.to == "info")
            let draining = try client.ask(#"{"id":2,"request":"drain"}"#)
            #expect(draining.command?.state == "draining" && draining.command?.sessions == 2)
            let again = try client.ask(#"{"id":3,"request":"drain"}"#)
            #expect(again.command?.state == "draining")
            let reload = try client.ask(#"{"id":4,"request":"reload"}"#)
            #expect(reload.command?.lines == [])
        }
    }

    // MARK: The client library

    @Test func theClientLibrarySaysWhatIsWrong() throws {
        try withRelay { relay, _ in
            let client = try ControlClient(relay.path)
            #expect(try client.ask(ControlRequest(.status)).status != nil)
            var bad = ControlRequest(.sessions)
            bad.filter = "speed>1"
            #expect(throws: ControlClientError.self) { try client.ask(bad) }
            // It goes on after that.
            #expect(try client.ask(ControlRequest(.status)).status != nil)
            relay.endServing()
            let lost = #expect(throws: ControlClientError.self) {
                try client.ask(ControlRequest(.status))
            }
            #expect(lost?.exitCode == 69)
            let none = #expect(throws: ControlClientError.self) { try ControlClient(relay.path) }
            #expect(none?.exitCode == 69 && none?.description.contains(relay.path) == true)
        }
    }

    @Test func anotherProtocolIsSaid() throws {
        let coding = ControlCoding()
        func error(_ text: String) -> ControlClientError? {
            do {
                _ = try ControlClient.greeting(in: Array(text.utf8), coding, "/x")
                return nil
            } catch {
                return error
            }
        }
        let other = error(#"{"quic_relay":{"protocol":2,"version":"9.9.9","x":1}}"#)
        #expect(other?.exitCode == 76)
        for part in ["/x", "9.9.9", "version 2", "version 1"] {
            #expect(other?.description.contains(part) == true)
        }
        #expect(error("HTTP/1.1 400 Bad Request")?.exitCode == 76)
        #expect(
            error(#"{"error":{"code":"not_permitted","message":"no"}}"#)?.exitCode == 77)
        #expect(
            error(#"{"error":{"code":"too_many_clients","message":"no"}}"#)?.exitCode == 75)
    }

    @Test func anAttachedRelayComesBack() throws {
        try withRelay { relay, _ in
            let attached = AttachedRelay(try ControlClient(relay.path))
            attached.ask(for: SessionQuery(), hold: nil, isNew: true)
            var view: ViewReport?
            while view == nil {
                #expect(waitUntilReadable(attached.descriptor))
                attached.advance()
                view = attached.takeView()
            }
            #expect(view?.sessions.count == 2 && attached.state == .connected)
            relay.endServing()
            while attached.state == .connected {
                #expect(waitUntilReadable(attached.descriptor))
                attached.advance()
            }
            #expect(attached.descriptor == -1 && !attached.submit(.drain))
            #expect(!attached.isViewDue)
            attached.advance()
            try relay.serve()
            while attached.state != .connected { attached.advance() }
            #expect(attached.takeMessages().count == 1)
            attached.ask(for: SessionQuery(), hold: .keep, isNew: true)
            while attached.isViewDue && attached.takeView() == nil { attached.advance() }
            // The events go on counting.
            var numbers: [UInt64] = []
            while numbers.count < 8 {
                attached.advance()
                numbers += attached.takeEvents().map(\.sequence)
            }
            #expect(numbers == numbers.sorted() && Set(numbers).count == numbers.count)
        }
    }
}
