import RelayCore
import Testing

@testable import Relay

extension RelayService {
    /// The state of a relay that pauses or has ended, as another one would read it.
    func storedState() throws -> StoredCheckpoint {
        var bytes: [UInt8] = []
        let length = try encodeState { piece, offset throws(SystemError) in
            let end = min(offset + piece.count, bytes.count)
            bytes.replaceSubrange(offset..<end, with: piece)
        }
        #expect(length == bytes.count)
        return try StoredCheckpoint(bytes)
    }
}
