import Glibc
import RelayCore

/// `relay-checks crowd`: what very many sessions cost an engine: to take them in, to look after
/// them, to show them, and to let them go.
///
/// Times are of the thread's CPU. The longest one of a kind is how long a datagram may have to
/// wait.
struct CrowdCommand {
    static let usage = "usage: relay-checks crowd [--sessions N]"

    private var sessions = 1_000_000

    /// Reads the arguments; what is wrong with them is one line.
    init(_ arguments: ArraySlice<String>) throws(UsageError) {
        var rest = arguments
        while let option = rest.popFirst() {
            guard option == "--sessions", let number = rest.popFirst().flatMap(Int.init),
                (64...1_000_000).contains(number)
            else {
                throw UsageError("crowd: --sessions takes 64 to 1000000; \(Self.usage)")
            }
            sessions = number
        }
    }

    /// Measures and prints; the exit status.
    func run() -> Int32 {
        let before = residentBytes()
        var made: EngineWork?
        let spent = time { made = EngineWork(.scattered, sessions: sessions) }
        guard let work = made else { return 1 }
        let each = spent / UInt64(sessions)
        print("open: \(each) ns for each of \(sessions) sessions, with 8 datagrams")
        print("memory: \((residentBytes() - before) / sessions) resident bytes for each session")
        var snapshot = RelaySnapshot(sessionLimit: sessions + 64)
        for number in 1...2 {
            // As who wants a picture does, on another thread.
            snapshot.prepare(sessionCount: sessions)
            var turns: [UInt64] = []
            var isDone = false
            while !isDone { turns.append(time { isDone = work.fill(&snapshot) }) }
            show("picture \(number)", turns)
        }
        guard snapshot.sessionCount == sessions else { return 1 }
        for number in 1...3 {
            var steps: [UInt64] = []
            work.wait(seconds: 1) { step in steps.append(time(step)) }
            show("sweep \(number)", steps)
        }
        var steps: [UInt64] = []
        // Longer than any timeout: everybody has left.
        work.wait(seconds: 2 * 86_400) { step in steps.append(time(step)) }
        work.wait(seconds: 2) { step in steps.append(time(step)) }
        show("expiry", steps)
        return work.isEmpty ? 0 : 1
    }

    private func show(_ name: String, _ values: [UInt64]) {
        let sorted = values.sorted()
        guard let longest = sorted.last else { return }
        func microseconds(_ nanoseconds: UInt64) -> String {
            "\(nanoseconds / 1_000).\(nanoseconds / 100 % 10) µs"
        }
        print(
            "\(name): \(sorted.count) turns, median \(microseconds(sorted[sorted.count / 2])), "
                + "99th of 100 \(microseconds(sorted[sorted.count * 99 / 100])), longest "
                + "\(microseconds(longest)), in all \(sorted.reduce(0, +) / 1_000_000) ms")
    }

    private func time(_ body: () -> Void) -> UInt64 {
        let start = CrowdCommand.threadNanoseconds()
        body()
        return CrowdCommand.threadNanoseconds() - start
    }

    private static func threadNanoseconds() -> UInt64 {
        var time = timespec()
        // Sound: the call fills the structure that it is given.
        _ = unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    private func residentBytes() -> Int {
        var usage = rusage()
        // Sound: the call fills the structure that it is given. The most that was ever resident is
        // what is, as nothing was given back.
        _ = unsafe getrusage(Int32(RUSAGE_SELF.rawValue), &usage)
        return usage.ru_maxrss * 1_024
    }
}
