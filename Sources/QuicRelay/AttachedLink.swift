import Relay
import RelayCore
import RelayTUI

/// The dashboard's way to a relay in another process.
final class AttachedLink: RelayLink {
    private let attached: AttachedRelay
    private let isReadOnly: Bool
    private var request: PictureRequest?

    /// Goes on with a connection; a dashboard that is to look only gives no commands.
    init(_ client: ControlClient, isReadOnly: Bool) {
        attached = AttachedRelay(client)
        self.isReadOnly = isReadOnly
    }

    var relay: RelayIdentity {
        RelayIdentity(
            name: attached.greeting.address, startedAt: attached.startedAt, isInProcess: false,
            isReadOnly: isReadOnly || attached.greeting.isReadOnly)
    }

    var state: LinkState {
        switch attached.state {
        case .connected: .connected
        case .gone(let since): .gone(since: since)
        case .silent(let since): .silent(since: since)
        case .lost(let reason): .lost(reason)
        }
    }

    var now: Instant { attached.now }
    var descriptor: Int32 { attached.descriptor }
    var hasUnsent: Bool { attached.hasUnsent }
    var isPolled: Bool { false }
    var isPictureDue: Bool { attached.isViewDue }

    func advance() { attached.advance() }

    func takeMessages() -> [String] { attached.takeMessages() }

    func takeEvents() -> [RecordedEvent] { attached.takeEvents() }

    func ask(for request: PictureRequest, isNew: Bool) {
        self.request = request
        let hold: ControlRequest.Hold? =
            request.wantsOrder ? .take : request.query.held == nil ? nil : .keep
        attached.ask(for: request.query, hold: hold, isNew: isNew)
    }

    func takePicture() -> Picture? {
        guard let request, let view = attached.takeView() else { return nil }
        return Picture(view, for: request, attached.clock)
    }

    func submit(_ command: RelayCommand) -> Bool { attached.submit(command) }
}

extension Picture {
    /// What a view says. A session that says what is not known here is left out.
    fileprivate init(_ view: ViewReport, for request: PictureRequest, _ clock: ControlClock) {
        self.init()
        totals = view.totals.totals(clock)
        sessions = view.sessions.compactMap { $0.snapshot(clock) }
        sessionCount = view.sessionCount
        matchCount = view.matchCount
        offset = view.offset
        selectedPosition = view.selectedPosition
        selected = view.selected?.snapshot(clock)
        diagnoses = view.totals.diagnosisTally
        drops = view.totals.dropRecords(clock)
        self.request = request
        // The relay keeps the order; that it does is all that has to be known here.
        if request.wantsOrder { heldOrder = HeldOrder([]) }
    }
}
