import CLinux
import Glibc
import Synchronization
import Testing

@testable import Relay

@Suite struct SystemThreadTests {
    /// The handler of the interruption must find a thread that is all there: a sanitizer's handler
    /// ends the program otherwise.
    @Test func anInterruptionMayComeWhileAThreadBeginsOrEnds() throws {
        let began = Atomic(0)
        for _ in 0..<1_000 {
            let thread = try SystemThread(name: "brief") { began.add(1, ordering: .relaxed) }
            for _ in 0..<10 { thread.interrupt() }
            thread.join()
        }
        #expect(began.load(ordering: .relaxed) == 1_000)
    }

    @Test func whatAThreadWaitsForIsInterrupted() throws {
        let outcome = Atomic(0)
        let thread = try SystemThread(name: "waiting") {
            let isInterrupted = poll(nil, 0, -1) == -1 && errno == EINTR
            outcome.store(isInterrupted ? 1 : 2, ordering: .releasing)
        }
        // One that comes before it waits is lost.
        while outcome.load(ordering: .acquiring) == 0 {
            thread.interrupt()
            sched_yield()
        }
        thread.join()
        #expect(outcome.load(ordering: .relaxed) == 1)
    }

    @Test(arguments: [false, true])
    func startingAThreadLeavesTheStarterAsItWas(isHeld: Bool) throws {
        let before = clinux_hold_signal(SIGURG, isHeld)
        defer { _ = clinux_hold_signal(SIGURG, before) }
        try SystemThread(name: "brief") {}.join()
        #expect(clinux_hold_signal(SIGURG, isHeld) == isHeld)
    }
}
