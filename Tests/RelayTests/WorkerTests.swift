import RelayCore
import Testing

@testable import Relay

/// What a worker does in a turn beside forwarding.
struct WorkerTests {
    /// A relay that has slept must not keep datagrams waiting until it has caught up.
    @Test func aLateWorkerLooksForDatagramsBetweenTheStepsOfItsSweep() throws {
        var relay = try ScriptedRelay()
        relay.open(pairs: 1)
        relay.turn()
        relay.wait(seconds: 1)
        relay.calls.forget()
        for _ in 0..<15 { relay.turn() }
        // The first turn finds out that it is late; ten steps later there is nothing left to do.
        let waits = relay.calls.waits
        #expect(waits.first == true && waits.last == true)
        #expect((8...11).contains(waits.count { !$0 }), "\(waits)")
    }
}
