import ArgumentParser
import FoundationEssentials

/// A command as the parser describes it: what help, manual and configuration file are made from.
struct CommandDescription: Decodable {
    struct Argument: Decodable {
        struct Name: Decodable {
            let kind: String
            let name: String

            /// As it is typed.
            var text: String { (kind == "short" ? "-" : "--") + name }
        }

        let kind: String
        let shouldDisplay: Bool
        let isOptional: Bool
        let isRepeating: Bool
        let names: [Name]?
        let preferredName: Name?
        let valueName: String?
        let sectionTitle: String?
        let abstract: String?
    }

    let commandName: String
    let shouldDisplay: Bool
    let abstract: String?
    let discussion: String?
    let arguments: [Argument]?
    let subcommands: [CommandDescription]?

    /// The whole program.
    static let program = describe(QuicRelay._dumpHelp())
    /// The relay.
    static let relay = describe(Serve._dumpHelp())

    private static func describe(_ text: String) -> CommandDescription {
        struct Description: Decodable {
            let command: CommandDescription
        }
        do {
            return try JSONDecoder().decode(Description.self, from: Data(text.utf8)).command
        } catch {
            preconditionFailure("the parser describes itself in JSON: \(error)")
        }
    }
}
