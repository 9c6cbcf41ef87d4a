import RelayCore

// The relay's turn: the owner's loop, its socket, and the checker around both.

extension Simulation {
    /// Puts a datagram into the relay's receive buffer and wakes it, soon or, now and then, late.
    func arrive(_ datagram: Datagram) {
        if downUntil != nil, restart != .handover {
            say("lost \(datagram.source): no relay is there")
            return
        }
        say("in  \(datagram.source) \(describe(datagram.bytes))")
        host.enqueue(datagram)
        guard relayWakesAt == nil, downUntil == nil else { return }
        let isStalled = phase == .chaos && work.random.chance(perMille: scenario.stallPerMille)
        relayWakesAt = now.advanced(
            byNanoseconds: isStalled
                ? work.random.nanoseconds(milliseconds: 5...150)
                : UInt64(work.random.below(200)) * 1_000)
    }

    /// Receives a batch, sends what it causes, advances the clock and applies commands.
    func takeRelayTurn() {
        receiveBatch()
        let due = host.engine.nextDeadline
        if now >= due {
            let before = host.suppressedEvents
            host.advance(to: now)
            checker.checkAdvance(drainEvents(), due: due, at: now)
            checkSnapshot(host.suppressedEvents == before ? .full : .some)
        }
        for command in commands { apply(command) }
        commands.removeAll()
        if host.hasQueue {
            relayWakesAt = now.advanced(
                byNanoseconds: UInt64(work.random.below(50)) * 1_000)
        }
    }

    private func apply(_ command: RelayCommand) {
        say("command \(command)")
        let before = host.suppressedEvents
        // A sabotaged relay hears of no eviction; the checker does.
        var isIgnored = false
        if sabotage == .ignoredEviction, case .evict = command { isIgnored = true }
        if !isIgnored { host.apply(command, at: now) }
        let events = drainEvents()
        checker.check(
            command, events,
            suppressed: isIgnored ? 1 : host.suppressedEvents - before, at: now)
        checkSnapshot(.full)
    }

    private func receiveBatch() {
        guard host.workers.isEmpty else {
            receiveWithWorkers()
            return
        }
        guard host.hasQueue else { return }
        let before = host.tally
        let overflow = host.reportOverflow(at: now)
        let inputs = host.fillBatch(
            coalescingPerMille: scenario.coalescingPerMille, random: &work.random)
        var runs: [OutputRun] = []
        if !inputs.isEmpty {
            runs = host.receive(at: now)
            for index in runs.indices { send(&runs[index]) }
            host.settle(runs, at: now)
        }
        noteCoverage(inputs, runs)
        check(
            BatchRecord(
                now: now, inputs: inputs, runs: runs, events: drainEvents(), overflow: overflow,
                before: before, after: host.tally))
    }

    /// Lets the checker see what went in and came out, and lets that go on its way.
    func check(_ original: BatchRecord) {
        var record = original
        if phase == .chaos { sabotage?.tamper(with: &record, others: lastSources) }
        let result = checker.check(record, &work)
        work.coverage.note(.lateArrivalForwarded, result.lateArrivals)
        work.coverage.note(.pendingMoveForwarded, result.pendingMoves)
        work.coverage.note(.unclearStray, result.unclearStrays)
        // Who is where changes with an event only; the rest is compared now and then.
        batches += 1
        if !record.events.isEmpty || result.isLenient || batches % 8 == 0 {
            checkSnapshot(result.isUncertain ? .none : result.isLenient ? .some : .full)
        }
        digestAndEmit(record)
    }

    func checkSnapshot(_ trust: Checker.Trust) {
        host.takeSnapshot(at: now)
        checker.check(host.snapshot, trust: trust, at: now)
    }

    @discardableResult
    func drainEvents() -> [RecordedEvent] {
        let events = host.drainEvents()
        for event in events {
            work.coverage.note(Occurrence(event.event))
            if case .peerRebound(_, _, _, _, let evidence, let isReverted, _) = event.event {
                work.coverage.note(evidence.occurrence)
                if isReverted { work.coverage.note(.reboundBack) }
            }
            digest.add(event)
            say("event \(event.event)")
        }
        return events
    }

    // MARK: Sending

