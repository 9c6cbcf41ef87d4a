#if DEBUG || FUZZING
@testable import Relay
@testable import RelayCore

/// Lines of JSON from a client, or from whoever listens where a relay should.
enum JSONFuzz {
    /// What the grammar takes the decoder can be given.
    static func runText(_ input: [UInt8]) {
        let isText = JSONGrammar.accepts(input)
        precondition(JSONGrammar.accepts([0x20] + input + [0x0a]) == isText, "blanks matter")
        precondition(!isText || !JSONGrammar.accepts(input + Array("]".utf8)))
        guard isText else { return }
        let coding = ControlCoding()
        _ = coding.value(Anything.self, of: input)
    }

    /// A value of any kind, all of which is looked at.
    private struct Anything: Decodable {
        init(from decoder: any Decoder) throws {
            if let object = try? decoder.container(keyedBy: Name.self) {
                for key in object.allKeys { _ = try object.decode(Anything.self, forKey: key) }
            } else if var array = try? decoder.unkeyedContainer() {
                while !array.isAtEnd { _ = try array.decode(Anything.self) }
            } else {
                let value = try decoder.singleValueContainer()
                if value.decodeNil() || (try? value.decode(Bool.self)) != nil { return }
                if (try? value.decode(Int64.self)) != nil { return }
                if (try? value.decode(Double.self)) == nil { _ = try value.decode(String.self) }
            }
        }
    }

    private struct Name: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    /// A request says the same when it is written again, and asks the core for what is in bounds.
    static func runRequest(_ line: [UInt8]) {
        let coding = ControlCoding()
        guard let request = coding.value(ControlRequest.self, of: line) else { return }
        let written = coding.line(request)
        precondition(written.last == 0x0a && !written.dropLast().contains(0x0a), "two lines")
        precondition(coding.value(ControlRequest.self, of: written.dropLast()) == request)
        do throws(ControlFailure) {
            let query = try request.query()
            precondition(query.offset >= 0 && query.limit >= 0)
        } catch {
            precondition(!error.message.isEmpty && !error.message.contains("\n"))
        }
    }

    /// An answer is turned into what a dashboard shows.
    static func runReply(_ line: [UInt8]) {
        let coding = ControlCoding()
        do throws(ControlClientError) {
            let greeting = try ControlClient.greeting(in: line, coding, "path")
            precondition(greeting.protocolVersion == ControlProtocol.version)
        } catch {
            precondition(error.exitCode != 0)
        }
        guard let answer = coding.value(ControlAnswer.self, of: line) else { return }
        let written = coding.line(answer)
        precondition(written.last == 0x0a && !written.dropLast().contains(0x0a), "two lines")
        precondition(coding.value(ControlAnswer.self, of: written.dropLast()) == answer)
        let clock =
            answer.clock ?? answer.greeting?.clock
            ?? ControlClock(unixMicroseconds: 1_795_804_731_320_674, at: .origin)
        _ = clock.now
        for totals in [answer.status?.totals, answer.view?.totals].compactMap(\.self) {
            _ = totals.totals(clock)
            precondition(totals.dropRecords(clock).count == DropReason.allCases.count)
            _ = totals.diagnosisTally
        }
        var sessions = (answer.sessions?.sessions ?? []) + (answer.view?.sessions ?? [])
        sessions += [answer.session, answer.view?.selected].compactMap(\.self)
        for session in sessions {
            guard let snapshot = session.snapshot(clock) else { continue }
            precondition(!snapshot.diagnosis.sentence.isEmpty)
        }
        for event in answer.events?.events ?? [] { _ = event.recorded(clock)?.event.name }
    }
}
#endif
