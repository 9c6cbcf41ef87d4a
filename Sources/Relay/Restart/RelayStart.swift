internal import CLinux
public import RelayCore

/// What a relay begins with, beside its configuration.
public struct RelayStart: Sendable {
    /// A socket that is bound already, to be used in place of a new one.
    public var socket: Int32?
    /// Others that are bound where that is, each for a worker. Those beyond the workers are closed.
    public var otherSockets: [Int32] = []
    /// How many threads receive and forward.
    public var workers = Setting.workers.defaultValue
    /// The sessions that another relay left.
    public var checkpoint: StoredCheckpoint?
    /// How they came here.
    public var origin = Restoration.Origin.file
    /// Whether the relay's state is to be written down.
    public var keepsState = false
    /// Where ended sessions are written down, if they are.
    public var sessionLog: SessionLogConfiguration?
    /// Where it is kept what was sent of a month's volume, if it is.
    public var budgetStore: BudgetStore?
    /// Whether it waits to be resumed before it receives anything.
    public var startsPaused = false

    /// A relay that begins with nothing.
    public init() {}
}

/// What came of the state that a relay began with.
public enum RestorationOutcome: Equatable, Sendable {
    /// There was none.
    case none
    /// It goes on with what was there.
    case restored(Restoration)
    /// It could not be used.
    case refused(CheckpointError)
}

/// An engine with the sessions of a checkpoint, if there is one that can be used, and the addresses
/// that its numbers for our own mean.
struct StartedEngine: ~Copyable {
    var engine: RelayEngine
    var locals = LocalAddresses()
    let outcome: RestorationOutcome

    init(
        _ configuration: RelayConfiguration, _ logLevel: LogLevel, _ start: RelayStart,
        boundTo address: TransportAddress, isWildcard: Bool
    ) {
        let reading = MonotonicClock.reading()
        if let stored = start.checkpoint {
            let numbers = locals.take(stored.locals, isWildcard: isWildcard, boundTo: address.ip)
            var engine = RelayEngine(
                configuration: configuration, logLevel: logLevel, secret: stored.secret,
                at: reading.now)
            engine.addOwnAddress(address)
            do throws(CheckpointError) {
                let restoration = try engine.restore(stored, from: start.origin, at: reading) {
                    Int($0.number) < numbers.count ? numbers[Int($0.number)] : .any
                }
                self.engine = engine
                outcome = .restored(restoration)
            } catch {
                self.engine = StartedEngine.fresh(configuration, logLevel, at: reading.now)
                outcome = .refused(error)
            }
            return
        }
        engine = StartedEngine.fresh(configuration, logLevel, at: reading.now)
        outcome = .none
    }

    private static func fresh(
        _ configuration: RelayConfiguration, _ logLevel: LogLevel, at now: Instant
    ) -> RelayEngine {
        var random = SystemRandomNumberGenerator()
        return RelayEngine(
            configuration: configuration, logLevel: logLevel,
            secret: (random.next(), random.next()), at: now)
    }
}

extension LocalAddresses {
    /// Takes over another relay's numbers and says which of ours is in the place of each. Its
    /// number 0 stands for what it was bound to: a relay that is bound to all addresses now goes on
    /// answering from there.
    fileprivate mutating func take(
        _ former: [IPAddress], isWildcard: Bool, boundTo address: IPAddress
    ) -> [LocalAddress] {
        guard isWildcard else { return former.map { _ in .any } }
        return former.map { ip in
            let isNone = ip == .unspecified || ip.isV4 && ip.v4 == 0
            // An IPv4 socket cannot answer from an IPv6 address.
            let isPossible = !isNone && (ip.isV4 || !address.isV4)
            return isPossible ? number(of: ip) : .any
        }
    }
}

extension Setting {
    /// How many threads receive and forward, each through a socket of its own. With several the
    /// engine has one more.
    public static let workers = Setting(
        name: "workers", range: 1...RelayEngine.workerLimit, defaultValue: 1, unit: "threads",
        summary: "Threads that forward, each with a socket; auto is one for each CPU but one.")

    /// How many workers there are to be on this machine if nobody says: one for each processor that
    /// this process may use but for one, which the engine has.
    public static var automaticWorkers: Int {
        min(max(Int(clinux_processor_count()) - 1, 1), workers.range.upperBound)
    }
}
