internal import Glibc
internal import RelayCore

/// The dashboard: reads keys, asks the relay for pictures, draws them, and waits in between.
public final class Dashboard {
    /// Why it ended.
    public enum Outcome: Sendable {
        /// The operator ends the relay.
        case stop
        /// A signal asks for the relay's end.
        case terminate
        /// The terminal is gone; the relay goes on without it.
        case hangUp
        /// The operator leaves a relay that is another process.
        case detach
        /// That relay will not come back, for this reason.
        case lost(String)
    }

    /// How often it looks whether a terminal that is somebody else's has come back: a shell's fg
    /// tells the terminal, but not the process.
    private static let away = 500 * Nanoseconds.perMillisecond

    private let link: any RelayLink
    private let terminal: Terminal
    private var model: Model
    private var decoder = KeyDecoder()
    private var escapeAt: Instant?
    private var pictureAt = Instant.origin
    /// Whether a key may have changed which rows are wanted.
    private var wantsRows = false
    /// Whether the picture that is due is other rows of the one before.
    private var isSecondLook = false
    /// Whether there is something to be seen that was not drawn yet.
    private var isChanged = true
    private var outcome: Outcome?

    /// How often it looks after a relay that is gone, and shows for how long it has been.
    private static let goneNanoseconds = 500 * Nanoseconds.perMillisecond

    /// Takes over the terminal at `path`. Should this thread crash, the number of the signal is
    /// written to the eventfd `heir`, and the other threads go on; without an heir the process
    /// dies.
    public init(
        _ link: any RelayLink, path: String, type: String, usesColors: Bool, heir: Int32? = nil
    ) throws(TerminalError) {
        self.link = link
        terminal = try Terminal(path: path, type: type, usesColors: usesColors)
        terminal.guardProcess(heir: heir)
        model = Model(link.relay, now: link.now)
        model.rows = terminal.rows
        model.columns = terminal.columns
    }

    /// Runs until the operator leaves, a signal ends it, or the terminal is gone; the terminal is
    /// as it was then.
    public func run(signals: borrowing some SignalSource & ~Copyable) -> Outcome {
        while outcome == nil {
            wait(signals: signals.number)
            while let signal = signals.nextForDashboard() { take(signal) }
            takeEvents()
            noteLink()
            askForPicture()
            takePicture()
            draw()
        }
        terminal.restore()
        return outcome ?? .stop
    }

    // MARK: Waiting

    /// Waits for something to do, and does what the terminal is ready for.
    private func wait(signals: Int32) {
        var wanted: Int16 = 0
        if !terminal.isAway {
            wanted = Int16(POLLIN) | (terminal.isBusy ? Int16(POLLOUT) : 0)
        }
        var files = [
            pollfd(fd: terminal.number, events: wanted, revents: 0),
            pollfd(
                fd: link.descriptor, events: Int16(POLLIN) | (link.hasUnsent ? Int16(POLLOUT) : 0),
                revents: 0),
            pollfd(fd: signals, events: Int16(POLLIN), revents: 0),
        ]
        // Sound: there are three entries. An interruption is as good as a time-out.
        _ = unsafe poll(&files, 3, Int32(clamping: waitMilliseconds))
        let ready = files[0].revents
        // Asked for or not, a terminal that is gone says so each time.
        guard ready & Int16(POLLHUP | POLLERR | POLLNVAL) == 0 else {
            outcome = .hangUp
            return
        }
        if terminal.follow() { isChanged = true }
        guard !terminal.isAway else { return }
        if terminal.isBusy, !terminal.flush() { outcome = .hangUp }
        // What happened before a key was pressed may bear on what it does.
        takeEvents()
        takeKeys()
    }

    private var waitMilliseconds: UInt64 {
        // A picture that was asked for is there within a turn of the relay.
        if link.isPictureDue, link.isPolled { return 5 }
        var next = pictureAt
        if model.link != .connected || link.isPictureDue {
            next = link.now.advanced(byNanoseconds: Dashboard.goneNanoseconds)
        }
        if terminal.isAway { next = min(next, link.now.advanced(byNanoseconds: Dashboard.away)) }
        if let escapeAt { next = min(next, escapeAt) }
        return next.nanoseconds(since: link.now) / Nanoseconds.perMillisecond + 1
    }

