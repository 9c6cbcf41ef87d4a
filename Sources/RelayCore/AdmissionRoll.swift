// Which addresses are peers' of established sessions, for whoever has to know without the tables:
// the kernel, while more comes than the relay can read.

/// The sessions that were established or whose peers moved lately, in that order.
struct AdmissionLog: ~Copyable {
    /// Whoever falls behind by more begins anew.
    static let limit = 4_096

    private var sessions = FixedStorage<UInt32>(count: limit, repeating: 0)
    /// How many there ever were.
    private(set) var count: UInt64 = 0

    mutating func add(_ session: Int) {
        sessions[Int(count % UInt64(AdmissionLog.limit))] = UInt32(session)
        count += 1
    }

    /// The session with this number, one of the latest.
    subscript(number: UInt64) -> Int {
        precondition(number < count && count - number <= UInt64(AdmissionLog.limit))
        return Int(sessions[Int(number % UInt64(AdmissionLog.limit))])
    }
}

/// A reading of the addresses of all peers of established sessions, in parts: those that are there,
/// and those that come while it goes on. An address may come more than once, and one that is no
/// peer's any more is not taken back.
public struct AdmissionRoll: ~Copyable {
    /// The most addresses in a part, and the most sessions that are looked at for one.
    public static let addressLimit = 128
    static let sessionLimit = 1_024

    /// A part's addresses, `count` of them.
    public fileprivate(set) var addresses = FixedStorage<TransportAddress>(
        count: addressLimit, repeating: .none)
    /// How many there are in this part; none if nothing is new.
    public fileprivate(set) var count = 0
    fileprivate var nextSession = 0
    fileprivate var nextNumber: UInt64?

    /// Begins with the first session.
    public init() {}
}

extension RelayEngine {
    /// Reads the next part. Takes some microseconds at most.
    public func fill(_ roll: inout AdmissionRoll) {
        roll.count = 0
        let latest = admissions.count
        var number = roll.nextNumber ?? latest
        if latest - number > UInt64(AdmissionLog.limit) {
            roll.nextSession = 0
            number = latest
        }
        while number < latest, roll.count <= AdmissionRoll.addressLimit - 2 {
            add(admissions[number], to: &roll)
            number += 1
        }
        roll.nextNumber = number
        let end = min(sessions.used, roll.nextSession + AdmissionRoll.sessionLimit)
        while roll.nextSession < end, roll.count <= AdmissionRoll.addressLimit - 2 {
            add(roll.nextSession, to: &roll)
            roll.nextSession += 1
        }
    }

    private func add(_ session: Int, to roll: inout AdmissionRoll) {
        guard isEstablished(session) else { return }
        for side in Side.allCases {
            let peer = PeerNumber(session: session, side: side)
            roll.addresses[roll.count] = forwarder.entries[peer.index].address
            roll.count += 1
        }
    }

    /// Whether both peers have shown that they receive.
    func isEstablished(_ session: Int) -> Bool {
        let a = PeerNumber(session: session, side: .a)
        return sessions.records[session].place == .paired
            && isValidated(a) && isValidated(a.partner)
    }
}
