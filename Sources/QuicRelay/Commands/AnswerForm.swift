import ArgumentParser
import Relay

/// For commands that ask a relay: which one, and in what form its answer is printed.
struct AnswerForm: ParsableArguments {
    @OptionGroup var relay: ClientOptions

    @Flag(help: "Print JSON, with the control socket's field names.")
    var json = false

    /// Connects to the relay.
    func connect() throws -> ControlClient { try relay.connect() }
}

/// Nothing was there to be shown or done (the program's exit code 1).
let nothingMatched = ExitCode(1)

extension Array {
    /// Parts of at most so many elements.
    func parts(of limit: Int) -> [ArraySlice<Element>] {
        stride(from: 0, to: count, by: limit).map { self[$0..<Swift.min($0 + limit, count)] }
    }
}
