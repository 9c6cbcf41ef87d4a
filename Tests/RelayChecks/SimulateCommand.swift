import Glibc
import RelaySimulator

/// `relay-checks simulate`: runs seeds of the simulation and says which failed.
struct SimulateCommand {
    static let usage =
        "usage: relay-checks simulate [--seeds N] [--first-seed S] [--seed S] [--workers N]"
        + " [--trace] [--verbose]"
    /// From so many seeds on, all that the simulation is meant to reach must have been reached.
    private static let completeSeeds: UInt64 = 200

    private var firstSeed: UInt64 = 1
    private var seeds: UInt64 = 200
    private var workers = 1
    private var traces = false
    private var isVerbose = false

    /// Reads the arguments; what is wrong with them is one line.
    init(_ arguments: ArraySlice<String>) throws(UsageError) {
        var rest = arguments
        while let option = rest.popFirst() {
            switch option {
            case "--seeds": seeds = try SimulateCommand.number(of: option, &rest)
            case "--first-seed": firstSeed = try SimulateCommand.number(of: option, &rest)
            case "--seed":
                firstSeed = try SimulateCommand.number(of: option, &rest)
                seeds = 1
            case "--workers": workers = Int(try SimulateCommand.number(of: option, &rest))
            case "--trace": traces = true
            case "--verbose": isVerbose = true
            default:
                throw UsageError("simulate: unknown argument \(option); \(SimulateCommand.usage)")
            }
        }
        if traces, seeds != 1 { throw UsageError("simulate: --trace needs --seed S") }
        guard (1...8).contains(workers) else {
            throw UsageError("simulate: --workers takes 1 to 8")
        }
        if seeds == 0 { throw UsageError("simulate: --seeds must be at least 1") }
        guard firstSeed <= UInt64.max - seeds else {
            throw UsageError("simulate: seeds end at \(UInt64.max)")
        }
    }

    private static func number(
        of option: String, _ rest: inout ArraySlice<String>
    ) throws(UsageError) -> UInt64 {
        guard let text = rest.popFirst(), let number = UInt64(text) else {
            throw UsageError("simulate: \(option) needs a number; \(usage)")
        }
        return number
    }

    /// Runs all seeds; the exit status.
    func run() -> Int32 {
        var coverage = Coverage()
        var failed: UInt64 = 0
        var digest: UInt64 = 0
        for seed in firstSeed..<firstSeed + seeds {
            if isVerbose {
                // A seed that traps ends the program: its number must be out before.
                print("seed \(seed)")
                fflush(nil)
            }
            let report = simulate(
                seed: seed, workers: workers, trace: traces ? { print($0) } : nil)
            coverage.add(report.coverage)
            digest = (digest &* 31) ^ report.digest
            if let failure = report.failure {
                failed += 1
                print("seed \(seed) failed at \(failure)")
                fflush(nil)
            }
        }
        print("coverage: \(coverage)")
        print("digest: \(String(digest, radix: 16))")
        let missing =
            seeds >= SimulateCommand.completeSeeds ? coverage.missing(hasWorkers: workers > 1) : []
        if !missing.isEmpty { print("never reached: \(missing.joined(separator: ", "))") }
        print("\(seeds - failed) passed, \(failed) failed")
        return failed == 0 && missing.isEmpty ? 0 : 1
    }
}
