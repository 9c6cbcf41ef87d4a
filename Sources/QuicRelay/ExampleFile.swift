/// A configuration file with every option at its default, made from the options themselves.
enum ExampleFile {
    /// The file's text.
    static var text: String {
        let head = [
            "# The relay's configuration: quic-relay --config /etc/quic-relay/quic-relay.toml",
            "#",
            "# Every option of the command line may stand here, without its dashes. Here they all",
            "# have their defaults: change what you need and take the # away. The command line and",
            "# the environment win over this file. See whether all is well with quic-relay",
            "# check-config FILE; tell a running relay to read it again with HUP or",
            "# quic-relay reload.",
        ]
        let options = OptionDescription.all.filter { $0.name != "config" }.map { option in
            [""] + comment(option.summary) + ["# \(option.name) = \(value(of: option))"]
        }
        return (head + options.joined()).map { $0 + "\n" }.joined()
    }

    /// Text in comment lines of at most 96 columns.
    private static func comment(_ text: String) -> [String] {
        var lines = ["#"]
        for word in text.split(separator: " ") {
            if lines[lines.count - 1].count + 1 + word.count > 96 { lines.append("#") }
            lines[lines.count - 1] += " \(word)"
        }
        return lines
    }

    /// The default as TOML; what kind of value it is where there is none.
    private static func value(of option: OptionDescription) -> String {
        if option.isFlag { return "false" }
        guard let value = option.defaultValue else { return "\"<\(option.valueName)>\"" }
        return Int(value) == nil ? "\"\(value)\"" : value
    }
}
