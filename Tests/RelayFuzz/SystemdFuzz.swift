#if DEBUG || FUZZING
@testable import Relay
@testable import RelayCore

/// What a service manager, or a relay that hands over, leaves in the environment.
enum SystemdFuzz {
    private static let names = [
        "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID",
        "LISTEN_FDNAMES",
    ]

    /// The values stand one a line, in this order; where a line is missing a variable is. The last
    /// one is a status that is told.
    static func run(_ input: [UInt8]) {
        let lines = input.split(separator: 0x0a, omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        let values = Dictionary(zip(names, lines)) { first, _ in first }
        do throws(PassedSockets.Mistake) {
            let found = try SystemdEnvironment(variables: { values[$0] }, process: 4_711)
            precondition(found.sockets.sockets.count <= PassedSockets.limit)
            for (number, socket) in found.sockets.sockets.enumerated() {
                precondition(socket.descriptor == PassedSockets.firstDescriptor + Int32(number))
            }
            precondition(found.watchdogNanoseconds != 0 && found.notifyPath != "")
            precondition(
                found.sockets == .none || values["LISTEN_PID"].flatMap { Int32($0) } == 4_711)
        } catch {
            precondition(!error.description.isEmpty)
        }
        // Not as characters: one that combines would be taken for one with the sign before it.
        let status = NotifyMessage.status(lines.last ?? "").text.unicodeScalars
        precondition(status.starts(with: "STATUS=".unicodeScalars) && !status.contains("\n"))
        precondition(status.count <= 207, "a status has a line")
    }

    /// What is read of a hand-over is what would be written for it.
    static func runHandover(_ input: [UInt8]) {
        let text = String(decoding: input, as: UTF8.self)
        guard let legacy = Inheritance.Legacy(text) else { return }
        let all = legacy.all
        precondition(all.allSatisfy { $0 > 2 }, "standard input, output or error is taken")
        precondition(Set(all).count == all.count, "a descriptor has two owners")
        precondition(Inheritance.Legacy(legacy.description) == legacy)
    }
}
#endif
