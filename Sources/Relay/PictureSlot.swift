internal import RelayCore
internal import Synchronization

/// Where the worker fills a picture that somebody wants to look at.
///
/// The worker only tries the lock. The others hold it while they look at the picture, or for as
/// long as it takes to hand one over.
struct PictureSlot: ~Copyable, Sendable {
    /// Not private: Swift 6.3 then fails to compile without optimisation.
    struct State: ~Copyable {
        var snapshot: RelaySnapshot?
        var isWanted = false
    }

    /// What the worker could do for a picture in a turn.
    enum Progress {
        /// Nothing is wanted.
        case idle
        /// It filled a part, perhaps the last one.
        case filled(isComplete: Bool)
        /// Somebody has the lock.
        case barred
    }

    private let state: Mutex<State>

    /// A slot without a picture.
    init() {
        state = Mutex(State())
    }

    /// A slot with a picture that stays in it.
    init(_ snapshot: consuming sending RelaySnapshot) {
        state = Mutex(State(snapshot: snapshot))
    }

    /// Fills the next part of the picture if one is wanted.
    func fill(from engine: borrowing RelayEngine, at now: Instant) -> Progress {
        let progress: Progress? = state.withLockIfAvailable { state in
            guard state.isWanted, var snapshot = state.snapshot.take() else { return .idle }
            let isComplete = engine.fill(&snapshot, at: now)
            state.snapshot = consume snapshot
            state.isWanted = !isComplete
            return .filled(isComplete: isComplete)
        }
        return progress ?? .barred
    }

    /// Whether there may be something to fill.
    var mayBeWanted: Bool { state.withLockIfAvailable { $0.isWanted } ?? true }

    /// Wants the picture that is in the slot filled, with some so many sessions.
    func request(sessionCount: Int) {
        state.withLock { state in
            // While it is being filled its memory is not to be touched by anybody else.
            guard !state.isWanted else { return }
            state.snapshot?.prepare(sessionCount: sessionCount)
            state.isWanted = true
        }
    }

    /// Hands over a picture to be filled.
    func request(into snapshot: consuming sending RelaySnapshot) {
        let handover = Handover(snapshot)
        state.withLock { state in
            state.snapshot = handover.take()
            state.isWanted = true
        }
    }

    /// Shows the picture in the slot; nothing while it is being filled.
    func view<Result>(_ view: (borrowing RelaySnapshot) -> Result) -> Result? {
        state.withLock { state in
            guard !state.isWanted, let snapshot = state.snapshot.take() else { return nil }
            let result = view(snapshot)
            state.snapshot = consume snapshot
            return result
        }
    }

    /// Takes the picture that was handed over; nothing while it is being filled.
    func take() -> RelaySnapshot? {
        let handover: Handover<RelaySnapshot>? = state.withLock { state in
            guard !state.isWanted, let snapshot = state.snapshot.take() else { return nil }
            return Handover(snapshot)
        }
        return handover?.take()
    }
}
