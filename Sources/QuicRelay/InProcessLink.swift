public import Relay
import RelayCore
public import RelayTUI

/// The dashboard's way to a relay in the same process.
struct InProcessLink: RelayLink {
    private let service: RelayService

    init(_ service: RelayService) {
        self.service = service
    }

    var now: Instant { MonotonicClock.now() }
    var eventDescriptor: Int32 { service.eventDescriptor }

    func takeEvents() -> [RecordedEvent] { service.takeEvents() }

    func askForPicture() { service.requestSnapshot() }

    func takePicture(_ request: PictureRequest) -> Picture? {
        service.withSnapshot { Picture(request, of: $0) }
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
        case nil: nil
        }
    }
}
