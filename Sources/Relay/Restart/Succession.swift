internal import CLinux
internal import Glibc
internal import RelayCore

/// Starts another program in this one's place and hands the relay over to it: the socket, the
/// sessions, the lock of the state directory (Documentation/decisions/0012-hand-over.md).
///
/// If the new program fails at any point before it receives, this one goes on as it was.
public final class Succession: Sendable {
    /// What came of it.
    public enum Outcome: Equatable, Sendable {
        /// Another process has taken over; this one's relay has ended.
        case handedOver(process: Int32)
        /// The relay goes on, and why.
        case failed(reason: String)
    }

    /// The program that is started: what stands at this path by then.
    public struct Program: Sendable {
        let path: String
        /// From its own name on.
        let arguments: [String]
        /// What it needs in its environment beside what this process has, as "NAME=value".
        let variables: [String]
    }

    private let service: RelayService
    private let companions: Companions
    private let directory: StateDirectory?
    private let program: Program

    /// How long the new program may take to read its arguments and make its tables: this one
    /// forwards meanwhile.
    static let preparationNanoseconds = 10 * Nanoseconds.perSecond
    /// How long it may take to take up the state of so many sessions: nobody forwards meanwhile,
    /// and QUIC connections begin to time out after 10 s of that, most of them after 30 s. One
    /// takes some 4 µs of a processor; there are 25 for it, as others want that, too, and who goes
    /// back has waited for nothing.
    static func takeoverNanoseconds(sessions: Int) -> UInt64 {
        5 * Nanoseconds.perSecond + 25 * Nanoseconds.perMicrosecond * UInt64(sessions)
    }

    /// Prepares to hand over a service with all that belongs to it.
    public init(
        _ service: RelayService, companions: Companions, directory: StateDirectory?,
        program: Program
    ) {
        self.service = service
        self.companions = companions
        self.directory = directory
        self.program = program
    }

    /// Hands over. `meanwhile` is called about ten times a second while the new program prepares
    /// itself and says whether to go on waiting for that; `willEnd` is called once this process can
    /// do nothing but end, with the other's id.
    public func run(
        meanwhile: () -> Bool, willEnd: (_ process: Int32) -> Void
    ) -> Outcome {
        do throws(SystemError) {
            let heir = try Heir(program, service.descriptors, directory?.lockDescriptor)
            return handOver(to: heir, meanwhile: meanwhile, willEnd: willEnd)
        } catch {
            return .failed(reason: error.description)
        }
    }

    private func handOver(
        to heir: consuming Heir, meanwhile: () -> Bool, willEnd: (_ process: Int32) -> Void
    ) -> Outcome {
        var heir = heir
        let prepared = heir.wait(
            for: .prepared, nanoseconds: Succession.preparationNanoseconds, meanwhile: meanwhile)
        if let fault = prepared { return .failed(reason: heir.bury(after: fault)) }
        companions.stop()
        var fault: Heir.Fault? = service.pause() ? nil : .noState
        fault =
            fault ?? heir.giveState(of: service)
            ?? heir.wait(
                for: .ready,
                nanoseconds: Succession.takeoverNanoseconds(sessions: service.sessionCount),
                meanwhile: { true })
        if fault == nil, !heir.letGo() { fault = .ended }
        guard let fault else {
            willEnd(heir.process)
            service.endPaused()
            return .handedOver(process: heir.process)
        }
        // It must be gone before this relay receives again: there are never two.
        let reason = heir.bury(after: fault)
        service.resume()
        do throws(SystemError) {
            try companions.start()
        } catch {
            return .failed(reason: "\(reason); and afterwards: \(error)")
        }
        return .failed(reason: reason)
    }
}
