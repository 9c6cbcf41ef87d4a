import Testing

/// What can be checked of CONTRIBUTING.md by reading the files.
struct StyleTests {
    /// Files that may contain `unsafe`, because they touch memory that somebody else laid out.
    private static let unsafeFiles: Set<String> = [
        // The one place in the core that owns memory, and those that ask it for untouched memory.
        "Sources/RelayCore/FixedStorage.swift", "Sources/RelayCore/EventLog.swift",
        "Sources/RelayCore/Checkpoint/LittleEndian.swift",
        "Sources/RelayCore/Checkpoint/RelayCheckpoint.swift",
        "Sources/RelayCore/ConnectionIDTable.swift",
        "Sources/RelayCore/Forwarder.swift", "Sources/RelayCore/ReceiveBatch.swift",
        "Sources/RelayCore/RelayEngine.swift", "Sources/RelayCore/RelaySnapshot.swift",
        "Sources/RelayCore/PrefixTable.swift", "Sources/RelayCore/RecordPool.swift",
        "Sources/RelayCore/SessionTable.swift", "Sources/RelayCore/SourceTable.swift",
        "Sources/RelayCore/TransmitPlan.swift",
        "Sources/RelayCore/Workers/ForwarderReplica.swift",
        // System calls.
        "Sources/Relay/Admission/AdmissionFilter.swift",
        "Sources/Relay/Agent/AgentConsole.swift", "Sources/Relay/Agent/AgentLoop.swift",
        "Sources/Relay/Agent/SecretFile.swift", "Sources/Relay/Agent/RelayResolver.swift",
        "Sources/Relay/Agent/WakeDescriptor.swift",
        "Sources/Relay/Configuration/Reload.swift",
        "Sources/Relay/DatagramSocket.swift", "Sources/Relay/EventReader.swift",
        "Sources/Relay/FileDescriptor.swift", "Sources/Relay/HeadlessRelay.swift",
        "Sources/Relay/HostName.swift", "Sources/Relay/LogOutput.swift",
        "Sources/Relay/Mailbox.swift", "Sources/Relay/Probe/ProbeSocket.swift",
        "Sources/Relay/MessageBatch.swift", "Sources/Relay/MessageCalls.swift",
        "Sources/Relay/MonotonicClock.swift", "Sources/Relay/OpenFileLimit.swift",
        "Sources/Relay/ReceiveBuffers.swift",
        "Sources/Relay/Restart/CheckpointExchange.swift",
        "Sources/Relay/Restart/HandoverChannel.swift", "Sources/Relay/Restart/Heir.swift",
        "Sources/Relay/Tokens/TokenSecrets.swift",
        "Sources/Relay/Restart/StateDirectory.swift", "Sources/Relay/Restart/StateKeeper.swift",
        "Sources/Relay/SignalDescriptor.swift", "Sources/Relay/SocketAddress.swift",
        "Sources/Relay/StandardOutput.swift",
        "Sources/Relay/Syscall.swift", "Sources/Relay/SystemThread.swift",
        "Sources/Relay/Metrics/ProcessFigures.swift",
        "Sources/Relay/Control/ControlListener.swift", "Sources/Relay/Control/ControlPaths.swift",
        "Sources/Relay/Control/ControlSocket.swift",
        "Sources/Relay/Systemd/NotifySocket.swift",
        "Sources/Relay/Workers/Bell.swift", "Sources/Relay/Workers/ReportRing.swift",
        "Sources/Relay/Workers/UpdateRing.swift",
        "Sources/Relay/Systemd/SystemdEnvironment.swift",
        "Sources/Relay/Systemd/SystemdNotifier.swift",
        "Sources/Relay/Records/AccountQueue.swift",
        "Sources/Relay/Budget/BudgetKeeper.swift", "Sources/Relay/Budget/BudgetStore.swift",
        "Sources/Relay/Records/SessionLogFile.swift",
        "Sources/Relay/Records/SessionRecorder.swift", "Sources/RelayCore/SessionAccount.swift",
        "Sources/RelayTUI/Dashboard.swift", "Sources/RelayTUI/Export.swift",
        "Sources/RelayTUI/Terminal.swift",
        "Sources/QuicRelay/Environment.swift",
    ]

    private static func swiftFiles() throws -> [SourceFile] {
        try ["Sources", "Tests"].flatMap {
            try SourceTree.files(below: $0, suffix: ".swift")
        }
    }

    @Test func filesAreShort() throws {
        for file in try Self.swiftFiles() {
            #expect(file.lines.count <= 501, "\(file.path): \(file.lines.count) lines, at most 500")
        }
    }

    @Test func linesAreShort() throws {
        for file in try Self.swiftFiles() {
            for (number, line) in file.lines.enumerated() where line.count > 100 {
                Issue.record("\(file.path):\(number + 1): \(line.count) columns, at most 100")
            }
        }
    }

    @Test func functionsAreShort() throws {
        var count = 0
        for file in try Self.swiftFiles() {
            let functions = functions(of: file)
            count += functions.count
            for function in functions where function.length > 70 {
                Issue.record(
                    "\(file.path):\(function.line): \(function.length) lines, at most 70")
            }
        }
        #expect(count > 300, "functions are not recognised any more")
    }

    @Test func unsafeStaysWhereItIsExpected() throws {
        for file in try SourceTree.files(below: "Sources", suffix: ".swift")
        where !Self.unsafeFiles.contains(file.path) {
            let users = file.code.filter { $0.text.contains(#/\bunsafe\b/#) }
            #expect(users.isEmpty, "\(file.path):\(users.map(\.number)): not on the list")
        }
        for path in Self.unsafeFiles {
            let file = try SourceTree.file(path)
            #expect(
                file.code.contains { $0.text.contains(#/\bunsafe|@unsafe|@safe\b/#) },
                "\(path): is on the list for nothing")
        }
    }

    @Test func forbiddenWordsAreAbsent() throws {
        let forbidden = ["try!", "as!", "nonisolated(unsafe)", "@unchecked Sendable"]
        for file in try Self.swiftFiles() where file.path.hasPrefix("Sources") {
            for line in file.code {
                for word in forbidden where line.text.contains(word) {
                    // Documentation/decisions/0003-fixed-storage.md
                    let isException =
                        word == "@unchecked Sendable"
                        && file.name == "FixedStorage.swift"
                    #expect(isException, "\(file.path):\(line.number): \(word)")
                }
            }
        }
    }

    @Test func nothingIsLeftForLater() throws {
        // Put together here so that this file does not contain the words itself.
        let marks = ["TO" + "DO", "FIX" + "ME", "XX" + "X"]
        for file in try Self.swiftFiles() {
            for (number, line) in file.lines.enumerated() {
                for mark in marks where line.contains(mark) {
                    Issue.record("\(file.path):\(number + 1): \(mark)")
                }
            }
        }
    }

    private struct Function {
        let line: Int
        let length: Int
    }

    /// Functions by their indentation, which swift-format keeps: from `func` or `init` to the brace
    /// in the same column.
    private func functions(of file: SourceFile) -> [Function] {
        var found: [Function] = []
        for (start, line) in file.lines.enumerated()
        where line.contains(#/^\s*([a-z@()]+ )*(func |init[(?<]|deinit)/#) {
            let indentation = line.prefix { $0 == " " }
            let end = file.lines[start...].firstIndex { $0 == indentation + "}" }
            let isOneLine = line.hasSuffix("}")
            if let end, !isOneLine {
                found.append(Function(line: start + 1, length: end - start + 1))
            }
        }
        return found
    }
}
