import ArgumentParser
import Relay

/// Shows what a relay does, once.
struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show what a running relay does.",
        discussion: """
            Ends with 0, with 69 if there is no relay, and with 77 if its control socket is \
            another user's.
            """)

    @OptionGroup var form: AnswerForm

    @Flag(help: ArgumentHelp("Nothing else is done anyway.", visibility: .hidden))
    var once = false

    func run() throws {
        let client = try form.connect()
        guard let status = try client.ask(ControlRequest(.status)).status else {
            throw ControlClientError.otherProtocol("the relay tells no status")
        }
        let console = Console()
        if form.json { return console.show(json: status) }
        console.show(StatusText(status, client.clock, console).lines)
    }
}
