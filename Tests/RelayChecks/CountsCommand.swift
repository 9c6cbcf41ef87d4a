import CAllocationCounter
import Glibc

/// `relay-checks counts`: what each part of a relay costs for a datagram.
///
/// Prints a line for each kind of work: its name, datagrams, CPU nanoseconds and allocations for
/// each of them. Run under a tool that counts instructions it marks where the counted parts begin
/// and end (Benchmarks/counts.py): a run of some rounds and one of twice as many, so that what is
/// not done for each datagram cancels out.
struct CountsCommand {
    static let usage = """
        usage: relay-checks counts [--only NAME,…] [--rounds N] [--sessions N] [--waste] [--list]
        """
    /// Rounds before anything is counted: what a first use sets up once is not steady state.
    private static let warmUpRounds = 200
    /// Sessions of an engine: as many as there are slots in a batch at the least.
    private static let sessionRange = 64...1_000_000

    /// A kind of work, by its name.
    private enum Kind {
        case engine(EngineWork.Kind)
        case service(ServiceWork.Kind)

        static let all =
            EngineWork.Kind.allCases.map { Kind.engine($0) }
            + ServiceWork.Kind.allCases.map { Kind.service($0) }

        var name: String {
            switch self {
            case .engine(let kind): "engine-" + CountsCommand.words(kind.rawValue)
            case .service(let kind): CountsCommand.words(kind.rawValue)
            }
        }
    }

    private var kinds = Kind.all
    private var rounds = 200
    private var sessions = 64
    private var wastes = false
    private var onlyLists = false

    /// Reads the arguments; what is wrong with them is one line.
    init(_ arguments: ArraySlice<String>) throws(UsageError) {
        var rest = arguments
        while let option = rest.popFirst() {
            switch option {
            case "--only": kinds = try CountsCommand.kinds(rest.popFirst())
            case "--rounds":
                rounds = try CountsCommand.number(option, rest.popFirst(), in: 1...100_000)
            case "--sessions":
                sessions = try CountsCommand.number(
                    option, rest.popFirst(), in: CountsCommand.sessionRange)
            case "--waste": wastes = true
            case "--list": onlyLists = true
            default: throw UsageError("counts: unknown argument \(option); \(Self.usage)")
            }
        }
    }

    private static func kinds(_ text: String?) throws(UsageError) -> [Kind] {
        var found: [Kind] = []
        for name in (text ?? "").split(separator: ",") {
            guard let kind = Kind.all.first(where: { $0.name == name }) else {
                throw UsageError("counts: --only \(name): --list prints the names")
            }
            found.append(kind)
        }
        guard !found.isEmpty else { throw UsageError("counts: --only needs names; \(usage)") }
        return found
    }

    private static func number(
        _ option: String, _ text: String?, in range: ClosedRange<Int>
    ) throws(UsageError) -> Int {
        guard let number = text.flatMap({ Int($0) }), range.contains(number) else {
            throw UsageError(
                "counts: \(option) takes \(range.lowerBound) to \(range.upperBound); \(usage)")
        }
        return number
    }

    /// "relayTrain" is relay-train.
    private static func words(_ name: String) -> String {
        name.map { $0.isUppercase ? "-" + $0.lowercased() : String($0) }.joined()
    }

    /// Does everything and prints what it came to; the exit status.
    func run() -> Int32 {
        for kind in kinds {
            if onlyLists {
                print(kind.name)
            } else if !measure(kind) {
                print("\(kind.name) failed: not everything became of its datagrams that should")
                return 1
            }
            fflush(nil)
        }
        return 0
    }

    private func measure(_ kind: Kind) -> Bool {
        let made: (any CountedWork)? =
            switch kind {
            case .engine(let kind): EngineWork(kind, sessions: sessions)
            case .service(let kind): ServiceWork(kind)
            }
        guard let work = made, work.run(rounds: CountsCommand.warmUpRounds) else { return false }
        precondition(allocation_count() > 0, "allocations are not counted in this program")
        counting_mark()
        guard run(work, rounds: rounds) else { return false }
        counting_mark()
        let (before, start) = (allocation_count(), CountsCommand.processNanoseconds())
        guard run(work, rounds: 2 * rounds) else { return false }
        let (after, end) = (allocation_count(), CountsCommand.processNanoseconds())
        counting_mark()
        let datagrams = 2 * rounds * work.datagramsPerRound
        let spent = Double(end - start) / Double(datagrams)
        print("\(kind.name) \(datagrams) \(spent) \(Double(after - before) / Double(datagrams))")
        return true
    }

    private func run(_ work: any CountedWork, rounds: Int) -> Bool {
        guard wastes else { return work.run(rounds: rounds) }
        for _ in 0..<rounds {
            counting_waste(Int32(work.datagramsPerRound))
            guard work.run(rounds: 1) else { return false }
        }
        return true
    }

    /// The CPU time of all threads.
    private static func processNanoseconds() -> UInt64 {
        var time = timespec()
        // Sound: the call fills the structure that it is given.
        _ = unsafe clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
