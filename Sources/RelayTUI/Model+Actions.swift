internal import RelayCore

// What the intents do, one by one.

/// A row of the table of sessions: one that is there, or one that has just ended.
nonisolated struct SessionItem: Sendable {
    var session: SessionSnapshot
    /// How it ended, if it has.
    var ending: SessionEnding?
}

nonisolated extension Model {
    // MARK: What is looked at

    /// What is shown: the present, or a moment of the past.
    var moment: Moment {
        let present = Moment(
            picture: picture, ended: ended, lastEvent: pausedEvent ?? .max,
            receivedBits: receivedBits)
        return secondsBack == 0 ? present : history.moment(secondsBack: secondsBack) ?? present
    }

    /// The rows that there are, with those of ended sessions at the places that they had.
    var items: [SessionItem] {
        let moment = moment
        var items = moment.picture.sessions.map { SessionItem(session: $0) }
        for end in moment.ended where !items.contains(where: { $0.session.id == end.session.id }) {
            let place = min(items.count, max(0, end.row - moment.picture.offset))
            items.insert(SessionItem(session: end.session, ending: end.ending), at: place)
        }
        return items
    }

    /// The selected session, in the table or not.
    var selectedItem: SessionItem? {
        if let item = items.first(where: { $0.session.id == selected }) { return item }
        let session = moment.picture.session(selected)
        return session.flatMap { $0.place == .quarantined ? nil : SessionItem(session: $0) }
    }

    /// Rows between header and footer.
    var bodyRows: Int { max(1, rows - Layout.headerRows - Layout.footerRows) }

    /// Rows of the table of sessions that fit on the screen.
    var page: Int { max(1, bodyRows - 1 - Layout.reasonRows(rows)) }

    /// How far the page keys go on this screen.
    var pageOfScreen: Int { screen == .sessions ? page : max(1, bodyRows - 1) }

    /// A session's name on the screen.
    func shown(_ id: SessionID) -> String { isMasked ? "········" : id.short }

    /// The pictures that are wanted now: a page more in each direction than is seen, so that the
    /// cursor finds rows where it goes.
    var request: PictureRequest {
        let query = SessionQuery(
            filter: filter, includesEvicted: false, order: order,
            held: holdsOrder ? heldOrder : nil,
            offset: max(0, top - page), limit: 3 * page, selection: selected)
        return PictureRequest(query: query, wantsOrder: holdsOrder && heldOrder == nil)
    }

    /// Whether the picture has no rows for some of the places on the screen.
    var lacksRows: Bool {
        let seen = min(top, picture.matchCount)..<min(top + page, picture.matchCount)
        let first = picture.offset
        let end = first + picture.sessions.count
        return screen == .sessions && !seen.isEmpty
            && (seen.lowerBound < first || end < seen.upperBound)
    }

    /// Whether the rows of the picture are others than those that are wanted by now.
    private var isPictureOutdated: Bool {
        guard let query = moment.picture.request?.query else { return false }
        return secondsBack == 0 && (query.order != order || query.filter != filter)
    }

    /// Whether rows keep their places: because it was asked for, or the cursor was just moved.
    var holdsOrder: Bool { isOrderHeld || now < orderHeldUntil }

    // MARK: Moving

    mutating func move(by rows: Int) {
        switch screen {
        case .sessions:
            let items = items
            guard !items.isEmpty else { return }
            isSelectionChosen = true
            let last = max(moment.picture.matchCount, moment.picture.offset + items.count) - 1
            selectedRow = min(last, max(0, selectedRow + rows))
            let index = selectedRow - moment.picture.offset
            // A row that has not been seen yet gets the cursor with the next picture; so does one
            // of another order than the one that was asked for meanwhile.
            let isSeen = items.indices.contains(index) && !isPictureOutdated
            selected = isSeen ? items[index].session.id : nil
            orderHeldUntil = now.advanced(byNanoseconds: Model.holdNanoseconds)
            scrollToSelection()
        case .events: moveEvent(by: rows)
        case .detail: scroll(by: rows, limit: DetailView.scrollLimit(self))
        case .drops: scroll(by: rows, limit: DropsView.scrollLimit(self))
        case .help: scroll(by: rows, limit: HelpView.scrollLimit(self))
        }
    }

    private mutating func scroll(by rows: Int, limit: Int) {
        scroll = min(limit, max(0, min(scroll, limit) + rows))
    }

    /// Looks at a session closely.
    mutating func open() {
        if screen == .events {
            guard let session = selectedEventSession else {
                say("this event is about no session")
                return
            }
            selected = session
        }
        go(to: .detail)
    }

    /// Sorts at once, whatever is held.
    mutating func sort(by column: SessionColumn, isDescending: Bool) {
        order.column = column
        order.isDescending = isDescending
        heldOrder = nil
        orderHeldUntil = .origin
        top = 0
    }

    /// Moves the table so that the cursor is on the screen.
    mutating func scrollToSelection() {
        top = min(max(0, top), selectedRow)
        if selectedRow >= top + page { top = selectedRow - page + 1 }
    }

    mutating func go(to screen: Screen) {
        guard screen != self.screen else {
            if screen == .help { goBack() }
            return
        }
        if screen == .detail, selected == nil {
            say("no session is selected")
            return
        }
        // Who looks at it closely means this session, not the row.
        if screen == .detail { isSelectionChosen = true }
        screenBefore = self.screen
        self.screen = screen
        scroll = 0
    }

    /// Goes to the screen beside this one, past that of a session if none is selected.
    mutating func go(by step: (Screen) -> Screen) {
        let neighbour = step(screen)
        go(to: neighbour == .detail && selected == nil ? step(neighbour) : neighbour)
    }

    mutating func goBack() {
        if secondsBack > 0 {
            goOn()
        } else if screen == .sessions {
            filter = SessionFilter()
            filterError = nil
        } else {
            screen = screen == .help ? screenBefore : .sessions
            scroll = 0
        }
    }

    // MARK: The filter

    /// Takes a key into the filter that is being typed, which holds at once as far as it is one.
    mutating func type(_ key: Key) {
        guard var text = typedFilter else { return }
        switch key {
        case .enter:
            if filterError == nil { typedFilter = nil }
            return
        case .escape:
            typedFilter = nil
            filterError = nil
            filter = SessionFilter()
            return
        case .backspace: if !text.isEmpty { text.removeLast() }
        case .control("u"): text = ""
        case .character(let character) where character.isASCII: text.append(character)
        default: return
        }
        typedFilter = text
        do {
            filter = try SessionFilter(text)
            filterError = nil
        } catch {
            filterError = error.description
        }
    }

    // MARK: Time

    mutating func togglePause() {
        if pausedAt == nil {
            pause()
        } else {
            goOn()
        }
    }

    private mutating func pause() {
        pausedAt = now
        pausedEvent = events.latest
    }

    private mutating func goOn() {
        pausedAt = nil
        pausedEvent = nil
        secondsBack = 0
    }

    /// Goes back and forth in what was seen.
    mutating func step(_ seconds: Int) {
        let last = max(0, history.count - 1)
        secondsBack = min(last, max(0, secondsBack - seconds))
        // The past stands still only if the present does.
        if secondsBack > 0, pausedAt == nil { pause() }
        if last == 0 { say("there is no past yet") }
    }

    mutating func changeRefresh(by step: Int) {
        let steps = Model.refreshSteps
        let present = steps.firstIndex(of: refreshMilliseconds) ?? 1
        refreshMilliseconds = steps[min(steps.count - 1, max(0, present + step))]
        let seconds = Double(refreshMilliseconds) / 1_000
        say("a picture every \(Format.fixed(seconds, decimals: seconds < 1 ? 2 : 0)) s")
    }

    // MARK: Doing something to the relay

    mutating func askToEvict() {
        isSelectionChosen = true
        guard let item = selectedItem, item.ending == nil else {
            say("no session is selected that could be evicted")
            return
        }
        let window = order.window
        dialog = .evict(
            item.session.id, a: item.session.a.address, b: item.session.b.address,
            bitsPerSecond: item.session.a.bits[window] + item.session.b.bits[window])
    }

    /// Answers the question that is open. Enter does what is safe.
    mutating func answer(_ key: Key) -> [Effect] {
        guard let dialog else { return [] }
        self.dialog = nil
        switch (dialog, key) {
        case (.evict(let id, _, _, _), .character("y")):
            lastEviction = (id, now)
            say("\(shown(id)) is evicted; u within 5 s restores it")
            return [.submit(.evict(id))]
        case (.quit, .character("d")):
            endsWhenDrained = true
            say("draining: no new sessions; the relay ends when the last one has")
            return [.submit(.drain)]
        case (.quit, .character("s")): return [.quit(.stop)]
        default: return []
        }
    }

    mutating func undoEviction() -> [Effect] {
        guard let last = lastEviction, canUndo else {
            say("there is no eviction of the last 5 s to undo")
            return []
        }
        lastEviction = nil
        return [.submit(.undoEvict(last.id))]
    }

    mutating func changeLogLevel(by step: Int) -> [Effect] {
        let present = picture.totals.logLevel
        let wanted = Int(present.rawValue) + step
        guard let level = LogLevel.allCases.first(where: { Int($0.rawValue) == wanted }) else {
            say("the log level is \(present.name) already")
            return []
        }
        if level > .info {
            let back = logLevelReverts?.to ?? present
            logLevelReverts = (now.advanced(byNanoseconds: Model.loudNanoseconds), back)
        } else {
            logLevelReverts = nil
        }
        // Shown at once; a picture that is made afterwards confirms it.
        picture.totals.logLevel = level
        askedLogLevel = (level, now, nil)
        return [.submit(.setLogLevel(level))]
    }

    func suspendMessage() -> String {
        "suspending would stop the relay, which runs in this process; use q"
    }

    mutating func suspend() -> [Effect] {
        guard relay.isInProcess else { return [.suspend] }
        say(suspendMessage())
        return []
    }

    /// Whether a key that stands for this is worth showing now.
    func canDo(_ intent: Intent) -> Bool {
        if relay.isReadOnly, intent.isCommand { return false }
        return switch intent {
        case .evict: selectedItem.map { $0.ending == nil } ?? false
        case .undoEviction: canUndo
        case .open: screen == .events ? selectedEventSession != nil : selectedItem != nil
        case .onlyThisSession:
            screen != .events || eventSession != nil
                || selectedEventSession != nil
        default: true
        }
    }

    private var canUndo: Bool {
        guard let last = lastEviction else { return false }
        return now.nanoseconds(since: last.at) <= Model.undoNanoseconds
    }

    mutating func quit() -> [Effect] {
        guard relay.isInProcess else { return [.quit(.detach)] }
        // Those that ended since the picture count, too: better to ask in vain than not to ask.
        let live = picture.totals.pairedSessions + pairedSincePicture
        guard live > 0 else { return [.quit(.stop)] }
        dialog = .quit(sessions: live)
        return []
    }
}

nonisolated extension Screen {
    /// Through all screens and back to the first.
    var next: Screen {
        let all: [Screen] = [.sessions, .detail, .events, .drops]
        let index = all.firstIndex(of: self) ?? all.count - 1
        return all[(index + 1) % all.count]
    }

    var previous: Screen {
        let all: [Screen] = [.sessions, .detail, .events, .drops]
        let index = all.firstIndex(of: self) ?? 1
        return all[(index + all.count - 1) % all.count]
    }
}

nonisolated extension RateWindow {
    var next: RateWindow {
        RateWindow(rawValue: rawValue + 1) ?? .twoSeconds
    }

    /// How it is written.
    var name: String { "\(Int(seconds))s" }
}

nonisolated extension LogLevel {
    /// The next level that events are filtered by: from warnings alone to everything.
    var next: LogLevel {
        self == .trace ? .warning : LogLevel(rawValue: rawValue + 1) ?? .warning
    }
}

nonisolated extension SessionColumn {
    var next: SessionColumn {
        let all = SessionColumn.allCases
        let index = all.firstIndex(of: self) ?? 0
        return all[(index + 1) % all.count]
    }
}
