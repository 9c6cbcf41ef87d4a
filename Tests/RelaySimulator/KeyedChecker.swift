import RelayCore

/// Who has the places of a session, as the relay shows it.
struct KeyedRow: Equatable {
    var a: TransportAddress
    var b: TransportAddress

    subscript(side: Side) -> TransportAddress { side == .a ? a : b }

    func side(of address: TransportAddress) -> Side? {
        address == .none ? nil : a == address ? .a : b == address ? .b : nil
    }

    func partner(of address: TransportAddress) -> TransportAddress? {
        side(of: address).map { self[$0.other] }
    }
}

/// One datagram that the relay was given, and what came of it.
struct KeyedExchange {
    var now: Instant
    var source: TransportAddress
    var bytes: [UInt8]
    var intent: KeyedIntent
    var sent: [(destination: TransportAddress, bytes: [UInt8], isReply: Bool)]
    var before: [SessionID: KeyedRow]
    var after: [SessionID: KeyedRow]
    var tallyBefore: Tally
    var tallyAfter: Tally

    var replies: [[UInt8]] { sent.filter(\.isReply).map(\.bytes) }
}

/// What must hold where clients of both versions are.
///
/// It knows of each address which cookies were sent there and when, and of each place who had shown
/// which key there. Nothing else can be known from outside.
struct KeyedChecker {
    private struct Holder {
        var address: TransportAddress
        var key: UInt64
    }

    private struct Former {
        var session: SessionID
        var side: Side
        var leftAt: Instant
    }

    private let graceNanoseconds: UInt64
    private(set) var failure: String?
    private(set) var coverage = Coverage()
    private var issued: [TransportAddress: [(cookie: [UInt8], at: Instant)]] = [:]
    private var holders: [SessionID: [Side: Holder]] = [:]
    private var heardAt: [TransportAddress: Instant] = [:]
    /// From where peers moved.
    private var formers: [TransportAddress: Former] = [:]

    /// A secret makes cookies for 2 min and is known for as long again.
    private static let secretNanoseconds = 120 * Nanoseconds.perSecond
    /// After so much silence a peer may be taken for its partner before that moved.
    private static let shadowNanoseconds = 4 * Nanoseconds.perSecond

    init(graceSeconds: Int) {
        graceNanoseconds = UInt64(graceSeconds) * Nanoseconds.perSecond
    }

    /// Notes the first thing that was wrong.
    mutating func fail(_ what: String) {
        if failure == nil { failure = what }
    }

    private mutating func fail(_ exchange: KeyedExchange, _ what: String) {
        let text = String(decoding: exchange.bytes.prefix(160), as: UTF8.self)
        fail("\(what): \(exchange.source) said \(text.debugDescription)")
    }

    // MARK: Everything

    mutating func check(_ exchange: KeyedExchange) {
        checkSums(exchange)
        let replies = exchange.replies
        if replies.count > 1 { fail(exchange, "several answers") }
        for output in exchange.sent where output.isReply {
            if output.destination != exchange.source { fail(exchange, "a stranger is answered") }
            if output.bytes.count > exchange.bytes.count { fail(exchange, "a longer answer") }
        }
        switch exchange.intent {
        case .payload: checkPayload(exchange)
        case .register(let id):
            if let reply = replies.first, reply != Array("ACK\n".utf8) {
                fail(exchange, "version 1 is told something else")
            }
            if holders[id]?.isEmpty == false { coverage.note(.version1BesideKeys) }
            checkPlaces(exchange, of: id)
        case .keyed(let words): check(words, exchange)
        }
        if isSignOfLife(exchange) { heardAt[exchange.source] = exchange.now }
    }

    /// Whether it shows that its source's peer lives. Of lines that are refused, or about another
    /// session, and of payload that finds nobody, the relay need not conclude that.
    private func isSignOfLife(_ exchange: KeyedExchange) -> Bool {
        switch exchange.intent {
        case .payload, .register: !exchange.sent.isEmpty
        case .keyed: exchange.replies.contains { $0.starts(with: "ACK;".utf8) }
        }
    }

    private mutating func checkSums(_ exchange: KeyedExchange) {
        let (before, after) = (exchange.tallyBefore, exchange.tallyAfter)
        let verdicts = after.forwarded.datagrams + after.replied + after.drops.reduce(0, +)
        if after.received.datagrams != verdicts
            || after.received.datagrams != before.received.datagrams + 1
        {
            fail(exchange, "received is not forwarded + replied + dropped")
        }
    }

    private mutating func checkPayload(_ exchange: KeyedExchange) {
        if exchange.before != exchange.after { fail(exchange, "payload changed a place") }
        let row = exchange.before.values.first { $0.side(of: exchange.source) != nil }
        var partner = row?.partner(of: exchange.source)
        if partner == nil, let former = formers[exchange.source],
            exchange.now.nanoseconds(since: former.leftAt) <= Ledger.formerNanoseconds
        {
            partner = exchange.before[former.session]?[former.side.other]
        }
        for output in exchange.sent {
            if output.isReply || output.destination != partner || output.bytes != exchange.bytes {
                fail(exchange, "something else, or for another one, was sent on")
            }
        }
    }

    // MARK: Version 2

