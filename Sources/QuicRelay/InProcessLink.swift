public import Relay
import RelayCore
public import RelayTUI

/// The dashboard's way to a relay in the same process.
final class InProcessLink: RelayLink {
    private let service: RelayService
    private let reader: EventReader
    private var request: PictureRequest?

    let relay: RelayIdentity

    init(_ service: RelayService) throws(SystemError) {
        self.service = service
        reader = try service.makeEventReader()
        relay = RelayIdentity(
            name: "\(service.socket.address)", startedAt: MonotonicClock.now(), isInProcess: true,
            isReadOnly: false)
    }

    var state: LinkState { .connected }
    var now: Instant { MonotonicClock.now() }
    var descriptor: Int32 { reader.descriptor }
    var hasUnsent: Bool { false }
    var isPolled: Bool { true }
    var isPictureDue: Bool { request != nil }

    func advance() {}

    func takeMessages() -> [String] { [] }

    func takeEvents() -> [RecordedEvent] { reader.take() }

    func ask(for request: PictureRequest, isNew: Bool) {
        self.request = request
        if isNew { service.requestSnapshot() }
    }

    func takePicture() -> Picture? {
        guard let request, let picture = service.withSnapshot({ Picture(request, of: $0) }) else {
            return nil
        }
        self.request = nil
        return picture
    }

    func submit(_ command: RelayCommand) -> Bool { service.submit(command) }
}

extension SignalDescriptor: SignalSource {
    /// The next signal, as the dashboard knows it.
    public func nextForDashboard() -> DashboardSignal? {
        switch next() {
        case .stop: .stop
        case .hangUp: .hangUp
        case .resize: .resize
        case .resume: .resume
        case .handOver: .handOver
        case nil: nil
        }
    }
}
