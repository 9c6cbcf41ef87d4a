/// How many sessions there are of each diagnosis.
public struct DiagnosisTally: BitwiseCopyable, Sendable {
    /// One place for each of the 14 kinds, and two to spare.
    private var counts = InlineArray<16, UInt32>(repeating: 0)

    /// None.
    public init() {}

    /// How many sessions have this one.
    public subscript(kind: DiagnosisKind) -> Int {
        get { Int(counts[Int(kind.rawValue)]) }
        set { counts[Int(kind.rawValue)] = UInt32(clamping: newValue) }
    }

    /// How many sessions are in trouble.
    public var troubled: Int {
        DiagnosisKind.allCases.reduce(0) { $0 + ($1.grade == .trouble ? self[$1] : 0) }
    }

    mutating func add(_ kind: DiagnosisKind) { counts[Int(kind.rawValue)] &+= 1 }
}
