import Glibc
import TestSupport
import Testing

/// A program in front of a terminal that controls its session, and whoever sits there.
final class TerminalProgram {
    /// What a descriptor of the program's is.
    enum Stream {
        case terminal
        case pipe
        case null
    }

    let pty: PseudoTerminal
    let process: pid_t
    /// The terminal's settings before the program came.
    let modeBefore: PseudoTerminal.Mode
    /// The terminal as it looks.
    private(set) var seen: VirtualTerminal
    /// Where standard error or output goes, if that is a pipe.
    private let pipe: Descriptor
    /// Readable, at its end, once the program and its shell are gone.
    private let life: Descriptor
    private var pipedBytes: [UInt8] = []
    private var ending: Ending?

    /// Starts it. `shell` is a script that runs "$@", the program and its arguments.
    init(
        _ name: String = "quic-relay", _ arguments: [String] = [], rows: Int = 24,
        columns: Int = 80, environment: [String: String] = [:], input: Stream = .terminal,
        output: Stream = .terminal, errors: Stream = .terminal, stopsBackgroundOutput: Bool = false,
        shell: String? = nil
    ) throws {
        pty = try #require(PseudoTerminal(rows: rows, columns: columns), "no pseudo-terminal")
        if stopsBackgroundOutput { pty.setLocalFlag(TOSTOP) }
        modeBefore = pty.mode
        seen = VirtualTerminal(rows: rows, columns: columns)
        let pipe = makePipe()
        let life = makePipe()
        let null = try #require(openFile("/dev/null", O_RDWR))
        func number(_ stream: Stream) -> Int32 {
            switch stream {
            case .terminal: -1
            case .pipe: pipe.writing.raw
            case .null: null.raw
            }
        }
        let all = ["TERM": "xterm-256color", "LANG": "C.UTF-8"]
            .merging(Program.inheritedEnvironment) { $1 }.merging(environment) { $1 }
        let own = name == "quic-relay" ? ["--bind", "127.0.0.1", "--port", "0"] : []
        let path = try Program.path(name)
        // Nothing else may keep the terminal from controlling the session if no stream is it.
        process = try #require(
            spawn(
                shell == nil ? path : "/bin/sh",
                (shell.map { ["-c", $0, "sh", path] } ?? []) + own + arguments,
                environment: all.map { "\($0.key)=\($0.value)" },
                descriptors: [number(input), number(output), number(errors), life.writing.raw, -1],
                terminal: pty.path))
        self.pipe = pipe.reading
        self.life = life.reading
    }

    deinit {
        guard ending == nil else { return }
        // A shell's children are in its session, and go with it.
        for child in children { _ = kill(child, SIGKILL) }
        _ = kill(process, SIGKILL)
        _ = reap(process)
    }

    /// The processes that the shell has started.
    var children: [pid_t] {
        let path = "/proc/\(process)/task/\(process)/children"
        let text = openFile(path).map { String(decoding: $0.read(), as: UTF8.self) } ?? ""
        return text.split(separator: " ").compactMap { pid_t($0) }
    }

    /// Sends a signal to the program, to `child` where a shell has started it.
    func signal(_ number: Int32, to child: pid_t? = nil) {
        _ = kill(child ?? process, number)
    }

    // MARK: What is to be seen

    /// What stands on the screen or, once that was left, on the terminal.
    var text: String { seen.text.joined(separator: "\n") }

    /// What came through the pipe.
    var pipedText: String { String(decoding: pipedBytes, as: UTF8.self) }

    /// Reads what is there, waiting a little for it.
    func read() {
        seen.take(pty.read(withinMilliseconds: 10))
        if pipe.waitUntilReadable(milliseconds: 0) { pipedBytes += pipe.read() }
    }

    /// Reads all that was written up to now; says how many bytes there have been in all.
    func readAll() -> Int {
        seen.take(pty.readAll() ?? [])
        return seen.bytes.count
    }

    /// Writes over the screen, as others may.
    func clutter() {
        seen.take(Array("\u{1b}[H$ clutter\u{1b}[5;5Hclutter".utf8))
    }

    /// Gives the terminal another size.
    func resize(rows: Int, columns: Int) {
        seen.resize(rows: rows, columns: columns)
        pty.resize(rows: rows, columns: columns)
    }

    /// Reads until something is so, which must come in time.
    func waitUntil(
        _ what: String, sourceLocation: SourceLocation = #_sourceLocation,
        _ isSo: (TerminalProgram) throws -> Bool
    ) throws {
        let end = ContinuousClock.now + .seconds(60)
        while try !isSo(self) {
            let isInTime = ContinuousClock.now < end
            try #require(
                isInTime, "\(what) does not come:\n\(text)\n\(pipedText)",
                sourceLocation: sourceLocation)
            read()
        }
    }

    /// Waits for the dashboard, and says on which port the relay listens.
    @discardableResult
    func waitForDashboard() throws -> UInt16 {
        // The last row shows the keys: then the whole frame is there.
        try waitUntil("the dashboard") { $0.seen.text(row: $0.seen.rows - 1).contains("Quit") }
        let title = try #require(seen.text(row: 0).firstMatch(of: #/127\.0\.0\.1:(\d+) /#))
        return try #require(UInt16(title.1))
    }

    /// Waits for a line of the log of a headless relay, and says on which port it listens.
    @discardableResult
    func waitForLog() throws -> UInt16 {
        let pattern = #/listening address=127\.0\.0\.1:(\d+) /#
        func logged(_ program: TerminalProgram) -> Substring? {
            (program.seen.text.joined() + program.pipedText).firstMatch(of: pattern)?.1
        }
        try waitUntil("the log") { logged($0) != nil }
        return try #require(logged(self).flatMap { UInt16($0) })
    }

    /// How it ends, which it must in time; all that it wrote has been read then.
    func waitForEnd(sourceLocation: SourceLocation = #_sourceLocation) throws -> Ending {
        if let ending { return ending }
        try waitUntil("the end", sourceLocation: sourceLocation) {
            $0.life.waitUntilReadable(milliseconds: 0)
        }
        seen.take(pty.readAll() ?? [])
        read()
        let ending = reap(process)
        self.ending = ending
        return ending
    }

    /// How it ends while nobody reads, which it must in time.
    func waitForEndUnread() throws -> Ending {
        try #require(life.waitUntilReadable(milliseconds: 60_000), "the process does not end")
        let ending = reap(process)
        self.ending = ending
        return ending
    }

    /// That the terminal is as it was before the program came.
    func expectRestored(sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(pty.mode == modeBefore, sourceLocation: sourceLocation)
        #expect(!seen.isAlternate && seen.isCursorShown, sourceLocation: sourceLocation)
        #expect(seen.strange == [], sourceLocation: sourceLocation)
        #expect(seen.region == 0...seen.rows - 1, sourceLocation: sourceLocation)
        // Whoever writes next writes plainly, from the beginning of a row.
        var after = seen
        after.take(Array("\rx".utf8))
        #expect(
            after[after.cursor.row, 0] == VirtualTerminal.Place(character: "x"),
            sourceLocation: sourceLocation)
    }
}
