/// Draws numbers as bars.
nonisolated enum Sparkline {
    /// A bar for each value, as high as it is beside the highest; a blank where there is none.
    static func text(_ values: [Float?]) -> String {
        let highest = values.compactMap { $0 }.max() ?? 0
        var text = String.UnicodeScalarView()
        for value in values {
            guard let value, highest > 0 else {
                text.append(value == nil ? " " : Glyphs.bars[0])
                continue
            }
            let share = max(0, value) / highest
            text.append(Glyphs.bars[min(7, Int(share * 7.999))])
        }
        return String(text)
    }
}
