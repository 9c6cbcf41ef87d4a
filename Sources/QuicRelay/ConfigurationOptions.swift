import ArgumentParser

/// Where else the relay's options stand.
struct ConfigurationOptions: NamedOptions {
    static let valueOptions = ["config"]
    static let flagOptions: [String] = []

    @Option(
        help: ArgumentHelp(
            "Read options from a file; HUP reads it again.", valueName: "file"),
        completion: .file(extensions: ["toml"]), transform: parsePath)
    var config: String?
}

func parsePath(_ word: String) throws -> String {
    guard !word.isEmpty, !word.contains("\0") else {
        throw NotAllowed(description: "must be the path of a file")
    }
    return word
}
