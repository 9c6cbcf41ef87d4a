import Glibc
import TestSupport
import Testing

/// A crash in the drawing code ends the dashboard, and nothing else.
@Suite("A dashboard that crashes", .serialized)
struct DashboardCrashTests {
    /// That the relay does not use its processor for nothing: less than a tenth of two seconds.
    static func expectToRest(_ process: pid_t) throws {
        let before = try processorTime(process)
        let end = ContinuousClock.now + .seconds(2)
        while ContinuousClock.now < end { usleep(10_000) }
        let used = try processorTime(process) - before
        #expect(used < 20, "\(used) hundredths of a second in two")
    }

    /// Lets the dashboard crash while a pair talks, which it goes on doing.
    private func crash(
        _ program: TerminalProgram, signals: [String], _ happen: () throws -> Void
    ) throws {
        let port = try program.waitForDashboard()
        var pair = try Pair(port: port)
        for _ in 0..<20 { try pair.exchange() }
        try happen()
        try program.waitUntil("the crash") { $0.text.contains("dashboard_crashed") }
        try program.waitForLog()
        for _ in 0..<200 { try pair.exchange() }
        let line = try #require(program.seen.text.first { $0.contains("dashboard_crashed") })
        #expect(line.contains(" error dashboard_crashed relay=\"goes on headless\" signal="))
        #expect(signals.contains { line.hasSuffix("signal=\($0)") }, "\(line)")
        program.expectRestored()
        // Neither a repeated hang-up nor a new size of the terminal ends it.
        for signal in [SIGHUP, SIGWINCH, SIGCONT, SIGHUP] { program.signal(signal) }
        for _ in 0..<20 { try pair.exchange() }
        try Self.expectToRest(program.process)
        // A new session is served and logged as ever.
        _ = try Pair(port: port, id: "00000000-0000-4000-8000-00000000beef")
        try program.waitUntil("its line") { $0.text.contains("session_paired") }
        program.signal(SIGTERM)
        #expect(try program.waitForEnd() == .exit(EX_SOFTWARE))
        program.expectRestored()
        #expect(program.text.contains(" forwarded=\(2 * pair.count + 4) "), "\(program.text)")
        #expect(!program.text.contains("events_lost"), "what was shown is not lost")
    }

    /// The program as it is: the library that it draws with is cut under its feet, so that the next
    /// frame runs into nothing (SIGBUS, mmap(2)).
    @Test func theRelayGoesOnWhenTheLibraryThatDrawsIsLost() throws {
        let folder = try #require(makeDirectory())
        defer { removeDirectory(folder) }
        let library = try #require(
            libraryPath("libncursesw.so.6"), "the program does not use libncursesw.so.6")
        let copy = "\(folder)/libncursesw.so.6"
        #expect(copyFile(library, to: copy))
        let program = try TerminalProgram(
            rows: 30, columns: 250,
            environment: [
                "LD_LIBRARY_PATH": [folder, variable("LD_LIBRARY_PATH")].compactMap { $0 }
                    .joined(separator: ":"),
                // What is called later is looked up in all libraries, and one of them is cut.
                "LD_BIND_NOW": "1",
            ])
        try crash(program, signals: ["SIGBUS", "SIGSEGV"]) { #expect(truncate(copy, 0) == 0) }
    }

    @Test(
        arguments: [
            ("trap", ["SIGILL", "SIGTRAP"]), ("picture", ["SIGILL", "SIGTRAP"]),
            ("access", ["SIGSEGV"]), ("recursion", ["SIGSEGV"]), ("abort", ["SIGABRT"]),
        ])
    func theRelayGoesOnWhateverBreaks(word: String, signals: [String]) throws {
        let program = try TerminalProgram("relay-breakdown", [word], rows: 30, columns: 250)
        try crash(program, signals: signals) { program.pty.type("l") }
        if word == "trap" || word == "picture" {
            #expect(program.text.contains("Index out of range"), "\(program.text)")
        }
    }

    /// What another process sends is meant for the process, whichever thread gets it.
    @Test func aSignalFromOutsideAfterTheCrashEndsIt() throws {
        let program = try TerminalProgram("relay-breakdown", ["trap"], rows: 30, columns: 250)
        try program.waitForDashboard()
        program.pty.type("l")
        try program.waitForLog()
        program.signal(SIGSEGV)
        #expect(try program.waitForEnd() == .signal(SIGSEGV))
        program.expectRestored()
    }
}
