/// A datagram of the program that shows a relay whose address a new one is.
///
/// A version 1 relay refuses a registration from another IP address for as long as the peer that it
/// knows may be alive. It does follow a peer by the connection ID of its datagrams, but one that
/// only receives sends none once its way is cut off. So the agent sends the program's latest
/// datagram once more: QUIC takes each packet once (RFC 9000 §12.3), and the relay sees the ID.
/// Only what looks like a QUIC packet with a short header is ever repeated.
struct Evidence: ~Copyable {
    /// Longer ones are no packets of a path's usual size; most acknowledgements have some 40 bytes.
    static let lengthLimit = 1_472
    /// It takes two datagrams to move a peer that was heard just now, or whose ID is short.
    static let copies = 2
    /// A fresh copy is taken so often: an ID is used for far longer.
    static let freshNanoseconds = 100 * Nanoseconds.perMillisecond

    private(set) var bytes = FixedStorage<UInt8>(count: lengthLimit, repeating: 0)
    private(set) var length = 0
    private var takenAt = Instant.origin

    /// Takes a copy of the first datagram in a slot, if it is fit and the last copy is old.
    @inline(__always)
    mutating func note(
        _ batch: borrowing ReceiveBatch, slot: Int, length: Int, at now: Instant
    ) {
        guard now.nanoseconds(since: takenAt) >= Evidence.freshNanoseconds,
            length >= QUICPacket.shortestShort, length <= Evidence.lengthLimit
        else { return }
        take(batch.bytes(slot: slot, offset: 0, length: length), at: now)
    }

    private mutating func take(_ datagram: Span<UInt8>, at now: Instant) {
        guard !QUICPacket.isLong(datagram[0]), QUICPacket.looksEncrypted(datagram) else { return }
        for index in datagram.indices { bytes[index] = datagram[index] }
        length = datagram.count
        takenAt = now
    }
}
