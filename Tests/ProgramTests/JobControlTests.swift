import Glibc
import TestSupport
import Testing

@Suite("The dashboard under a shell's job control", .serialized)
struct JobControlTests {
    /// Waits until something is so of a process that says nothing.
    private func waitUntil(_ what: String, _ isSo: () -> Bool) throws {
        let end = ContinuousClock.now + .seconds(60)
        while !isSo() {
            let isInTime = ContinuousClock.now < end
            try #require(isInTime, "\(what) does not come")
            usleep(10_000)
        }
    }

    /// How a process is: R, S, T for stopped, and so on (proc_pid_stat(5)).
    private func state(of process: pid_t) -> Character? {
        let text = openFile("/proc/\(process)/stat").map {
            String(decoding: $0.read(), as: UTF8.self)
        }
        return text?.split(separator: ")").last?.first { $0 != " " }
    }

    /// Ctrl-Z, and a TSTP from elsewhere, would stop the relay as well.
    @Test func theRelayIsNotSuspended() throws {
        let program = try TerminalProgram()
        var pair = try Pair(port: program.waitForDashboard())
        program.signal(SIGTSTP)
        program.signal(SIGTTIN)
        program.signal(SIGTTOU)
        program.pty.type("\u{1a}")
        try program.waitUntil("the message") { $0.text.contains("suspending would stop the relay") }
        for _ in 0..<20 { try pair.exchange() }
        #expect(!hasStopped(program.process))
        program.pty.type("qs")
        #expect(try program.waitForEnd() == .exit(0))
        program.expectRestored()
    }

    /// Nobody can refuse STOP. Afterwards all is drawn anew, whatever is on the terminal by then.
    @Test func afterAStopTheScreenIsDrawnAnew() throws {
        let program = try TerminalProgram()
        var pair = try Pair(port: program.waitForDashboard())
        program.signal(SIGSTOP)
        try waitUntil("the stop") { hasStopped(program.process) }
        _ = program.readAll()
        program.clutter()
        #expect(program.seen.text(row: 0).hasPrefix("$ clutter"))
        program.signal(SIGCONT)
        try program.waitUntil("a new screen") {
            $0.seen.text(row: 0).hasPrefix("quic-relay") && !$0.text.contains("clutter")
        }
        #expect(program.pty.isRaw && program.seen.isAlternate && program.seen.strange == [])
        for _ in 0..<20 { try pair.exchange() }
        program.pty.type("qs")
        #expect(try program.waitForEnd() == .exit(0))
        program.expectRestored()
    }

    /// A shell takes the terminal from a job that is stopped, and gives it back with fg; with bg
    /// the relay goes on, and leaves the terminal to the shell.
    @Test func inTheBackgroundItLeavesTheTerminalAloneUntilItComesBack() throws {
        let program = try TerminalProgram(
            columns: 100,
            shell: """
                set -m; "$@"; stty sane; printf '\\r\\nstopped'; read a
                bg; printf '\\r\\naway'; read b; fg; exit 3
                """)
        var pair = try Pair(port: program.waitForDashboard())
        let relay = try #require(program.children.first)
        program.signal(SIGSTOP, to: relay)
        try program.waitUntil("the shell") { $0.text.contains("stopped") }
        // The shell's own modes: a line is typed, as to any shell.
        program.pty.type("\n")
        try program.waitUntil("bg") { $0.text.contains("away") }
        for _ in 0..<50 { try pair.exchange() }
        #expect(state(of: relay) != "T")
        let before = program.readAll()
        try DashboardCrashTests.expectToRest(relay)
        #expect(program.readAll() == before, "it draws on a terminal that is the shell's")
        #expect(!program.pty.isRaw)
        program.pty.type("\n")
        try program.waitUntil("a new screen") {
            $0.seen.text(row: 0).hasPrefix("quic-relay") && !$0.text.contains("away")
        }
        try waitUntil("the mode") { program.pty.isRaw }
        for _ in 0..<20 { try pair.exchange() }
        program.pty.type("qs")
        #expect(try program.waitForEnd() == .exit(3))
        program.expectRestored()
    }

    @Test func endedInTheBackgroundItLeavesTheShellItsModes() throws {
        let program = try TerminalProgram(
            columns: 100,
            shell: """
                set -m; "$@"; stty sane; stty -icanon -echo; bg; printf '\\r\\naway'; read b; exit 3
                """)
        try program.waitForDashboard()
        let relay = try #require(program.children.first)
        program.signal(SIGSTOP, to: relay)
        try program.waitUntil("bg") { $0.text.contains("away") }
        try waitUntil("that it goes on") { state(of: relay) == "S" }
        let mode = program.pty.mode
        program.signal(SIGTERM, to: relay)
        try waitUntil("its end") { program.children.isEmpty || state(of: relay) == "Z" }
        #expect(program.pty.mode == mode)
        _ = program.readAll()
        #expect(!program.seen.isAlternate)
        program.pty.type("\n")
        #expect(try program.waitForEnd() == .exit(3))
    }

    /// A dashboard of a relay in another process can be suspended, and leaves the terminal whole
    /// meanwhile.
    @Test func anAttachedDashboardIsSuspended() throws {
        let program = try TerminalProgram("relay-breakdown", ["attached"])
        try program.waitForDashboard()
        for _ in 0..<2 {
            program.pty.type("\u{1a}")
            try waitUntil("the stop") { hasStopped(program.process) }
            _ = program.readAll()
            program.expectRestored()
            program.clutter()
            program.resize(rows: 30, columns: 90)
            program.signal(SIGCONT)
            try program.waitForDashboard()
            #expect(!program.text.contains("clutter"))
            #expect(program.pty.isRaw && program.seen.isAlternate)
            program.resize(rows: 24, columns: 80)
            try program.waitForDashboard()
        }
        program.pty.type("q")
        #expect(try program.waitForEnd() == .exit(0))
        program.expectRestored()
    }
}
