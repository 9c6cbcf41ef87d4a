import RelayCore

@testable import RelayTUI

/// A dashboard in front of a relay that really has the sessions that it shows.
struct Scene: ~Copyable {
    var model: Model
    private var engine: RelayEngine
    private var batch = ReceiveBatch()
    private var plan = TransmitPlan()
    private(set) var now = Instant(nanoseconds: 1_000 * Nanoseconds.perSecond)

    init(rows: Int = 35, columns: Int = 120) throws {
        engine = RelayEngine(
            configuration: try RelayConfiguration(sessionLimit: 64), secret: (3, 5), at: now)
        model = Model(
            RelayIdentity(
                name: "[::]:4433", startedAt: now, isInProcess: true, isReadOnly: false),
            now: now)
        model.rows = rows
        model.columns = columns
        model.epochNanoseconds = Scene.epochNanoseconds
    }

    /// One of many sessions' ids.
    static func id(_ number: Int) -> SessionID {
        SessionID(high: UInt64(number) << 32 | 0xabcd, low: UInt64(number))
    }

    static func host(_ number: Int) -> TransportAddress {
        TransportAddress(ip: IPAddress(v4: 0xcb00_7100 + UInt32(number)), port: 5_555)
    }

    /// 12:34:56 UTC, at the relay's time 0.
    static let epochNanoseconds: UInt64 = 45_296 * Nanoseconds.perSecond

    /// Brings two peers into a session and lets them talk.
    mutating func open(_ number: Int) {
        let a = Scene.host(2 * number)
        let b = Scene.host(2 * number + 1)
        for host in [a, b] { send(Array("REG:\(Scene.id(number))\n".utf8), from: host) }
        for host in [a, b, a, b] { send([1, 2, 3], from: host) }
    }

    mutating func send(_ bytes: [UInt8], from source: TransportAddress) {
        batch.arrivals[0] = Arrival(source: source, length: bytes.count)
        for index in bytes.indices { batch.bytes[index] = bytes[index] }
        batch.count = 1
        engine.receive(batch, into: &plan, at: now)
        engine.settle(plan, at: now)
    }

    /// Lets time pass, and shows what is there then.
    mutating func wait(milliseconds: Int = 500) {
        now = now.advanced(byNanoseconds: UInt64(milliseconds) * Nanoseconds.perMillisecond)
        engine.advance(to: now)
        perform(
            model.advance(to: now, unixNanoseconds: Scene.epochNanoseconds + now.nanoseconds))
        takeEvents()
        show()
    }

    /// Shows the relay as it is now.
    mutating func show() { show(asked: model.request) }

    /// The same for what was asked for a while ago.
    mutating func show(asked request: PictureRequest) { model.show(picture(request)) }

    /// The relay as it is now.
    func picture(_ request: PictureRequest? = nil) -> Picture {
        var snapshot = RelaySnapshot(sessionLimit: 64)
        while !engine.fill(&snapshot, at: now) {}
        return Picture(request ?? model.request, of: snapshot)
    }

    /// Somebody else asks something of the relay.
    mutating func command(_ command: RelayCommand) { engine.apply(command, at: now) }

    private var cursor: UInt64 = 0

    private mutating func takeEvents() {
        var events: [RecordedEvent] = []
        while let event = engine.nextEvent(after: &cursor) { events.append(event) }
        perform(model.take(events))
    }

    /// Presses keys; what they ask of the relay is done.
    mutating func press(_ keys: Key...) {
        for key in keys { perform(model.press(key)) }
    }

    mutating func type(_ text: String) {
        for character in text { perform(model.press(.character(character))) }
    }

    private(set) var effects: [Effect] = []

    private mutating func perform(_ new: [Effect]) {
        effects += new
        for case .submit(let command) in new { engine.apply(command, at: now) }
    }

    /// The screen's rows as text.
    var screen: [String] {
        let canvas = drawScreen(model)
        return (0..<canvas.rows).map { canvas.text(row: $0) }
    }
}