    private mutating func check(_ words: KeyedWords, _ exchange: KeyedExchange) {
        let age = words.cookie.flatMap { self.age(of: $0, at: exchange.source, exchange.now) }
        guard let reply = exchange.replies.first else { return fail(exchange, "no answer") }
        if reply.starts(with: "CHL:".utf8) {
            if let age, age < KeyedChecker.secretNanoseconds {
                fail(exchange, "a good cookie is not known")
            }
            if exchange.before != exchange.after {
                fail(exchange, "a place was given to an address that has shown nothing")
            }
            coverage.note(
                age != nil ? .cookieExpired : words.cookie != nil ? .cookieOfAnother : .challenged)
            let cookie = Array(reply.dropFirst(4).dropLast())
            issued[exchange.source, default: []].append((cookie, exchange.now))
            return
        }
        guard let age, age <= 2 * KeyedChecker.secretNanoseconds else {
            return fail(exchange, "an address that has shown nothing is told something")
        }
        let side = self.side(of: words.key, in: words.session, exchange.before)
        if words.leaves {
            checkFarewell(words, side, reply, exchange)
        } else if reply.starts(with: "ERR:".utf8) {
            coverage.note(.keyRefused)
            if side != nil { fail(exchange, "a peer's own key is refused") }
            if exchange.before != exchange.after { fail(exchange, "a refusal changed a place") }
        } else {
            checkBinding(words, side, reply, exchange)
        }
    }

    /// How old a cookie is that was sent to this address; nothing if it never was.
    private func age(
        of cookie: [UInt8], at address: TransportAddress, _ now: Instant
    ) -> UInt64? {
        issued[address]?.last { $0.cookie == cookie }.map { now.nanoseconds(since: $0.at) }
    }

    /// Where a session has the peer with this key.
    private func side(
        of key: UInt64, in id: SessionID, _ rows: [SessionID: KeyedRow]
    ) -> Side? {
        Side.allCases.first { side in
            guard let holder = holders[id]?[side], holder.key == key else { return false }
            return rows[id]?[side] == holder.address
        }
    }

    private mutating func checkFarewell(
        _ words: KeyedWords, _ side: Side?, _ reply: [UInt8], _ exchange: KeyedExchange
    ) {
        if reply != Array("ACK\n".utf8) { fail(exchange, "no plain answer to a farewell") }
        var expected = exchange.before
        if side != nil {
            expected[words.session] = nil
            holders[words.session] = nil
            formers = formers.filter { $0.value.session != words.session }
            coverage.note(.keyLeft)
        }
        if exchange.after != expected { fail(exchange, "not that session ended, or another one") }
    }

    private mutating func checkBinding(
        _ words: KeyedWords, _ side: Side?, _ reply: [UInt8], _ exchange: KeyedExchange
    ) {
        if reply != Array("ACK;addr=\(exchange.source)\n".utf8) {
            fail(exchange, "it is told another address")
        }
        guard let row = exchange.after[words.session], let now = row.side(of: exchange.source)
        else { return fail(exchange, "it is told that it has a place, and has none") }
        if let side, let former = exchange.before[words.session] {
            if now != side { fail(exchange, "a key moved to its partner's place") }
            let partner = former[side.other]
            if row[side.other] != partner, partner != exchange.source {
                fail(exchange, "a peer's move displaced its partner")
            }
            if former[side] != exchange.source { coverage.note(.keyMoved) }
        } else {
            coverage.note(.keyBound)
        }
        checkPlaces(exchange, of: words.session, movedFrom: side)
        holders[words.session, default: [:]][now] = Holder(
            address: exchange.source, key: words.key)
    }

    // MARK: Places

    /// What still comes from where a peer was is its own, unless another one has its place since.
    private mutating func noteMoves(
        _ exchange: KeyedExchange, of id: SessionID, _ moved: Side?
    ) {
        for side in Side.allCases {
            let before = exchange.before[id]?[side] ?? .none
            let after = exchange.after[id]?[side] ?? .none
            guard after != before else { continue }
            // Without a key, one that stays behind its IP address is taken for the same.
            if before != .none, after != .none, moved == side || after.ip == before.ip {
                formers[before] = Former(session: id, side: side, leftAt: exchange.now)
            } else {
                formers = formers.filter { $0.value.session != id || $0.value.side != side }
            }
        }
    }

    /// A registration changes places of its session only, and where its address was before; what it
    /// takes is its own. Nobody loses a place that has shown a key and lives.
    private mutating func checkPlaces(
        _ exchange: KeyedExchange, of id: SessionID, movedFrom moved: Side? = nil
    ) {
        let ids = Set(exchange.before.keys).union(exchange.after.keys)
        for other in ids where other != id {
            guard let before = exchange.before[other] else {
                fail(exchange, "another session was opened")
                continue
            }
            guard exchange.after[other] != before else { continue }
            guard let left = before.side(of: exchange.source) else {
                fail(exchange, "another session changed")
                continue
            }
            let rest = exchange.after[other]?[left.other] ?? .none
            if exchange.after[other]?[left] ?? .none != .none || rest != before[left.other] {
                fail(exchange, "whom it left lost more than it")
            }
        }
        noteMoves(exchange, of: id, moved)
        guard let after = exchange.after[id] else { return }
        for side in Side.allCases where after[side] != exchange.before[id]?[side] ?? .none {
            let former = exchange.before[id]?[side] ?? .none
            if after[side] != exchange.source, after[side] != .none || former != exchange.source {
                fail(exchange, "\(after[side]) got a place")
            }
            guard side != moved, former != .none, former != exchange.source,
                holders[id]?[side]?.address == former
            else { continue }
            let silence = exchange.now.nanoseconds(since: heardAt[former] ?? .origin)
            // Where another one of the session is on its IP address, it may be what that one was.
            let partner = exchange.before[id]?[side.other] ?? .none
            let mayBeShadow = former.ip == exchange.source.ip || former.ip == partner.ip
            let limit = mayBeShadow ? KeyedChecker.shadowNanoseconds : graceNanoseconds
            if silence < limit { fail(exchange, "\(former) lives and was displaced") }
        }
    }
}
