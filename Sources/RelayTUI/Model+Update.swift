internal import RelayCore

// What a key, a picture, an event or time changes.

nonisolated extension Model {
    // MARK: What comes from the relay

    /// Takes a new picture. While everything is frozen only the rows of the same time are taken,
    /// for those who scroll, sort and filter meanwhile.
    mutating func show(_ new: Picture) {
        var new = new
        new.select(selected)
        // An order that was taken before another sort column was chosen is not the one to hold.
        if let request = new.request, request.query.order != order { new.heldOrder = nil }
        guard pausedAt == nil else {
            if new.totals.time == picture.totals.time, secondsBack == 0 { takeRows(of: new) }
            return
        }
        let elapsed = new.totals.time.nanoseconds(since: picture.totals.time)
        if picture.totals.time != .origin, elapsed > 0 {
            // A relay that was started anew counts from 0.
            let before = min(picture.totals.received.bytes, new.totals.received.bytes)
            let bytes = new.totals.received.bytes - before
            receivedBits = 8 * Float(bytes) / Float(elapsed) * Float(Nanoseconds.perSecond)
        }
        heldOrder = holdsOrder ? new.heldOrder ?? heldOrder : nil
        formerRows = (picture.sessions, picture.offset)
        picture = new
        keepAskedLogLevel()
        pairedSincePicture = 0
        picture.heldOrder = nil
        removeEnded()
        followSelection()
        history.add(seen)
    }

    private mutating func takeRows(of new: Picture) {
        picture.sessions = new.sessions
        picture.offset = new.offset
        picture.matchCount = new.matchCount
        picture.selectedPosition = new.selectedPosition
        picture.selected = new.selected
        heldOrder = holdsOrder ? new.heldOrder ?? heldOrder : nil
        removeEnded()
        followSelection()
    }

    /// Goes on showing the log level that was asked for while pictures come that were made before
    /// the relay took it: the next key counts from there. One that it does not take is forgotten.
    private mutating func keepAskedLogLevel() {
        guard let asked = askedLogLevel else { return }
        let isOlder =
            asked.takenAt.map { picture.totals.time < $0 }
            ?? (now.nanoseconds(since: asked.at) < Model.messageNanoseconds)
        if isOlder { picture.totals.logLevel = asked.level } else { askedLogLevel = nil }
    }

    /// Lets rows of sessions go that ended a while ago.
    private mutating func removeEnded() {
        guard pausedAt == nil else { return }
        ended.removeAll { end in
            let isLookedAt = screen == .detail && end.session.id == selected
            return !isLookedAt && now.nanoseconds(since: end.endedAt) > Model.endedNanoseconds
        }
    }

    /// What is on the screen now, to be seen again later.
    private var seen: Moment {
        var moment = Moment(
            picture: picture, ended: ended, lastEvent: events.latest, receivedBits: receivedBits)
        moment.picture.keep(top..<top + page)
        return moment
    }

    /// Takes new events; gives back what is to be done. A session that ended stays to be seen for a
    /// while.
    mutating func take(_ new: [RecordedEvent]) -> [Effect] {
        events.add(new)
        var effects: [Effect] = []
        // What happened before anybody looked is in the list of events, and no news.
        for recorded in new
        where now.nanoseconds(since: recorded.time) < Model.messageNanoseconds {
            switch recorded.event {
            case .sessionEnded(let id, let ending, _, _, _): keep(id, ending)
            case .sessionPaired: pairedSincePicture += 1
            case .evictionUndone(let id):
                pairedSincePicture += 1
                ended.removeAll { $0.session.id == id }
                say("\(shown(id)) is restored")
            case .commandFailed(let id):
                say("\(shown(id)): there is no such session to do that to")
            case .logLevelChanged(_, let level):
                if level <= .info { logLevelReverts = nil }
                if askedLogLevel?.level == level { askedLogLevel?.takenAt = recorded.time }
            case .drained: if endsWhenDrained { effects.append(.quit(.stop)) }
            default: break
            }
        }
        return effects
    }

    private mutating func keep(_ id: SessionID, _ ending: SessionEnding) {
        guard pausedAt == nil else { return }
        var rows = (sessions: picture.sessions, offset: picture.offset)
        if !rows.sessions.contains(where: { $0.id == id }) { rows = formerRows }
        guard let index = rows.sessions.firstIndex(where: { $0.id == id }) else { return }
        ended.removeAll { $0.session.id == id }
        ended.append(
            EndedSession(
                session: rows.sessions[index], ending: ending, endedAt: now,
                row: rows.offset + index))
        picture.sessions.removeAll { $0.id == id }
    }

    /// Keeps the cursor on the session that it was on; if that is gone, on the same row. Who looks
    /// at something else than the table stays with the session, be it gone or filtered out.
    private mutating func followSelection() {
        guard screen == .sessions || selected == nil else { return }
        let items = items
        guard !items.isEmpty else {
            selected = nil
            selectedRow = 0
            top = 0
            return
        }
        // Rows that were asked for before the cursor went far away: the next ones have its row.
        if isSelectionChosen, selected == nil, selectedRow < picture.matchCount,
            !(picture.offset..<picture.offset + items.count).contains(selectedRow)
        {
            return
        }
        if !isSelectionChosen {
            selected = items[0].session.id
            selectedRow = picture.offset
        } else if let position = picture.selectedPosition {
            selectedRow = position
        } else if !items.contains(where: { $0.session.id == selected }) {
            let index = min(max(0, selectedRow - picture.offset), items.count - 1)
            selected = items[index].session.id
            selectedRow = picture.offset + index
        }
        scrollToSelection()
    }

    /// Takes note of how it stands with the relay, and which one it is by now.
    mutating func note(_ relay: RelayIdentity, _ link: LinkState) {
        if relay != self.relay { pairedSincePicture = 0 }
        self.relay = relay
        self.link = link
    }

    // MARK: Time

    /// Lets time pass; gives back what is to be done.
    mutating func advance(to now: Instant, unixNanoseconds: UInt64) -> [Effect] {
        self.now = now
        epochNanoseconds = unixNanoseconds &- now.nanoseconds
        if message != nil, now >= messageUntil { message = nil }
        if let reverts = logLevelReverts, now >= reverts.at {
            logLevelReverts = nil
            return [.submit(.setLogLevel(reverts.to))]
        }
        return []
    }

    /// The time of day at a time of the relay's, in nanoseconds since 1970 (UTC).
    func wallNanoseconds(at time: Instant) -> UInt64 { epochNanoseconds &+ time.nanoseconds }

    /// Shows a message for a while.
    mutating func say(_ text: String) {
        message = text
        messageUntil = now.advanced(byNanoseconds: Model.messageNanoseconds)
    }

    // MARK: Keys

    /// Does what a key stands for here and now.
    mutating func press(_ key: Key) -> [Effect] {
        if dialog != nil { return answer(key) }
        if typedFilter != nil {
            type(key)
            return []
        }
        guard let intent = KeyTable.intent(for: key, on: screen) else { return [] }
        return update(intent)
    }

    /// Does what an operator wants.
    mutating func update(_ intent: Intent) -> [Effect] {
        guard !relay.isReadOnly || !intent.isCommand else {
            say("read only: this dashboard gives no commands")
            return []
        }
        switch intent {
        case .up: move(by: -1)
        case .down: move(by: 1)
        case .pageUp: move(by: -pageOfScreen)
        case .pageDown: move(by: pageOfScreen)
        case .first: move(by: -Int(Int32.max))
        case .last: move(by: Int(Int32.max))
        case .open: open()
        case .back: goBack()
        case .nextScreen: go(by: \.next)
        case .previousScreen: go(by: \.previous)
        case .show(let screen): go(to: screen)
        case .editFilter: typedFilter = filter.description
        case .sortByNext: sort(by: order.column.next, isDescending: false)
        case .reverseSort: sort(by: order.column, isDescending: !order.isDescending)
        case .holdOrder:
            isOrderHeld.toggle()
            say(isOrderHeld ? "the order is held" : "the order follows the sort column")
        case .toggleUnit: rateUnit = rateUnit == .bits ? .bytes : .bits
        case .nextWindow: order.window = order.window.next
        case .toggleMask: isMasked.toggle()
        case .refreshFaster: changeRefresh(by: -1)
        case .refreshSlower: changeRefresh(by: 1)
        case .pause: togglePause()
        case .stepTime(let seconds): step(seconds)
        case .onlyThisSession: toggleEventSession()
        case .nextLevel: eventLevel = eventLevel.next
        case .evict: askToEvict()
        case .undoEviction: return undoEviction()
        case .raiseLogLevel: return changeLogLevel(by: 1)
        case .lowerLogLevel: return changeLogLevel(by: -1)
        case .export: return [.export]
        case .repaint: return [.repaint]
        case .suspend: return suspend()
        case .quit: return quit()
        }
        return []
    }
}
