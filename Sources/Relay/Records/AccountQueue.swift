internal import CLinux
internal import Glibc
internal import RelayCore
internal import Synchronization

/// Where the worker leaves the accounts of ended sessions for the thread that writes them down.
///
/// The worker tries the lock and comes back in its next turn if the other one has it, which has it
/// no longer than it takes to exchange an array for an empty one. Nothing else is shared.
final class AccountQueue: Sendable {
    /// Accounts that wait: 16,384 × 496 B = 8 MB, touched as far as it is used. A whole relay of
    /// the usual 10,000 sessions may end while the disk is full, and nothing is lost.
    static let limit = 16_384

    private let limit: Int
    private let accounts: Mutex<[SessionAccount]>
    private let notice: FileDescriptor

    static var byteCount: Int { limit * MemoryLayout<SessionAccount>.stride }

    init(limit: Int = AccountQueue.limit) throws(SystemError) {
        self.limit = limit
        notice = try FileDescriptor(systemCall("eventfd") { Int(clinux_eventfd()) })
        accounts = Mutex(AccountQueue.empty(limit))
    }

    /// An array that takes the worker's accounts without an allocation.
    private static func empty(_ limit: Int) -> [SessionAccount] {
        var array: [SessionAccount] = []
        array.reserveCapacity(limit)
        return array
    }

    /// Takes over what the engine has kept, as far as there is room; in the next turn if the lock
    /// is somebody's just now.
    func fill(from engine: inout RelayEngine) {
        let isFilled = accounts.withLockIfAvailable { accounts in
            let before = accounts.count
            while accounts.count < limit, let account = engine.nextAccount() {
                accounts.append(account)
            }
            return accounts.count > before
        }
        if isFilled == true { wake() }
    }

    /// Makes `descriptor` unreadable. Whoever waits for it does this first and looks then: what
    /// comes after the look makes it readable again.
    func clearNotice() {
        var count: UInt64 = 0
        // Sound: there is room for the eight bytes that are written.
        _ = unsafe read(notice.number, &count, MemoryLayout<UInt64>.size)
    }

    /// All that wait, oldest first.
    func take() -> [SessionAccount] {
        guard accounts.withLock({ !$0.isEmpty }) else { return [] }
        // Made before the lock is taken: the worker must not wait for an allocation.
        let empty = AccountQueue.empty(limit)
        return accounts.withLock { accounts in
            let taken = accounts
            accounts = empty
            return taken
        }
    }

    /// How many wait.
    var count: Int { accounts.withLock { $0.count } }

    /// Makes `descriptor` readable.
    func wake() {
        var one: UInt64 = 1
        // Sound: eight bytes are there to be read. It fails only when it is readable already.
        _ = unsafe write(notice.number, &one, MemoryLayout<UInt64>.size)
    }

    /// Readable, for poll(2), when there is something to take, or to do.
    var descriptor: Int32 { notice.number }
}
