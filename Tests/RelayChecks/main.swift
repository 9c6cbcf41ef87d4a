import Glibc

// Checks of the relay that are programs rather than unit tests. Each is a subcommand in a file of
// its own that reads its arguments and returns an exit status.

let arguments = CommandLine.arguments.dropFirst()

do throws(UsageError) {
    switch arguments.first {
    case "allocations": exit(try AllocationsCommand(arguments.dropFirst()).run())
    case "checkpoint": exit(try CheckpointCommand(arguments.dropFirst()).run())
    case "counts": exit(try CountsCommand(arguments.dropFirst()).run())
    case "crowd": exit(try CrowdCommand(arguments.dropFirst()).run())
    case "memory": exit(try MemoryCommand(arguments.dropFirst()).run())
    case "simulate": exit(try SimulateCommand(arguments.dropFirst()).run())
    default:
        throw UsageError(
            "usage: relay-checks allocations|checkpoint|counts|crowd|memory|simulate …")
    }
} catch {
    print(error)
    exit(UsageError.status)
}
