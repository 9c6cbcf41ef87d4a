import ArgumentParser

/// A group of the relay's options that tells their names, for everything else that can set them.
protocol NamedOptions: ParsableArguments {
    /// The options that take a value, without dashes.
    static var valueOptions: [String] { get }
    /// The options that take none; in the environment they are on when set to 1 or true, and off
    /// when set to 0, false or nothing.
    static var flagOptions: [String] { get }
    /// Those of both that can change while the relay runs.
    static var liveOptions: [String] { get }
}

extension NamedOptions {
    static var liveOptions: [String] { [] }
}
