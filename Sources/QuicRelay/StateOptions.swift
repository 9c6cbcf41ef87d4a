import ArgumentParser
import Glibc
import Relay
import RelayCore

/// What the relay keeps for after a restart.
struct StateOptions: NamedOptions {
    static let valueOptions = ["state-dir"]
    static let flagOptions: [String] = []

    @Option(
        help: ArgumentHelp(
            "Write the sessions down here, every second if they are not very many, and go on "
                + "with them after a restart.",
            valueName: "dir"))
    var stateDir: String?

    /// The directory, if there is to be one; ends the program if it is not to be had.
    func directory(inheritedLock: Int32?) throws -> StateDirectory? {
        guard let path = stateDir, !path.isEmpty else { return nil }
        do throws(StateDirectoryError) {
            return try StateDirectory(path, inheritedLock: inheritedLock)
        } catch {
            let code =
                switch error {
                case .inUse: EX_UNAVAILABLE
                case .system(let error): error.exitCode
                }
            QuicRelay.fail("--state-dir \(path): \(error)", code: code)
        }
    }
}

/// The state that a relay begins with: handed over, from a file, or none.
struct InitialState {
    private(set) var start = RelayStart()
    private let directory: StateDirectory?
    /// What is wrong with the file, if anything is.
    private var fault: String?

    /// Takes what an old relay hands over, once it does, or reads the directory's file.
    init(
        _ inheritance: Inheritance?, _ directory: StateDirectory?, adopted: Int32?
    ) throws(InheritanceError) {
        self.directory = directory
        start.keepsState = directory != nil
        start.socket = adopted
        if let inheritance {
            start.checkpoint = try inheritance.receive()
            start.socket = inheritance.socket
            start.otherSockets = inheritance.otherSockets
            start.origin = .handover
            start.startsPaused = true
        } else if let directory {
            read(directory)
        }
    }

    private mutating func read(_ directory: StateDirectory) {
        let bytes: [UInt8]?
        do throws(SystemError) {
            bytes = try directory.read()
        } catch {
            fault = error.description
            return
        }
        guard let bytes else { return }
        do throws(CheckpointError) {
            start.checkpoint = try StoredCheckpoint(bytes)
        } catch {
            fault = error.description
        }
    }

    /// The same for a terminal.
    static func line(_ fields: [String: String]) -> String {
        fields.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            .joined(separator: ", ") + " (state ignored)"
    }

    /// Keeps a file that the relay could not use aside, and says so in one line.
    func report(_ outcome: RestorationOutcome, say: (_ fields: [String: String]) -> Void) {
        var reason = fault
        if case .refused(let error) = outcome { reason = error.description }
        guard let reason, let directory else { return }
        var fields = ["file": directory.statePath, "reason": reason]
        do throws(SystemError) {
            fields["kept_as"] = try directory.setAside()
        } catch {
            fields["not_kept"] = error.description
        }
        say(fields)
    }
}
