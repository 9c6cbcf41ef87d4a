internal import Synchronization

/// Something that a relay does beside forwarding, for as long as it runs: its state file, a control
/// socket, a metrics port, record files.
///
/// A relay that hands over stops its companions first, so that the new one can have their files and
/// addresses, and starts them again if the new one fails.
public protocol Companion: AnyObject, Sendable {
    /// Begins. Called again after `stop` if the relay goes on after all.
    func start() throws(SystemError)

    /// Ends, and gives back everything that another process may need.
    func stop()
}

/// All companions of a relay, which begin in their order and end in the opposite one.
public final class Companions: Sendable {
    private let all: [any Companion]

    /// Those that there are.
    public init(_ all: [any Companion]) {
        self.all = all
    }

    /// Starts them; none if one of them fails.
    public func start() throws(SystemError) {
        for (number, companion) in all.enumerated() {
            do throws(SystemError) {
                try companion.start()
            } catch {
                for started in all[..<number].reversed() { started.stop() }
                throw error
            }
        }
    }

    /// Stops them.
    public func stop() {
        for companion in all.reversed() { companion.stop() }
    }
}

/// A companion that is made anew each time that it starts.
public final class Served: Companion {
    private let begin: @Sendable () throws(SystemError) -> (@Sendable () -> Void)?
    private let end = Mutex<(@Sendable () -> Void)?>(nil)

    /// `begin` starts to serve and returns what ends that; nothing if there is nothing to serve.
    public init(_ begin: @escaping @Sendable () throws(SystemError) -> (@Sendable () -> Void)?) {
        self.begin = begin
    }

    /// Begins.
    public func start() throws(SystemError) {
        let ending = try begin()
        end.withLock { $0 = ending }
    }

    /// Ends, if it has begun.
    public func stop() {
        end.withLock { $0.take() }?()
    }
}
