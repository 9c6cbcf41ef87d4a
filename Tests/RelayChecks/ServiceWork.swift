/// A relay and perhaps an agent as they run, sockets and threads and all, between two peers of
/// which one sends and waits until the other one has it: so nothing depends on how fast who is.
final class ServiceWork: CountedWork {
    /// What goes which way.
    enum Kind: String, CaseIterable {
        /// Single datagrams through a relay.
        case relay
        /// Trains of 16 through a relay.
        case relayTrain
        /// Single datagrams from a program through its agent and a relay.
        case agentOut
        /// Trains, the same way.
        case agentOutTrain
        /// Single datagrams through a relay and an agent to its program.
        case agentIn
        /// Trains, the same way.
        case agentInTrain
    }

    private let kind: Kind
    private let path: ForwardingPath

    init?(_ kind: Kind) {
        self.kind = kind
        let hasAgent = kind != .relay && kind != .relayTrain
        guard
            let path = ForwardingPath(
                sendsTrains: kind == .relayTrain || kind == .agentOutTrain
                    || kind == .agentInTrain,
                hasAgent: hasAgent)
        else { return nil }
        self.path = path
    }

    let datagramsPerRound = ForwardingPath.trainDatagrams

    func run(rounds: Int) -> Bool {
        let isBack = kind == .agentIn || kind == .agentInTrain
        return path.exchange(
            rounds * datagramsPerRound, window: 1, isBack ? .fromB : .fromA)
    }
}
