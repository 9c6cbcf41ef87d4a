#if DEBUG || FUZZING
@testable import RelayCore

/// The header reader on bytes that anybody may send.
enum HeaderFuzz {
    /// Reads a datagram whose first byte is the length of the known connection IDs.
    static func run(_ input: ArraySlice<UInt8>) {
        guard let first = input.first else { return }
        let datagram = Array(input.dropFirst())
        let length = first == 0xff ? nil : Int(first % 32)
        let packets = read(datagram, length)
        precondition(packets.dropLast().allSatisfy { $0.isLong }, "a packet behind a short header")
        precondition(
            packets.dropFirst().allSatisfy { $0.destination == packets[0].destination },
            "packets of several connections in one datagram")
        precondition(packets == read(datagram, length), "what is read is not the same twice")
        readControl(datagram)
        var recognition = Recognition()
        for _ in 0..<3 { recognition.take(datagram.span) }
    }

    /// What is a line is one by its whole grammar, whatever the reader makes of it.
    private static func readControl(_ datagram: [UInt8]) {
        guard let line = ControlLine(datagram.span) else { return }
        precondition(ControlLine.lengths.contains(datagram.count))
        let isVersionOne = Registration(datagram.span) != nil
        if case .registration = line {
            precondition(isVersionOne)
        } else {
            let attributes = datagram[40..<datagram.count - 1]
            precondition(!isVersionOne && datagram.last == 10 && attributes.first == 0x3b)
            precondition(attributes.allSatisfy { $0 >= 0x20 && $0 < 0x7f }, "not a line's shape")
        }
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
#else
/// The reader is internal to the core: only builds for testing see it.
enum HeaderFuzz {
    static func run(_ input: ArraySlice<UInt8>) {}
}
#endif
