internal import RelayCore

// The screen of events: which are shown, and the cursor on one of them.

nonisolated extension Model {
    /// The events that pass the filters, and where the cursor is.
    var eventList: EventList {
        let last = moment.lastEvent
        let matching = events.events.filter { recorded in
            recorded.sequence <= last && recorded.event.level <= eventLevel
                && (eventSession == nil || recorded.event.session == eventSession)
        }
        /// The place of the event with this number or, if it is gone, of the one before.
        func place(_ sequence: UInt64?) -> Int {
            guard let sequence else { return matching.count - 1 }
            return max(0, (matching.firstIndex { $0.sequence > sequence } ?? matching.count) - 1)
        }
        guard !matching.isEmpty else { return EventList(events: [], selected: nil, bottom: 0) }
        let selected = place(selectedEvent)
        let rows = max(1, bodyRows - 1)
        let bottom = min(max(place(bottomEvent), selected), selected + rows - 1)
        return EventList(events: matching, selected: selected, bottom: bottom)
    }

    /// The session that the event with the cursor is about.
    var selectedEventSession: SessionID? {
        let list = eventList
        return list.selected.flatMap { list.events[$0].event.session }
    }

    /// Moves the cursor. At the latest event it stays with whatever is the latest.
    mutating func moveEvent(by rows: Int) {
        let list = eventList
        guard let selected = list.selected else { return }
        let wanted = min(list.events.count - 1, max(0, selected + rows))
        guard wanted < list.events.count - 1 else {
            selectedEvent = nil
            bottomEvent = nil
            return
        }
        bottomEvent = list.events[list.bottom].sequence
        selectedEvent = list.events[wanted].sequence
        bottomEvent = eventList.events[eventList.bottom].sequence
    }

    /// Shows the events of one session, or of all again.
    mutating func toggleEventSession() {
        if screen != .events {
            eventSession = selected
            go(to: .events)
        } else if eventSession != nil {
            eventSession = nil
        } else if let session = selectedEventSession {
            eventSession = session
        } else {
            say("this event is about no session")
        }
        selectedEvent = nil
        bottomEvent = nil
    }
}
