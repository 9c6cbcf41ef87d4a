internal import CLinux
internal import Glibc
internal import RelayCore

/// Tells that the host's addresses or routes changed, once for what changed together.
struct RouteMonitor: ~Copyable {
    /// An interface that comes up or goes down changes several things within milliseconds, and is
    /// not of use before the last of them.
    static let settlingNanoseconds = 100 * Nanoseconds.perMillisecond

    /// Nothing where a sandbox does not let us ask: then errors and silence have to tell.
    private let file: FileDescriptor?
    /// Readable, for poll(2), when something changed; -1, which poll passes over, if nobody tells.
    let number: Int32
    private var settledAt: Instant?

    init() {
        switch systemCall({ Int(clinux_open_route_changes()) }) {
        case .done(let number):
            file = FileDescriptor(number)
            self.number = Int32(number)
        case .failed:
            file = nil
            number = -1
        }
    }

    /// When a change that was noted is to be looked at.
    var nextDeadline: Instant? { settledAt }

    /// Notes what is readable.
    mutating func note(at now: Instant) {
        clinux_skip_route_changes(number)
        settledAt = settledAt ?? now.advanced(byNanoseconds: RouteMonitor.settlingNanoseconds)
    }

    /// Whether a change is to be looked at now; says it once.
    mutating func takeChange(at now: Instant) -> Bool {
        guard let settledAt, now >= settledAt else { return false }
        self.settledAt = nil
        return true
    }
}
