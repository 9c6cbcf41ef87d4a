#if DEBUG || FUZZING

/// Something that reads what others wrote, and what must be true of what it reads.
///
/// An input that breaks a rule traps, which the fuzzer takes for a finding; so does what breaks a
/// rule of the language, such as an index beyond an array's end.
enum FuzzTarget: String, CaseIterable {
    // What comes from the network.
    /// The packets of a datagram (`QUICPacketWalk`), with a known length of connection IDs.
    case header
    /// A registration of version 1 or 2 (`ControlLine`).
    case line
    /// What a relay answers, as an agent reads it (`RelayAnswer`).
    case answer
    /// A Binding request of STUN and an answer to one (`STUNRequest`, `STUNBinding`).
    case stun
    /// A whole relay, which lives through a sequence of datagrams, time and commands.
    case relay
    /// The same with two workers, which hear of it late, or find no room for what they tell.
    case workers
    /// A whole agent, with both of its legs and its system.
    case agent

    // What comes through a socket on this machine.
    /// A JSON text (`JSONGrammar`).
    case json
    /// A line of a client of the control socket (`ControlRequest`).
    case request
    /// A line of a relay at its control socket (`ControlAnswer`).
    case reply
    /// Which sessions to show (`SessionFilter`).
    case filter

    // What stands in files.
    /// A state file that is whole, and the relay that takes it up.
    case checkpoint
    /// A state file with anything in it (`StoredCheckpoint`).
    case state
    /// A configuration (`FlatTOML`).
    case toml
    /// Blocks of addresses, to be allowed or denied (`AddressList`).
    case lists
    /// Secrets of tokens (`TokenSecrets`).
    case secrets
    /// What was sent in a month (`BudgetStore`).
    case budget

    // What stands in the environment, in arguments and in the fields of others.
    /// Addresses, session ids, tokens and host names.
    case text
    /// What systemd tells, and is told (`SystemdEnvironment`, `NotifyMessage`).
    case systemd
    /// What a relay leaves to the one in its place (`Inheritance`).
    case handover

    /// Takes one input.
    func run(_ input: [UInt8]) {
        switch self {
        case .header: HeaderFuzz.run(input)
        case .line: LineFuzz.run(input)
        case .answer: AnswerFuzz.run(input)
        case .stun: STUNFuzz.run(input)
        case .relay: FuzzedRelay.run(input)
        case .workers: FuzzedRelay.run(input, workers: 2)
        case .agent: FuzzedAgent.run(input)
        case .json: JSONFuzz.runText(input)
        case .request: JSONFuzz.runRequest(input)
        case .reply: JSONFuzz.runReply(input)
        case .filter: FilterFuzz.run(input)
        case .checkpoint: CheckpointFuzz.run(input[...])
        case .state: CheckpointFuzz.runFile(input)
        case .toml: FileFuzz.runSettings(input)
        case .lists: FileFuzz.runList(input)
        case .secrets: FileFuzz.runSecrets(input)
        case .budget: FileFuzz.runBudget(input)
        case .text: TextFuzz.run(input)
        case .systemd: SystemdFuzz.run(input)
        case .handover: SystemdFuzz.runHandover(input)
        }
    }
}
#endif
