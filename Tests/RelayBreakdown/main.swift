import Glibc
import Logging
public import Relay
import RelayCore
public import RelayTUI

// A relay with a dashboard, put together as the program does, whose drawing thread breaks down when
// the key for another log level is pressed. The argument says how: see `Breakdown`. With
// "attached", nothing breaks, and the dashboard takes the relay for one in another process.

/// A link to the relay that breaks down instead of handing on a command.
final class BreakingLink: RelayLink {
    private let service: RelayService
    private let reader: EventReader
    private let breakdown: Breakdown?
    private var request: PictureRequest?

    let relay: RelayIdentity

    init(_ service: RelayService, _ word: String) throws {
        self.service = service
        reader = try service.makeEventReader()
        breakdown = Breakdown(rawValue: word)
        relay = RelayIdentity(
            name: "\(service.socket.address)", startedAt: MonotonicClock.now(),
            isInProcess: word != "attached", isReadOnly: false)
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

    func submit(_ command: RelayCommand) -> Bool {
        breakdown?.happen(service)
        return service.submit(command)
    }
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

_ = signal(SIGPIPE, SIG_IGN)
_ = signal(SIGTTOU, SIG_IGN)
_ = signal(SIGTTIN, SIG_IGN)

let word = CommandLine.arguments.dropFirst().first ?? ""
let limits = try RelayConfiguration()
let logger = Logger(label: "relay-breakdown") { _ in
    LineLogHandler(format: .text, descriptor: STDOUT_FILENO, fallback: STDERR_FILENO)
}
let signals = try SignalDescriptor()
let service = try RelayService(
    limits, socket: SocketConfiguration(address: IPAddress(v4: 0x7f00_0001), port: 0),
    logLevel: .info)
let understudy = try Understudy(
    service, limits, logger: logger, logLevel: .info, LiveSettings(drainSeconds: 0), Reload(),
    exitStatus: EX_SOFTWARE)
let dashboard = try Dashboard(
    BreakingLink(service, word), path: "/dev/tty", type: "xterm-256color", usesColors: true,
    heir: understudy.descriptor)
_ = dashboard.run(signals: signals)
service.stop()
