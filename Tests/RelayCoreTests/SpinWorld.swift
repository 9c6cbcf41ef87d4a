import TestSupport

@testable import RelayCore

/// Two ends of a QUIC connection with a relay between them: whose datagrams pass it when, and with
/// which spin bit. Only what the spin bit needs is there: packet numbers, delays, and who answers.
struct SpinWorld {
    /// How an end sets its bit (RFC 9000 §17.4).
    enum Bit {
        case honest
        /// The same in all packets.
        case constant
        /// Drawn anew for each packet, as Quinn does.
        case random
    }

    enum Traffic: CaseIterable {
        /// The client sends all the time, the server acknowledges every second datagram; and the
        /// other way round.
        case bulkUp, bulkDown
        /// One datagram each, in turn.
        case dialogue
        /// Both send bursts of up to 40 now and then.
        case bursts
        /// Both send at their own pace.
        case periodic
        /// A ping every 2 s, answered at once.
        case keepAlive
        /// A request each 250 ms, answered after a while by six datagrams.
        case requests
    }

    /// A datagram that passes the relay.
    struct Passing {
        var time: Double
        var side: Side
        var spin: Bool
    }

    var client = Bit.honest
    var server = Bit.honest
    var traffic = Traffic.bulkDown
    /// One-way delays between the relay and each end, in seconds.
    var delayA = 0.01
    var delayB = 0.02
    /// What is added to each delay at the most.
    var jitter = 0.0
    var loss = 0.0
    /// The share of datagrams that come 2 ms late, behind others.
    var reordering = 0.0
    /// Datagrams a second.
    var rate = 500.0
    var seconds = 8.0
    /// What is added to the client's delay at a time.
    var extraDelay: (Double) -> Double = { _ in 0 }
    /// When nothing new is sent.
    var pause = 0.0..<0.0

    private var random: SplitMix64
    private var queue: [Step] = []
    private var ends = [End(), End()]
    private var lastArrival = [0.0, 0.0, 0.0, 0.0]

    init(seed: UInt64) {
        random = SplitMix64(seed: seed)
    }

    private struct End {
        var spin = false
        var number = 0
        var highest = -1
        var unanswered = 0
    }

    private struct Step {
        enum Kind {
            case tick, send
            case atRelay(Bool, Int)
            case arrival(Bool, Int)
        }

        var time: Double
        var end: Int
        var kind: Kind
    }

    /// The round trip of the whole connection at a time.
    func roundTrip(at time: Double) -> Double { 2 * (delayA + extraDelay(time) + delayB) }

    /// A number from 0 up to 1.
    mutating func share() -> Double { Double(random.next() >> 11) / Double(1 << 53) }

    /// A number between two, all orders of magnitude alike, to a third.
    mutating func logarithmic(_ from: Double, _ to: Double) -> Double {
        var value = from
        var steps = 0
        while from * Double(1 << steps) < to { steps += 1 }
        for _ in 0..<random.below(steps + 1) { value *= 2 }
        return min(to, value * (1 + share() / 3))
    }

    // MARK: Time goes on

    /// Everything that passes the relay, in order.
    mutating func run() -> [Passing] {
        var passing: [Passing] = []
        if traffic != .bulkDown { push(0, 0, .tick) }
        if traffic != .bulkUp && traffic != .dialogue { push(share() / 50, 1, .tick) }
        while let step = popFirst(), step.time < seconds {
            switch step.kind {
            case .tick: tick(step.end, at: step.time)
            case .send: send(from: step.end, at: step.time)
            case .atRelay(let spin, let number):
                passing.append(
                    Passing(time: step.time, side: step.end == 0 ? .a : .b, spin: spin))
                travel(from: step.end, hop: 2, at: step.time, .arrival(spin, number))
            case .arrival(let spin, let number):
                let end = step.end
                if number > ends[end].highest {
                    ends[end].highest = number
                    ends[end].spin = end == 0 ? !spin : spin
                }
                react(end, at: step.time)
            }
        }
        return passing
    }

    private mutating func send(from end: Int, at time: Double) {
        let spin =
            switch end == 0 ? client : server {
            case .honest: ends[end].spin
            case .constant: false
            case .random: random.oneIn(2)
            }
        ends[end].number += 1
        ends[end].unanswered = 0
        travel(from: end, hop: 0, at: time, .atRelay(spin, ends[end].number))
    }

    /// Sends a datagram of `end` over its first or second hop.
    private mutating func travel(from end: Int, hop: Int, at time: Double, _ kind: Step.Kind) {
        if loss > 0 && share() < loss { return }
        let isOnLegA = (end == 0) == (hop == 0)
        var arrival = time + (isOnLegA ? delayA + extraDelay(time) : delayB) + share() * jitter
        if reordering > 0 {
            if share() < reordering { arrival += 0.002 }
        } else {
            arrival = max(arrival, lastArrival[hop + end] + 1e-7)
            lastArrival[hop + end] = arrival
        }
        push(arrival, hop == 0 ? end : 1 - end, kind)
    }

    // MARK: What the ends send

    private mutating func react(_ end: Int, at time: Double) {
        ends[end].unanswered += 1
        let count = ends[end].unanswered
        switch traffic {
        case .bulkUp where end == 0, .bulkDown where end == 1, .periodic: break
        case .bulkUp, .bulkDown, .bursts: if count >= 2 { send(from: end, at: time) }
        case .dialogue: push(time + share() * 0.0005, end, .send)
        case .keepAlive: if end == 1 { push(time + share() * 0.001, 1, .send) }
        case .requests where end == 1:
            let answerAt = time + 0.005 + share() * 0.05
            if count == 1 {
                for number in 0..<6 { push(answerAt + Double(number) / 1e4, 1, .send) }
            }
        case .requests: if count % 2 == 0 { send(from: 0, at: time) }
        }
    }

    private mutating func tick(_ end: Int, at time: Double) {
        guard !pause.contains(time) else {
            push(pause.upperBound, end, .tick)
            return
        }
        switch traffic {
        case .bulkUp, .bulkDown, .periodic:
            send(from: end, at: time)
            push(time + (0.5 + share()) / rate, end, .tick)
        case .dialogue:
            // A new turn each second, should one be lost.
            send(from: 0, at: time)
            push(time + 1, 0, .tick)
        case .bursts:
            for number in 0...random.below(40) { push(time + Double(number) / 2e4, end, .send) }
            push(time + 0.02 + share() * 0.4, end, .tick)
        case .keepAlive where end == 0:
            send(from: 0, at: time)
            push(time + 2, 0, .tick)
        case .requests where end == 0:
            ends[1].unanswered = 0
            send(from: 0, at: time)
            push(time + 0.25, 0, .tick)
        case .keepAlive, .requests: break
        }
    }

    // MARK: The queue

    private mutating func push(_ time: Double, _ end: Int, _ kind: Step.Kind) {
        // Later steps first; nearly all new ones belong near the front of a short queue.
        var low = 0
        var high = queue.count
        while low < high {
            let middle = (low + high) / 2
            if queue[middle].time > time { low = middle + 1 } else { high = middle }
        }
        queue.insert(Step(time: time, end: end, kind: kind), at: low)
    }

    private mutating func popFirst() -> Step? { queue.popLast() }
}
