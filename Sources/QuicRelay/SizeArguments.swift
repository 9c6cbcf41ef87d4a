import RelayCore

extension Setting {
    /// Reads a number of bytes, with a unit or without: k, M, G, T are powers of 1,000, and Ki, Mi,
    /// Gi, Ti powers of 1,024.
    func size(_ word: String) throws -> Int {
        let units = [
            "": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000, "T": 1_000_000_000_000,
            "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
        ]
        let digits = word.prefix { $0.isASCII && $0.isNumber }
        guard let number = Int(digits), let factor = units[String(word.dropFirst(digits.count))],
            case let (value, isTooLarge) = number.multipliedReportingOverflow(by: factor),
            !isTooLarge, range.contains(value)
        else {
            let (least, most) = (
                Setting.sizeWord(range.lowerBound), Setting.sizeWord(range.upperBound)
            )
            let examples = range.contains(2 << 40) ? "500G or 2Ti" : "10M or 2Mi"
            throw NotAllowed(
                description: "must be a number of \(unit) from \(least) to \(most), such as"
                    + " \(examples) (k, M, G, T: powers of 1000; Ki, Mi, Gi, Ti: powers of 1024)")
        }
        return value
    }

    /// A number of bytes with the largest unit that leaves it whole.
    private static func sizeWord(_ bytes: Int) -> String {
        var (number, unit) = (bytes, "")
        for larger in ["k", "M", "G", "T"] where number % 1_000 == 0 && number > 0 {
            number /= 1_000
            unit = larger
        }
        return "\(number)\(unit)"
    }
}
