import Testing

@testable import RelayCore

@Suite struct EngineTotalRateTests {
    // MARK: Registrations

    @Test func newRegistrationsAreLimitedInTotal() throws {
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 8, registrationRate: 5))
        // Four seconds' worth at once.
        for number in 0..<20 {
            #expect(relay.register(session(number), from: host(number)).count == 1)
        }
        #expect(relay.register(session(20), from: host(20)).isEmpty)
        #expect(relay.drops(.registrationRateTotal) == 1)
        #expect(relay.engine.sessions.find(session(20)) == nil)
        // What is known may be repeated as often as its peer likes.
        for _ in 0..<50 { #expect(relay.register(session(19), from: host(19)).count == 1) }
        relay.wait(milliseconds: 200)
        #expect(relay.register(session(20), from: host(20)).count == 1)
        #expect(relay.register(session(21), from: host(21)).isEmpty)
    }

    /// A relay was restarted without its state, and all that it served come back at once.
    @Test func aWholeFleetMayComeBackAtOnce() throws {
        let fleet = 500
        var relay = TestRelay(
            try RelayConfiguration(sessionLimit: fleet, registrationRate: 1, replyRate: 1))
        for number in 0..<fleet {
            #expect(relay.register(session(number), from: host(2 * number)).count == 1)
            #expect(relay.register(session(number), from: host(2 * number + 1)).count == 1)
        }
        #expect(relay.count(.paired) == fleet && relay.engine.counters.dropped == 0)
        relay.register(session(0), from: host(5_000))
        #expect(relay.drops(.registrationRateTotal) == 1)
    }

    @Test func aSourceBeyondItsRateTakesNothingFromOthers() throws {
        var relay = TestRelay(
            try RelayConfiguration(
                sessionLimit: 2, registrationRate: 5, registrationRatePerSource: 1))
        for number in 0..<100 {
            relay.register(session(number), from: host(1, port: UInt16(1 + number)))
        }
        #expect(relay.drops(.registrationRate) == 96)
        for number in 100..<116 {
            #expect(relay.register(session(number), from: host(number)).count == 1)
        }
        #expect(relay.register(session(200), from: host(200)).isEmpty)
        #expect(relay.drops(.registrationRateTotal) == 1)
    }

    @Test func aClientOfVersionTwoIsToldToWait() throws {
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 1, registrationRate: 1))
        for number in 0..<4 { relay.register(session(number), from: host(number)) }
        #expect(relay.register(session(9), key: 9, from: host(9)) == "ERR:limit\n")
        guard
            case .registrationRefused(session(9), _, .registrationRateTotal)? = relay.events().last
        else {
            Issue.record("no event tells of the refusal")
            return
        }
    }

    // MARK: Answers

    @Test func answersToThoseNotValidatedAreLimitedInTotal() throws {
        var relay = TestRelay(
            try RelayConfiguration(sessionLimit: 2, answersSTUN: true, replyRate: 6))
        let request = STUNBinding.request(transaction: session(1))
        // Of every kind.
        relay.open(session(1), host(1), host(2))  // 2
        #expect(relay.answer(to: keyedLine(session(3), key: 3), from: host(3)) != nil)  // 3
        #expect(relay.send(request, from: host(4)).count == 1)  // 4
        #expect(relay.register(session(5), from: host(5)).count == 1)  // 5
        #expect(relay.register(session(5), from: host(5)).count == 1)  // 6
        #expect(relay.register(session(5), from: host(5)).isEmpty)
        #expect(relay.answer(to: keyedLine(session(3), key: 3), from: host(3)) == nil)
        #expect(relay.send(request, from: host(4)).isEmpty)
        #expect(relay.drops(.replyRate) == 3)
        // Whoever has shown that it receives is answered.
        for _ in 0..<20 { #expect(relay.register(session(1), from: host(1)).count == 1) }
        relay.wait(milliseconds: 500)
        #expect(relay.register(session(5), from: host(5)).count == 1)
        #expect(relay.send(request, from: host(4)).count == 1)
    }

    @Test func refusalsCountThere() throws {
        var relay = TestRelay(try RelayConfiguration(sessionLimit: 1, replyRate: 4))
        relay.open(session(1), host(1), host(2))  // 2
        let cookie = relay.cookie(for: host(3))  // 3
        let line = keyedLine(session(1), key: 3, cookie: cookie)
        #expect(relay.answer(to: line, from: host(3)) == "ERR:full\n")  // 4
        #expect(relay.answer(to: line, from: host(3)) == nil)
        let leaving = keyedLine(session(1), key: 3, verb: "BYE", cookie: cookie)
        #expect(relay.answer(to: leaving, from: host(3)) == nil)
        #expect(relay.drops(.replyRate) == 2)
    }

    @Test func aSourceBeyondItsAnswersTakesNoneFromOthers() throws {
        var relay = TestRelay(
            try RelayConfiguration(sessionLimit: 2, ackRatePerSource: 3, replyRate: 6))
        for _ in 0..<50 { relay.register(session(1), from: host(1)) }
        #expect(relay.drops(.acknowledgementRate) == 47)
        for _ in 0..<3 { #expect(relay.register(session(2), from: host(2)).count == 1) }
        #expect(relay.register(session(3), from: host(3)).isEmpty)
        #expect(relay.drops(.replyRate) == 1)
    }
}
