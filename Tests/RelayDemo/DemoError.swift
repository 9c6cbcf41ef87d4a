import Glibc
import Relay

/// Why the demonstration cannot go on, in one line, and what it exits with (sysexits.h).
struct DemoError: Error, CustomStringConvertible {
    let description: String
    let code: Int32

    init(_ description: String, code: Int32) {
        self.description = description
        self.code = code
    }

    /// A system call that failed with `code`.
    init(_ operation: String, failed code: Int32) {
        self.init("\(operation): \(Errno(code: code))", code: EX_OSERR)
    }
}
