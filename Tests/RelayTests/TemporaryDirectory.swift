import Glibc
import Testing

/// A directory of a test's own, which is removed with everything in it.
final class TemporaryDirectory: Sendable {
    let path: String

    init() {
        var random = SystemRandomNumberGenerator()
        path = "/tmp/quic-relay-test-\(getpid())-\(random.next() % 1_000_000_000)"
        #expect(makeDirectory(path))
    }

    deinit {
        removeAll(path)
    }
}
