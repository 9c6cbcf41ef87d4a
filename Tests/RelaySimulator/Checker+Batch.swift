import RelayCore

// The first layer: what must hold of a batch whatever the relay says about it.

/// A datagram that came out, and what is needed to judge it.
struct Delivery {
    var destination: TransportAddress
    var local: UInt16
    var output: Output
    var ecn: UInt8
}

extension Checker {
    /// Checks a batch: everything but the snapshot after it.
    mutating func check(_ record: BatchRecord, _ work: inout PeerWork) -> WalkResult {
        for input in record.inputs where input.loss == nil { note(input, &work) }
        // What is claimed here is checked by the second layer.
        for case .peerRebound(let id, _, _, let to, _, _, _) in record.events.map(\.event) {
            presented[to, default: []].append(id)
        }
        isLenient = record.isLenient
        endedSessions = record.events.compactMap {
            if case .sessionEnded(let id, _, _, _, _) = $0.event { id } else { nil }
        }
        let slots = slotStarts(record.inputs)
        var deliveries = [Delivery?](repeating: nil, count: record.inputs.count)
        var replies: [TransportAddress: Int] = [:]
        var latest: [TransportAddress: Int] = [:]
        for run in record.runs {
            checkLegality(run, at: record.now)
            for output in run.outputs {
                let delivery = Delivery(
                    destination: run.destination, local: run.local, output: output, ecn: run.ecn)
                guard let place = output.place else {
                    checkReply(delivery, at: record.now)
                    replies[run.destination, default: 0] += 1
                    continue
                }
                guard place.slot < slots.count,
                    let index = inputIndex(place, slots[place.slot], record.inputs),
                    deliveries[index] == nil
                else {
                    fail(.delivery, at: record.now, "\(place) is no datagram, or sent twice")
                    continue
                }
                deliveries[index] = delivery
                if index < latest[run.destination, default: -1] {
                    fail(.delivery, at: record.now, "out of order to \(run.destination)")
                }
                latest[run.destination] = index
                check(delivery, of: record.inputs[index], at: record.now, &work)
            }
        }
        checkReplyCount(replies, record)
        checkTotals(record, deliveries, replies)
        return walk(record, deliveries, replies, &work)
    }

    // MARK: What went in

    private mutating func note(_ input: Input, _ work: inout PeerWork) {
        let datagram = input.datagram
        contacted[datagram.source, default: 0] |= 1 << UInt8(datagram.local)
        if let id = RegistrationText.session(datagram.bytes) {
            if presented[datagram.source]?.contains(id) != true {
                presented[datagram.source, default: []].append(id)
            }
        } else if let tag = PayloadTag(datagram.bytes), work.sent[tag] != nil {
            work.sent.noteArrival(tag)
        }
    }

    /// The first input of each slot.
    private func slotStarts(_ inputs: [Input]) -> [Int] {
        inputs.indices.filter { inputs[$0].offset == 0 && isFirst($0, inputs) }
    }

    private func isFirst(_ index: Int, _ inputs: [Input]) -> Bool {
        index == 0 || inputs[index - 1].slot != inputs[index].slot
    }

    private func inputIndex(_ place: (slot: Int, offset: Int), _ start: Int, _ inputs: [Input])
        -> Int?
    {
        let segment = inputs[start].datagram.bytes.count
        let index = segment == 0 ? start : start + place.offset / segment
        guard index < inputs.count, inputs[index].slot == place.slot,
            inputs[index].offset == place.offset
        else { return nil }
        return index
    }

    // MARK: What came out

    private mutating func checkLegality(_ run: OutputRun, at now: Instant) {
        let lengths = run.outputs.map(\.bytes.count)
        let isLegal =
            run.pieceLengths.reduce(0, +) == run.byteCount
            && lengths.count == run.datagramCount && !lengths.isEmpty
            && lengths.dropLast().allSatisfy { $0 == run.segmentLength }
            && lengths.last ?? 0 <= run.segmentLength
            && (lengths.count == 1 || !lengths.contains(0))
            && run.datagramCount <= 64
            && run.byteCount <= (run.datagramCount == 1 ? 65_507 : 65_000)
        if !isLegal { fail(.plan, at: now, "no legal run: \(lengths) in \(run.byteCount) bytes") }
        if run.destination.port == 0 || isUnwelcome(run.destination) {
            fail(.plan, at: now, "nothing may be sent to \(run.destination)")
        }
    }

    private mutating func checkReply(_ delivery: Delivery, at now: Instant) {
        if delivery.output.bytes != RegistrationText.acknowledgement {
            fail(.replies, at: now, "a reply of \(delivery.output.bytes)")
        }
        checkLocal(delivery, at: now)
        if delivery.ecn != 0 { fail(.plan, at: now, "a reply marked \(delivery.ecn)") }
    }

    /// Whoever receives behind a NAT or a firewall takes nothing from an address of ours that it
    /// did not send to.
    private mutating func checkLocal(_ delivery: Delivery, at now: Instant) {
        let locals = contacted[delivery.destination] ?? 0
        if locals & 1 << UInt8(delivery.local) == 0 {
            fail(.plan, at: now, "\(delivery.destination) never sent to \(delivery.local)")
        }
    }

