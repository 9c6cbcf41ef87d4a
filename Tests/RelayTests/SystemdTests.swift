import Glibc
import RelayCore
import Testing

@testable import Relay

@Suite("Messages to systemd")
struct NotifyMessageTests {
    @Test func theyAreLinesOfNamesAndValues() {
        #expect(
            NotifyMessage.reloading(machineMicroseconds: 1_234_567).text
                == "RELOADING=1\nMONOTONIC_USEC=1234567")
        #expect(NotifyMessage.mainProcess(42).text == "MAINPID=42")
        #expect(
            NotifyMessage.store(as: "udp-stored").text
                == "FDSTORE=1\nFDNAME=udp-stored\nFDPOLL=0")
        #expect(NotifyMessage.removeStored("x").text == "FDSTOREREMOVE=1\nFDNAME=x")
        #expect(
            NotifyMessage.extendTimeout(nanoseconds: 30_000_000_000).text
                == "EXTEND_TIMEOUT_USEC=30000000")
    }

    /// Whatever gets into it, a status line tells nothing else.
    @Test(arguments: ["a\nMAINPID=1", "a\rb", "a\u{2028}b", "a\0b", "\u{1b}[31m", "é\u{202e}x"])
    func aStatusIsOneLine(line: String) {
        let text = NotifyMessage.status(line).text
        #expect(text.hasPrefix("STATUS="))
        #expect(text.unicodeScalars.allSatisfy { $0.value >= 32 && $0 != "\u{2028}" })
        #expect(!text.unicodeScalars.contains("\u{202e}"))
    }

    @Test func aStatusIsShort() {
        let text = NotifyMessage.status(String(repeating: "ä", count: 10_000)).text
        #expect(text.count == 207)
    }

    @Test(arguments: ["/tmp/\(getpid())-notify", "@quic-relay-\(getpid())"])
    func aDescriptorGoesWithAMessage(path: String) throws {
        let receiver = try #require(UnixReceiver(path))
        let socket = try NotifySocket(path: path)
        let pipe = Pipe()
        for failure in [
            socket.send(.ready), socket.send(.store(as: "x"), with: pipe.writeEnd),
        ] { #expect(failure == nil) }
        #expect(receiver.next()?.text == "READY=1")
        let stored = try #require(receiver.next())
        #expect(stored.text == "FDSTORE=1\nFDNAME=x\nFDPOLL=0")
        let descriptor = try #require(stored.descriptor)
        writeBytes([65], to: descriptor)
        #expect(pipe.text() == "A")
        _ = close(descriptor)
    }

    @Test func whatWasSentHasBeenReadWhenTheBarrierFalls() throws {
        let path = "@quic-relay-barrier-\(getpid())"
        let receiver = try #require(UnixReceiver(path))
        let isRead = Flag()
        let reader = try SystemThread(name: "reader") {
            let first = receiver.next()
            #expect(first?.text == "MAINPID=7")
            isRead.set()
            let barrier = receiver.next()
            #expect(barrier?.text == "BARRIER=1")
            if let descriptor = barrier?.descriptor { _ = close(descriptor) }
        }
        let socket = try NotifySocket(path: path)
        let failure = socket.send(.mainProcess(7))
        #expect(failure == nil)
        let isUnderstood = socket.waitUntilRead()
        #expect(isUnderstood)
        #expect(isRead.isSet)
        reader.join()
    }

    @Test func nobodyThereIsAnError() throws {
        let socket = try NotifySocket(path: "/nonexistent/notify")
        let failure = socket.send(.ready)
        #expect(failure == Errno(code: ENOENT))
        let isRead = socket.waitUntilRead()
        #expect(!isRead)
        let long = try NotifySocket(path: "/" + String(repeating: "x", count: 200))
        let tooLong = long.send(.ready)
        #expect(tooLong == Errno(code: ENAMETOOLONG))
    }

    @Test(arguments: ["", "@", "notify", "vsock:2:1234"])
    func aPathThatIsNoneIsRefused(path: String) {
        #expect(throws: SystemError.self) { _ = try NotifySocket(path: path) }
    }
}

