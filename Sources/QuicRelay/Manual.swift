import ArgumentParser

/// Prints the manual page: `quic-relay manual | man -l -`. `make docs` keeps it in a file.
struct Manual: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the manual page, for man -l -.", shouldDisplay: false)

    func run() {
        QuicRelay.show(ManualPage.text)
    }
}
