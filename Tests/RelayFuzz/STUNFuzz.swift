#if DEBUG || FUZZING
@testable import RelayCore

/// Both sides of STUN: a relay reads requests, a probe reads answers.
enum STUNFuzz {
    private static let addresses = [
        TransportAddress(ip: IPAddress(v4: 0xc000_0201), port: 4_433),
        TransportAddress(ip: IPAddress(high: 0x2001_0db8 << 32, low: 1), port: 65_535),
    ]

    static func run(_ datagram: [UInt8]) {
        // Somebody else's answer, if it is one to whatever transaction it names.
        if datagram.count >= 20 {
            let high = datagram[8..<16].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            let low = datagram[16..<20].reduce(UInt64(0)) { $0 << 8 | UInt64($1) } << 32
            let transaction = SessionID(high: high, low: low)
            let address = STUNBinding.address(in: datagram, transaction: transaction)
            precondition(address == nil || datagram.count >= 32)
        }
        guard let request = STUNRequest(datagram.span) else { return }
        precondition(STUNRequest.lengths.contains(datagram.count) && datagram.count % 4 == 0)
        precondition(datagram.prefix(2) == [0, 1] && datagram[4..<8] == [0x21, 0x12, 0xa4, 0x42])
        let id = SessionID(
            high: datagram[8..<16].reduce(0) { $0 << 8 | UInt64($1) },
            low: datagram[16..<20].reduce(0) { $0 << 8 | UInt64($1) } << 32)
        for address in addresses {
            let answer = request.answer(to: address).array
            // All that an answer may ever be longer than its request.
            let longest = (address.ip.isV4 ? 32 : 44) + (request.hasFingerprint ? 8 : 0)
            precondition(answer.count == longest)
            precondition(!request.hasFingerprint || datagram.count >= 28)
            precondition(answer[8..<20] == datagram[8..<20], "another transaction")
            precondition(STUNBinding.address(in: answer, transaction: id) == address)
            precondition(STUNRequest(answer.span) == nil, "an answer is answered: a loop")
        }
    }
}
#endif