@Suite("What systemd passes")
struct SystemdEnvironmentTests {
    private func environment(_ variables: [String: String]) throws -> SystemdEnvironment {
        try SystemdEnvironment(variables: { variables[$0] }, process: 100)
    }

    @Test func withoutVariablesThereIsNothing() throws {
        let none = try environment([:])
        #expect(none.notifyPath == nil)
        #expect(none.watchdogNanoseconds == nil)
        #expect(none.sockets == .none)
        #expect(none.variablesForSuccessor.isEmpty)
        #expect(try environment(["NOTIFY_SOCKET": ""]).notifyPath == nil)
    }

    @Test(
        arguments: [
            ("30000000", nil, 30_000_000_000), ("30000000", "100", 30_000_000_000),
            ("30000000", "101", nil), ("0", nil, nil), ("-1", nil, nil), ("soon", nil, nil),
            ("18446744073709551615", nil, nil), ("1e6", nil, nil), ("", nil, nil),
        ] as [(String, String?, UInt64?)])
    func theWatchdogIsATimeForUs(microseconds: String, process: String?, expected: UInt64?) throws {
        var variables = ["WATCHDOG_USEC": microseconds]
        variables["WATCHDOG_PID"] = process
        #expect(try environment(variables).watchdogNanoseconds == expected)
    }

    @Test func aSuccessorIsToldWhatItNeeds() throws {
        let environment = try environment([
            "NOTIFY_SOCKET": "/run/systemd/notify", "WATCHDOG_USEC": "30000000",
            "WATCHDOG_PID": "100", "LISTEN_FDS": "1", "LISTEN_PID": "100",
        ])
        #expect(
            environment.variablesForSuccessor == [
                "NOTIFY_SOCKET": "/run/systemd/notify", "WATCHDOG_USEC": "30000000",
            ])
    }

    @Test func socketsHaveNumbersFromThreeAndNames() throws {
        let sockets = try environment([
            "LISTEN_FDS": "3", "LISTEN_PID": "100", "LISTEN_FDNAMES": "udp::control:more",
        ]).sockets.sockets
        #expect(sockets.map(\.descriptor) == [3, 4, 5])
        #expect(sockets.map(\.name) == ["udp", "", "control"])
        let unnamed = try environment(["LISTEN_FDS": "2", "LISTEN_PID": "100"]).sockets.sockets
        #expect(unnamed.map(\.name) == ["", ""])
    }

    @Test(arguments: ["101", "1", "2147483647"])
    func socketsOfAnotherProcessAreNotOurs(process: String) throws {
        #expect(
            try environment(["LISTEN_FDS": "x", "LISTEN_PID": process]).sockets == .none)
        #expect(try environment(["LISTEN_FDS": "1"]).sockets == .none)
        #expect(try environment(["LISTEN_PID": "100"]).sockets == .none)
    }

    @Test(arguments: [
        ("x", "100"), ("-1", "100"), ("65", "100"), ("", "100"), ("1 ", "100"), ("0x1", "100"),
        ("18446744073709551616", "100"), ("1", "x"), ("1", "0"), ("1", "-100"), ("1", ""),
    ])
    func anAnnouncementThatIsWrongIsAnError(count: String, process: String) {
        #expect(throws: PassedSockets.Mistake.self) {
            _ = try environment(["LISTEN_FDS": count, "LISTEN_PID": process])
        }
    }
}

@Suite("Choosing among passed sockets")
struct PassedSocketsTests {
    private static func configuration(_ port: Int) throws(SettingError) -> SocketConfiguration {
        try SocketConfiguration(address: IPAddress("127.0.0.1"), port: port)
    }