    private func take(_ signal: DashboardSignal) {
        isChanged = true
        switch signal {
        case .resize: resize()
        case .resume:
            terminal.follow(wasStopped: true)
            resize()
        case .hangUp: outcome = .hangUp
        case .stop: outcome = .terminate
        case .handOver:
            // A terminal has one owner, and the new program could not have this one.
            model.say("no hand-over (SIGUSR2) while the relay shows a dashboard itself")
        }
    }

    private func resize() {
        guard terminal.resize() else { return }
        model.rows = terminal.rows
        model.columns = terminal.columns
        model.scrollToSelection()
    }

    // MARK: Keys

    private func takeKeys() {
        guard let bytes = terminal.read() else {
            outcome = .hangUp
            return
        }
        var keys = decoder.take(bytes)
        if !decoder.isPending {
            escapeAt = nil
        } else if let due = escapeAt, link.now >= due {
            keys += decoder.flush()
            escapeAt = nil
        } else if escapeAt == nil {
            let wait = UInt64(KeyDecoder.escapeMilliseconds) * Nanoseconds.perMillisecond
            escapeAt = link.now.advanced(byNanoseconds: wait)
        }
        advance()
        for key in keys {
            perform(model.press(key))
            // What a key changed in what is wanted is seen with the next picture: soon.
            pictureAt = .origin
            wantsRows = true
            isChanged = true
        }
    }

    private func perform(_ effects: [Effect]) {
        for effect in effects {
            switch effect {
            case .submit(let command):
                if !link.submit(command) { model.say("the relay takes no more commands just now") }
            case .repaint: terminal.repaint()
            case .export: export()
            case .suspend: suspend()
            case .quit(.stop): outcome = .stop
            case .quit(.detach): outcome = .detach
            }
        }
    }

    private func export() {
        model.say(Export.write(model))
    }

    private func suspend() {
        terminal.stopProcess()
        resize()
    }

    // MARK: Time and pictures

    /// Lets the model know what time it is.
    private func advance() {
        perform(model.advance(to: link.now, unixNanoseconds: WallClock.nanoseconds()))
    }

    private func takeEvents() {
        link.advance()
        advance()
        perform(model.take(link.takeEvents()))
    }

    /// Lets the model know how it stands with the relay.
    private func noteLink() {
        let state = link.state
        // For how long it has been so is seen, too.
        if state != .connected || state != model.link { isChanged = true }
        model.note(link.relay, state)
        for message in link.takeMessages() { model.say(message) }
        if case .lost(let reason) = state { outcome = .lost(reason) }
    }

    private func askForPicture() {
        guard !link.isPictureDue, model.link == .connected else { return }
        // While everything is frozen the last picture is looked at again, for other rows of it.
        let isFrozen = model.pausedAt != nil
        if isFrozen, link.now >= pictureAt {
            // For how long is seen.
            isChanged = true
            pictureAt = nextPictureAt
        }
        guard isFrozen ? wantsRows : link.now >= pictureAt else { return }
        link.ask(for: model.request, isNew: !isFrozen)
        wantsRows = false
        isSecondLook = false
    }

    private func takePicture() {
        if wantsRows, link.isPolled, link.isPictureDue {
            // It is made here, of what is wanted by now.
            link.ask(for: model.request, isNew: false)
            wantsRows = false
        }
        guard let picture = link.takePicture() else { return }
        isChanged = true
        model.show(picture)
        pictureAt = wantsRows ? .origin : nextPictureAt
        // Which rows are seen may follow from the picture itself: a filter leaves fewer than were
        // scrolled over, or the session that the cursor is on has gone far up or down.
        guard model.lacksRows, !isSecondLook else { return }
        isSecondLook = true
        link.ask(for: model.request, isNew: false)
        takePicture()
    }

    private var nextPictureAt: Instant {
        let wait = UInt64(model.refreshMilliseconds) * Nanoseconds.perMillisecond
        return link.now.advanced(byNanoseconds: wait)
    }

    /// Draws what a picture, a key or a signal changed. The clock and the like go with the
    /// pictures: a frame of their own would be sent each time that anything wakes this thread.
    private func draw() {
        // A terminal that has not taken the last frame gets no other one.
        guard isChanged, outcome == nil, !terminal.isBusy, !terminal.isAway else { return }
        isChanged = false
        terminal.draw(drawScreen(model))
    }
}

/// The time of day.
enum WallClock {
    /// Nanoseconds since 1970 (UTC).
    static func nanoseconds() -> UInt64 {
        var time = timespec()
        // Sound: the call fills the structure that it is given.
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(time.tv_sec) * Nanoseconds.perSecond + UInt64(time.tv_nsec)
    }
}
