public import Relay
import RelayCore
public import RelayTUI

/// The dashboard's way to a relay in the same process.
struct InProcessLink: RelayLink {
    private let service: RelayService
    private let reader: EventReader

    init(_ service: RelayService) throws(SystemError) {
        self.service = service
        reader = try service.makeEventReader()
    }

    var now: Instant { MonotonicClock.now() }
    var eventDescriptor: Int32 { reader.descriptor }

    func takeEvents() -> [RecordedEvent] { reader.take() }

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
