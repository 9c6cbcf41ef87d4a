import RelayCore

/// What the fuzzer does with one input: its first byte says which of the three it is.
///
///     254         the rest is a state file, and a program for the relay that takes it up
///     else even   the rest is a datagram for the header reader
///     odd         the rest is a program for a whole relay (see `FuzzedRelay`)
///
/// A broken rule traps, which the fuzzer takes for a finding.
public enum FuzzInput {
    /// Takes one input.
    public static func run(_ input: [UInt8]) {
        guard let kind = input.first else { return }
        if kind == 254 {
            CheckpointFuzz.run(input.dropFirst())
        } else if kind & 1 == 0 {
            HeaderFuzz.run(input.dropFirst())
        } else {
            var relay = FuzzedRelay()
            relay.run(input.dropFirst())
        }
    }
}
