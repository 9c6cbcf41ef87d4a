import CAllocationCounter

/// `relay-checks allocations`: a running relay must not allocate while it forwards.
///
/// The whole relay runs, worker thread, socket and all, and an agent before it; only this thread's
/// allocations are left out of the count.
struct AllocationsCommand {
    static let usage = "usage: relay-checks allocations [--datagrams N]"
    /// Datagrams under way at once: few enough to fit any receive buffer.
    private static let window = 64

    /// An agent that hears nothing registers twice a second, and may allocate for that: some ten
    /// times in a million datagrams, where one for each of them would be a million.
    private static let datagramsPerAgentAllocation = 20_000

    private var datagrams = 1_000_000

    /// Reads the arguments; what is wrong with them is one line.
    init(_ arguments: ArraySlice<String>) throws(UsageError) {
        var rest = arguments
        while let option = rest.popFirst() {
            guard option == "--datagrams", let number = rest.popFirst().flatMap(Int.init),
                number >= 1_000
            else {
                throw UsageError("allocations: --datagrams takes at least 1000; \(Self.usage)")
            }
            datagrams = number
        }
    }

    /// Runs the relay under single datagrams and under trains; the exit status.
    func run() -> Int32 {
        allocation_ignore_thread()
        var failed = 0
        let cases = [
            (false, false, 1), (true, false, 1), (false, true, 1), (true, true, 1),
            (false, false, 2), (true, false, 2),
        ]
        for (isTrains, hasAgent, workers) in cases {
            let name =
                (isTrains ? "trains of 16" : "single datagrams") + (hasAgent ? ", an agent" : "")
                + (workers > 1 ? ", \(workers) workers" : "")
            let allocations = measure(isTrains: isTrains, hasAgent: hasAgent, workers: workers)
            guard let allocations else {
                print("allocations: \(name): nothing was forwarded")
                failed += 1
                continue
            }
            print("allocations: \(name): \(allocations) for \(datagrams) datagrams")
            let limit = hasAgent ? datagrams / Self.datagramsPerAgentAllocation : 0
            if allocations > limit { failed += 1 }
        }
        print("\(cases.count - failed) passed, \(failed) failed")
        return failed == 0 ? 0 : 1
    }

    private func measure(isTrains: Bool, hasAgent: Bool, workers: Int) -> UInt64? {
        let path = ForwardingPath(sendsTrains: isTrains, hasAgent: hasAgent, workers: workers)
        guard let path else { return nil }
        // The worker allocated its tables on its own thread: otherwise nothing is counted at all.
        precondition(allocation_count() > 0, "allocations are not counted in this program")
        let window = AllocationsCommand.window
        // What a first use sets up once, such as thread-local storage, is not steady state.
        guard path.exchange(10_000, window: window, .fromA) else { return nil }
        let before = allocation_count()
        guard path.exchange(datagrams, window: window, .fromA) else { return nil }
        return allocation_count() - before
    }
}