    /// Offers a run to the system, which may refuse it whole, or datagrams of it: those that are
    /// longer than the path allows, and others for no reason that can be seen.
    func send(_ run: inout OutputRun) {
        if sabotage == .deadService, phase != .chaos {
            refuseAll(of: &run, .unreachable)
        } else if phase == .chaos,
            work.random.chance(perMille: scenario.sendFailurePerMille)
        {
            let reasons: [DropReason] = [.sendBufferFull, .unreachable, .tooBig]
            let reason = work.random.element(of: reasons)
            if work.random.chance(perMille: 500) {
                work.coverage.note(.failedRun)
                refuseAll(of: &run, reason)
            } else {
                work.coverage.note(.failedDatagram)
                let index = work.random.below(run.outputs.count)
                run.outputs[index].wasSent = false
                run.unsentReason = reason
            }
        } else if run.segmentLength > scenario.longestPayload {
            for index in run.outputs.indices
            where run.outputs[index].bytes.count > scenario.longestPayload {
                run.outputs[index].wasSent = false
                run.unsentReason = .tooBig
            }
        }
    }

    private func refuseAll(of run: inout OutputRun, _ reason: DropReason) {
        for index in run.outputs.indices { run.outputs[index].wasSent = false }
        run.unsentReason = reason
    }

    private func digestAndEmit(_ record: BatchRecord) {
        digest.add(now.nanoseconds)
        for input in record.inputs {
            digest.add(input.datagram.source)
            digest.add(input.datagram.bytes)
        }
        var position = 0
        for run in record.runs {
            digest.add(run.destination)
            digest.add(UInt64(run.datagramCount) << 32 | UInt64(run.segmentLength))
            for output in run.outputs where output.wasSent {
                digest.add(output.bytes)
                say("out \(run.destination) \(describe(output.bytes))")
                emit(
                    Emission(destination: run.destination, local: run.local, bytes: output.bytes),
                    position: position)
                position += 1
            }
        }
    }

    func noteCoverage(_ inputs: [Input], _ runs: [OutputRun]) {
        work.coverage.note(.datagramReceived, inputs.count)
        if let last = inputs.last, last.slot == ReceiveBatch.slotLimit - 1 {
            work.coverage.note(.fullBatch)
        }
        for (index, input) in inputs.enumerated() {
            let bytes = input.datagram.bytes
            if bytes.isEmpty { work.coverage.note(.emptyDatagram) }
            if bytes.count > 2_000 { work.coverage.note(.jumboDatagram) }
            guard index > 0, inputs[index - 1].slot == input.slot else { continue }
            if input.offset == inputs[index - 1].datagram.bytes.count {
                work.coverage.note(.trainReceived)
            }
            if RegistrationText.session(bytes) != nil { work.coverage.note(.registrationInTrain) }
        }
        for run in runs {
            if run.isReply {
                work.coverage.note(.acknowledgementSent)
                continue
            }
            work.coverage.note(.datagramForwarded, run.datagramCount)
            if run.datagramCount > 1 { work.coverage.note(.trainSent) }
            if run.pieceLengths.count > 1 { work.coverage.note(.runOfSeveralPieces) }
            if run.datagramCount == 64 { work.coverage.note(.runAtDatagramLimit) }
            if run.byteCount + run.segmentLength > 65_000, run.datagramCount > 1 {
                work.coverage.note(.runAtByteLimit)
            }
        }
    }

    /// A datagram in a few words.
    private func describe(_ bytes: [UInt8]) -> String {
        if let id = RegistrationText.session(bytes) { return "REG \(id.short)" }
        if bytes == RegistrationText.acknowledgement { return "ACK" }
        guard let tag = PayloadTag(bytes) else { return "\(bytes.count) bytes" }
        let text = "\(tag.kind) \(tag.sender)#\(tag.sequence) \(bytes.count) bytes"
        guard let content = work.sent[tag]?.content else { return text }
        let forms = content.forms.map { "\($0)" }.joined(separator: "+")
        return "\(text) \(forms) of \(content.connection) to \(hexadecimal(content.destination))"
            + " from \(hexadecimal(content.source)) \(content.spin ? "1" : "0")"
    }

    private func hexadecimal(_ id: [UInt8]) -> String {
        id.isEmpty ? "-" : id.prefix(4).map { String($0, radix: 16) }.joined() + "/\(id.count)"
    }
}
