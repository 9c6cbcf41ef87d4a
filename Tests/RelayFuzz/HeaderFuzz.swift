#if DEBUG || FUZZING
@testable import RelayCore

/// The header reader on bytes that anybody may send.
enum HeaderFuzz {
    /// Reads a datagram whose first byte is the length of the known connection IDs.
    static func run(_ input: [UInt8]) {
        guard let first = input.first else { return }
        let datagram = Array(input.dropFirst())
        let length = first == 0xff ? nil : Int(first % 32)
        let packets = read(datagram, length)
        precondition(packets.dropLast().allSatisfy { $0.isLong }, "a packet behind a short header")
        precondition(
            packets.dropFirst().allSatisfy { $0.destination == packets[0].destination },
            "packets of several connections in one datagram")
        precondition(packets == read(datagram, length), "what is read is not the same twice")
        var recognition = Recognition()
        for _ in 0..<3 { recognition.take(datagram.span) }
    }

    private static func read(_ datagram: [UInt8], _ length: Int?) -> [QUICPacket] {
        var walk = QUICPacketWalk()
        var packets: [QUICPacket] = []
        while let packet = walk.next(datagram.span, shortLength: length) {
            packets.append(packet)
            // A long header takes seven bytes at the least.
            precondition(packets.count <= datagram.count / 7 + 1, "the reader does not end")
        }
        return packets
    }
}
#endif
