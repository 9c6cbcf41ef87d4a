internal import CLinux
internal import Glibc
internal import RelayCore
internal import Synchronization

/// Looks relays' names up on a thread of its own: a name server that does not answer holds up
/// nothing but the next look-up.
final class RelayResolver: Sendable {
    /// What the names stand for.
    struct Answer {
        /// All addresses in the order of the names.
        var addresses: [TransportAddress] = []
        /// Whether every name is known to stand for nothing.
        var isHopeless = false
    }

    private enum Word {
        static let resolve: UInt64 = 1
        /// Large enough to stay the larger one with some wishes to resolve added to it.
        static let stop: UInt64 = 1 << 20
    }

    private let answer: Mutex<Answer?>
    private let wishes: FileDescriptor
    private let names: [HostName]

    /// Starts the thread. `notify` is called on it when there is an answer.
    init(_ names: [HostName], notify: @escaping @Sendable () -> Void) throws(SystemError) {
        self.names = names
        answer = Mutex(nil)
        wishes = try FileDescriptor(systemCall("eventfd") { Int(clinux_eventfd()) })
        // Never waited for: a look-up that hangs must not keep the agent from ending.
        try SystemThread(name: "agent-resolver") { [self] in run(notify) }.leaveAlone()
    }

    /// Asks for an answer. Wishes that come while one is looked for are one.
    func resolve() { wish(Word.resolve) }

    /// Lets the thread end, after the look-up that it is at.
    func stop() { wish(Word.stop) }

    /// The answer, once.
    func takeAnswer() -> Answer? {
        answer.withLock { $0.take() }
    }

    private func wish(_ word: UInt64) {
        var word = word
        // Sound: there are eight bytes to read.
        _ = unsafe write(wishes.number, &word, MemoryLayout<UInt64>.size)
    }

    private func run(_ notify: () -> Void) {
        while UInt64(clinux_wait_for_word(wishes.number)) < Word.stop {
            var found = Answer()
            var unknown = 0
            for name in names {
                do {
                    found.addresses += try name.addresses()
                } catch {
                    if error.isFinal { unknown += 1 }
                }
            }
            found.isHopeless = unknown == names.count
            answer.withLock { $0 = found }
            notify()
        }
    }
}
