import ArgumentParser
import Glibc
import Relay
import RelayCore

/// From where peers may come.
struct AccessOptions: NamedOptions {
    static let valueOptions = ["allow", "deny"]
    static let flagOptions: [String] = []
    static let liveOptions = valueOptions

    @Option(
        help: ArgumentHelp(
            "Have to do with the addresses of this file only, one or one block (CIDR) a line.",
            valueName: "file"),
        transform: parseFileName)
    var allow: String?

    @Option(
        help: ArgumentHelp(
            "Have nothing to do with the addresses of this file, allowed or not.",
            valueName: "file"),
        transform: parseFileName)
    var deny: String?

    /// What the core is told, if there is a list.
    var rules: SourceRules? {
        get throws(ConfigurationError) {
            if allow == nil && deny == nil { return nil }
            let allowed = try allow.map { path throws(ConfigurationError) in
                try AccessOptions.blocks("allow", path)
            }
            if let allow, let allowed, allowed.isEmpty {
                throw ConfigurationError(
                    "--allow: \(allow): must have an address: without one nobody is allowed",
                    exitCode: EX_CONFIG)
            }
            let denied = try deny.map { path throws(ConfigurationError) in
                try AccessOptions.blocks("deny", path)
            }
            return SourceRules(
                allowing: allowed.map { AddressSet($0) }, denying: AddressSet(denied ?? []))
        }
    }

    private static func blocks(
        _ option: String, _ path: String
    ) throws(ConfigurationError) -> [AddressBlock] {
        do throws(AddressList.Mistake) {
            return try AddressList.blocks(path: path)
        } catch {
            var exitCode = EX_CONFIG
            if case .unreadable = error { exitCode = EX_NOINPUT }
            throw ConfigurationError("--\(option): \(error)", exitCode: exitCode)
        }
    }
}