    /// A bound UDP socket that nobody closes but the one who chooses, and its port.
    private func bound() throws -> (descriptor: Int32, port: Int) {
        let descriptor = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        let address = TransportAddress(ip: try #require(IPAddress("127.0.0.1")), port: 0)
        let name = try #require(bindSocket(descriptor, to: address, family: .v4))
        return (descriptor, Int(name.port))
    }

    private func passed(_ sockets: (Int32, String)...) -> PassedSockets {
        PassedSockets(sockets.map { PassedSockets.Named(descriptor: $0.0, name: $0.1) })
    }

    @Test func noneMeansAnOwnOne() throws {
        let choice = try PassedSockets.none.choose(for: Self.configuration(4433))
        #expect(choice == SocketChoice())
        #expect(choice.origin == .own)
    }

    @Test(arguments: ["udp", "", "quic-relay.socket"])
    func theUnitsSocketWinsAndIsKeptFromChildren(name: String) throws {
        let udp = try bound()
        let sockets = passed((udp.descriptor, name))
        let same = try sockets.choose(for: Self.configuration(udp.port))
        #expect(same == SocketChoice(adopted: udp.descriptor, origin: .passed))
        let other = try sockets.choose(for: Self.configuration(udp.port ^ 1))
        #expect(
            other == SocketChoice(adopted: udp.descriptor, origin: .passed, isElsewhere: true))
        #expect(fcntl(udp.descriptor, F_GETFD) & FD_CLOEXEC != 0)
        _ = close(udp.descriptor)
    }

    @Test func aStoredSocketIsUsedWhereItFits() throws {
        let stored = try bound()
        let sockets = passed((stored.descriptor, "udp-stored"))
        for port in [0, stored.port] {
            let choice = try sockets.choose(for: Self.configuration(port))
            #expect(choice == SocketChoice(adopted: stored.descriptor, origin: .stored))
        }
        let every = try SocketConfiguration(address: nil, port: stored.port)
        let choice = try sockets.choose(for: every)
        #expect(choice == SocketChoice(hasOutdated: true))
        #expect(fcntl(stored.descriptor, F_GETFD) == -1, "it is closed")
    }

    @Test func theUnitsSocketWinsOverAStoredOne() throws {
        let (udp, stored) = (try bound(), try bound())
        let sockets = passed((udp.descriptor, "udp"), (stored.descriptor, "udp-stored"))
        let choice = try sockets.choose(for: Self.configuration(stored.port))
        #expect(
            choice
                == SocketChoice(
                    adopted: udp.descriptor, origin: .passed, isElsewhere: true,
                    hasOutdated: true))
        _ = close(udp.descriptor)
    }

    @Test func theControlSocketIsToldApart() throws {
        let (udp, control) = (try bound(), try bound())
        let sockets = passed((control.descriptor, "control"), (udp.descriptor, "quic-relay.socket"))
        let choice = try sockets.choose(for: Self.configuration(udp.port))
        #expect(choice.adopted == udp.descriptor)
        #expect(choice.control == control.descriptor)
        _ = close(udp.descriptor)
        _ = close(control.descriptor)
    }

    @Test func whatCannotBeToldApartIsAMistake() throws {
        let (one, other) = (try bound(), try bound())
        for names in [("udp", "udp"), ("udp", ""), ("a", "b"), ("control", "control")] {
            let sockets = passed((one.descriptor, names.0), (other.descriptor, names.1))
            #expect(throws: PassedSockets.Mistake.self) {
                _ = try sockets.choose(for: Self.configuration(4433))
            }
        }
        _ = close(one.descriptor)
        _ = close(other.descriptor)
    }

    @Test func whatIsNotOpenIsAMistake() throws {
        let error = PassedSockets.Mistake(
            description: "descriptor 1000000 'udp' was passed, but is not open")
        #expect(throws: error) {
            _ = try passed((1_000_000, "udp")).choose(for: Self.configuration(4433))
        }
    }
}
