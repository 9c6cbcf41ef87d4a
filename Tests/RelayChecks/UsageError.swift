/// Arguments that make no sense, said in one line.
struct UsageError: Error, CustomStringConvertible {
    let description: String

    /// The exit status for wrong usage (sysexits.h, EX_USAGE).
    static let status: Int32 = 64

    init(_ description: String) {
        self.description = description
    }
}
