import Glibc
import Testing

/// The program as a process.
final class Program {
    /// What its standard output is.
    enum Output {
        case pipe
        case terminal
    }

    let process: pid_t
    private let output: Descriptor
    private let errors: Descriptor
    /// Readable, at its end, once the process is gone: it alone has the other end.
    private let life: Descriptor
    private var pending: [UInt8] = []
    private var ending: Ending?

    /// A built program, beside the test bundle.
    static func path(_ name: String = "quic-relay") throws -> String {
        let bundle = ownPath()
        let folder = bundle.split(separator: "/", omittingEmptySubsequences: false).dropLast()
        let path = folder.joined(separator: "/") + "/\(name)"
        try #require(isExecutable(path), "\(path) is missing: build the product \(name)")
        return path
    }

    /// What of the tests' own environment every program gets; and no control socket, of which this
    /// machine's default one is not the tests' to have. A sanitizer looks for leaks by ptrace(2),
    /// which the sandbox forbids.
    static var inheritedEnvironment: [String: String] {
        var environment = ["QUIC_RELAY_CONTROL": "off"]
        if sanitizer != nil { environment["QUIC_RELAY_NO_SANDBOX"] = "true" }
        for name in ["PATH", "LD_LIBRARY_PATH"] { environment[name] = variable(name) }
        return environment
    }

    /// Starts it. `shell` is a script that ends in running "$@", the program and its arguments.
    init(
        _ arguments: [String], environment: [String: String] = [:], output kind: Output = .pipe,
        shell: String? = nil, readsErrors: Bool = true
    ) throws {
        let input = makePipe()
        let errors = makePipe()
        if !readsErrors { errors.reading.close() }
        let life = makePipe()
        let output: (ours: Descriptor, programs: Descriptor)
        switch kind {
        case .pipe:
            let pipe = makePipe()
            output = (pipe.reading, pipe.writing)
        case .terminal:
            output = try #require(makeTerminal(), "no pseudo-terminal")
        }
        let environment = Program.inheritedEnvironment.merging(environment) { $1 }
        let path = try Program.path()
        process = try #require(
            spawn(
                shell == nil ? path : "/bin/sh",
                shell.map { ["-c", $0, "sh", path] + arguments } ?? arguments,
                environment: environment.map { "\($0.key)=\($0.value)" },
                descriptors: [
                    input.reading.raw, output.programs.raw, errors.writing.raw, life.writing.raw,
                ]))
        self.output = output.ours
        self.errors = errors.reading
        self.life = life.reading
    }

    deinit {
        guard ending == nil else { return }
        _ = kill(process, SIGKILL)
        _ = reap(process)
    }

    /// Whether it has not ended yet.
    var isRunning: Bool { !life.waitUntilReadable(milliseconds: 0) }

    func signal(_ number: Int32) {
        _ = kill(process, number)
    }

    /// The next line that it writes; nothing at the end, or if none comes in time.
    func nextLine(withinMilliseconds wait: Int32 = patienceMilliseconds) -> String? {
        while true {
            if let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                let line = String(decoding: pending[..<end], as: UTF8.self)
                pending.removeFirst(end + 1)
                return line.hasSuffix("\r") ? String(line.dropLast()) : line
            }
            guard output.waitUntilReadable(milliseconds: wait) else { return nil }
            let bytes = output.read()
            if bytes.isEmpty { return nil }
            pending += bytes
        }
    }

    /// Reads until it has written this; all of it is still to come as lines.
    func waitForOutput(_ text: String) -> Bool {
        while !String(decoding: pending, as: UTF8.self).contains(text) {
            guard output.waitUntilReadable(milliseconds: patienceMilliseconds) else { return false }
            let bytes = output.read()
            if bytes.isEmpty { return false }
            pending += bytes
        }
        return true
    }

    /// All lines that are still to come, once it has ended.
    func remainingLines() -> [String] {
        var lines: [String] = []
        while let line = nextLine() { lines.append(line) }
        return lines
    }

    /// What it wrote to standard error, line by line, once it has ended.
    func errorLines() -> [String] {
        var bytes: [UInt8] = []
        while errors.waitUntilReadable() {
            let more = errors.read()
            if more.isEmpty { break }
            bytes += more
        }
        return String(decoding: bytes, as: UTF8.self).split(
            separator: "\n", omittingEmptySubsequences: false
        ).dropLast().map(String.init)
    }

    /// How it ends, which it must in time.
    func waitForEnd() throws -> Ending {
        if let ending { return ending }
        try #require(life.waitUntilReadable(), "the process does not end")
        let ending = reap(process)
        self.ending = ending
        return ending
    }

    // MARK: Its output

    /// Nobody reads it any more.
    func closeOutput() {
        output.close()
    }

    /// How much of it waits to be read.
    var waitingOutput: Int { output.waitingBytes }

    /// A figure of the process in KiB, such as VmRSS (proc_pid_status(5)).
    func kibibytes(_ name: String) throws -> Int {
        let file = try #require(openFile("/proc/\(process)/status"))
        let text = String(decoding: file.read(), as: UTF8.self)
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("\(name):") })
        return try #require(line.split(separator: " ").dropLast().last.flatMap { Int($0) })
    }
}

/// The sanitizer that tests and programs are built with, if any (`make sanitize`).
let sanitizer = variable("SANITIZER")

/// The processor time that a process has used, in hundredths of a second (proc_pid_stat(5)).
func processorTime(_ process: pid_t) throws -> Int {
    let file = try #require(openFile("/proc/\(process)/stat"))
    let text = String(decoding: file.read(), as: UTF8.self)
    // The second field is a name in brackets; the 14th and 15th are the times.
    let fields = try #require(text.split(separator: ")").last).split(separator: " ")
    try #require(fields.count > 12)
    return try #require(Int(fields[11])) + (try #require(Int(fields[12])))
}

/// A run of the program that ends by itself.
struct Run {
    let ending: Ending
    let output: [String]
    let errors: [String]

    init(_ arguments: [String], environment: [String: String] = [:]) throws {
        let program = try Program(arguments, environment: environment)
        ending = try program.waitForEnd()
        output = program.remainingLines()
        errors = program.errorLines()
    }
}
