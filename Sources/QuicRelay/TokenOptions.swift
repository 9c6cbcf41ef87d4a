import ArgumentParser
import Glibc
import Relay
import RelayCore

/// Who may register.
struct TokenOptions: NamedOptions {
    static let valueOptions = ["auth-secret-file"]
    static let flagOptions: [String] = []
    static let liveOptions = valueOptions

    @Option(
        help: ArgumentHelp(
            "Take registrations with a token only, made with a secret of this file, one a line.",
            valueName: "file"),
        transform: parseFileName)
    var authSecretFile: String?

    /// The secrets, if tokens are asked for.
    var secrets: TokenSecrets? {
        get throws(ConfigurationError) {
            guard let authSecretFile else { return nil }
            return try TokenOptions.secrets("auth-secret-file", authSecretFile)
        }
    }

    /// Reads a file that an option names.
    static func secrets(
        _ option: String, _ path: String
    ) throws(ConfigurationError) -> TokenSecrets {
        do throws(TokenSecrets.Mistake) {
            return try TokenSecrets(path: path)
        } catch {
            var exitCode = EX_CONFIG
            if case .unreadable = error { exitCode = EX_NOINPUT }
            throw ConfigurationError("--\(option): \(error)", exitCode: exitCode)
        }
    }
}
