import Glibc
import Logging
public import Relay
import RelayCore
public import RelayTUI

// A relay with a dashboard, put together as the program does, whose drawing thread breaks down when
// the key for another log level is pressed. The argument says how: see `Breakdown`. With
// "attached", nothing breaks, and the dashboard takes the relay for one in another process.

/// A link to the relay that breaks down instead of handing on a command.
struct BreakingLink: RelayLink {
    let service: RelayService
    let reader: EventReader
    let breakdown: Breakdown?

    var now: Instant { MonotonicClock.now() }
    var eventDescriptor: Int32 { reader.descriptor }

    func takeEvents() -> [RecordedEvent] { reader.take() }

    func askForPicture() { service.requestSnapshot() }

    func takePicture(_ request: PictureRequest) -> Picture? {
        service.withSnapshot { Picture(request, of: $0) }
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
    BreakingLink(
        service: service, reader: service.makeEventReader(), breakdown: Breakdown(rawValue: word)),
    name: "\(service.socket.address)", isInProcess: word != "attached", path: "/dev/tty",
    type: "xterm-256color", usesColors: true, heir: understudy.descriptor)
_ = dashboard.run(signals: signals)
service.stop()
