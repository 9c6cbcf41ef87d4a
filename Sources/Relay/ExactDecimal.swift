extension UInt64 {
    /// This number of units of 10^-`places`, written exactly and as short as possible: 2,500 with
    /// six places is "0.0025".
    func decimal(places: Int) -> String {
        let digits = String(self)
        guard places > 0 else { return digits }
        let padded = String(repeating: "0", count: Swift.max(0, places + 1 - digits.count)) + digits
        let fraction = padded.suffix(places).reversed().drop { $0 == "0" }.reversed()
        let whole = padded.dropLast(places)
        return fraction.isEmpty ? String(whole) : "\(whole).\(String(fraction))"
    }
}