    /// Bytes that an address sent may reach only addresses that presented a session's id which that
    /// one presented as well.
    ///
    /// That is an address's, not a host's right: a registration with a spoofed source takes the
    /// address into another session (rule 4), and the honest host's datagrams go there until it
    /// registers again. Version 1 has no means against that.
    private mutating func check(
        _ delivery: Delivery, of input: Input, at now: Instant, _ work: inout PeerWork
    ) {
        let source = input.datagram.source
        let destination = delivery.destination
        let bytes = delivery.output.bytes
        if bytes != input.datagram.bytes {
            fail(.delivery, at: now, "\(source) to \(destination): not the bytes that came")
        }
        if input.loss != nil { fail(.delivery, at: now, "half a datagram of \(source)") }
        if delivery.ecn != input.datagram.ecn {
            fail(.plan, at: now, "ECN \(input.datagram.ecn) became \(delivery.ecn)")
        }
        if source == destination { fail(.delivery, at: now, "\(source) gets its own datagram") }
        let shared = (presented[source] ?? []).filter {
            presented[destination]?.contains($0) == true
        }
        // Whose a datagram is that comes from nobody's address only the second layer can tell.
        if isStray(source), ledger.place(of: destination) != nil || isLenient {
        } else if shared.isEmpty {
            fail(.delivery, at: now, "\(source) and \(destination) share no session")
        } else if !isLenient, shared.allSatisfy({ isQuarantined($0, at: now) }) {
            fail(.quarantine, at: now, "\(source) to \(destination) in an evicted session")
        }
        checkLocal(delivery, at: now)
        guard let tag = PayloadTag(bytes), let record = work.sent[tag] else { return }
        work.sent.noteEmission(tag)
        if record.hash != Digest.hash(of: bytes, length: bytes.count)
            || record.emissions >= record.arrivals
        {
            fail(.delivery, at: now, "datagram \(tag.sequence) of \(tag.sender) was made up")
        }
    }

    /// Whether nobody had this address before the batch, or its session ended within it.
    private func isStray(_ source: TransportAddress) -> Bool {
        guard !isLenient, let place = ledger.place(of: source) else { return true }
        return endedSessions.contains(place.session)
    }

    private mutating func checkReplyCount(
        _ replies: [TransportAddress: Int], _ record: BatchRecord
    ) {
        guard !replies.isEmpty else { return }
        var asked: [TransportAddress: Int] = [:]
        var answered = 0
        for input in record.inputs where input.loss == nil {
            guard let id = RegistrationText.session(input.datagram.bytes) else { continue }
            let source = input.datagram.source
            if asked[source] == nil { answered += replies[source] ?? 0 }
            asked[source, default: 0] += isQuarantined(id, at: record.now) ? 0 : 1
        }
        for input in record.inputs {
            let source = input.datagram.source
            if replies[source] ?? 0 > asked[source] ?? 0 {
                fail(.replies, at: record.now, "\(source) gets replies and may ask for none")
            }
        }
        let total = record.runs.filter(\.isReply).reduce(0) { $0 + $1.outputs.count }
        if answered != total {
            fail(.replies, at: record.now, "\(total) replies, \(answered) to who asked")
        }
    }

    private mutating func checkTotals(
        _ record: BatchRecord, _ deliveries: [Delivery?], _ replies: [TransportAddress: Int]
    ) {
        let (before, after) = (record.before, record.after)
        let dropped = after.drops.reduce(0, +)
        if after.received.datagrams != after.forwarded.datagrams + after.replied + dropped {
            fail(.conservation, at: record.now, "received is not forwarded + replied + dropped")
        }
        let bytes = record.inputs.reduce(0) { $0 + $1.datagram.bytes.count }
        // What was cut short counts as what is in the slot, like everything else.
        if after.received.datagrams - before.received.datagrams
            != UInt64(record.inputs.count + record.overflow)
            || after.received.bytes - before.received.bytes != UInt64(bytes)
        {
            fail(.conservation, at: record.now, "received is not what was put in")
        }
        let sent = deliveries.compactMap { $0 }.filter(\.output.wasSent)
        let sentBytes = sent.reduce(0) { $0 + $1.output.bytes.count }
        if after.forwarded.datagrams - before.forwarded.datagrams != UInt64(sent.count)
            || after.forwarded.bytes - before.forwarded.bytes != UInt64(sentBytes)
        {
            fail(.conservation, at: record.now, "forwarded is not what was sent")
        }
        let sentReplies = record.runs.filter(\.isReply).flatMap(\.outputs).count(where: \.wasSent)
        if after.replied - before.replied != UInt64(sentReplies) {
            fail(.conservation, at: record.now, "replied is not what was sent")
        }
    }

    /// Whether the relay must ignore registrations from this address.
    func isUnwelcome(_ address: TransportAddress) -> Bool {
        if address.port == 0 { return true }
        if address == AddressPlan.relay(0) || address == AddressPlan.relay(1) { return true }
        let ip = address.ip
        guard ip.isV4 else { return ip == .unspecified || ip.high >> 56 == 0xff }
        let first = ip.v4 >> 24
        if first == 0 || (224...239).contains(first) || ip.v4 == .max { return true }
        return limits.deniesSpecialSources && (first == 10 || first == 127 || ip.v4 >> 16 == 0xc0a8)
    }
}
