import Glibc
import RelayCore
import Testing

@testable import Relay

@Suite("Where a relay's state is kept")
struct StateDirectoryTests {
    private let parent = TemporaryDirectory()
    private var path: String { parent.path + "/state" }

    @Test func whatIsWrittenIsReadAndForTheOwnerAlone() throws {
        let directory = try StateDirectory(path)
        #expect(try directory.read() == nil)
        for bytes in [[1, 2, 3], [], [UInt8](repeating: 7, count: 200_000)] as [[UInt8]] {
            try directory.write(bytes)
            #expect(try directory.read() == bytes)
            #expect(mode(of: path + "/sessions.state") == 0o600)
        }
        #expect(mode(of: path) == 0o700)
        #expect(entries(of: path) == ["lock", "sessions.state"])
    }

    @Test func whereThereIsNothingToWriteTheFormerFileStays() throws {
        let directory = try StateDirectory(path)
        try directory.write([1, 2, 3])
        #expect(try directory.write { _ in nil } == nil)
        #expect(try directory.read() == [1, 2, 3])
        #expect(entries(of: path) == ["lock", "sessions.state"])
    }

    @Test func aFileThatCannotBeWrittenToItsEndIsNone() throws {
        let directory = try StateDirectory(path)
        try directory.write([1, 2, 3])
        let fault = SystemError(operation: "write", subject: "", errno: Errno(code: ENOSPC))
        #expect(throws: fault) {
            try directory.write { put throws(SystemError) in
                try put([4], 0)
                throw fault
            }
        }
        #expect(try directory.read() == [1, 2, 3])
        #expect(entries(of: path) == ["lock", "sessions.state"])
    }

    @Test func onlyOneRelayHasIt() throws {
        let directory = try StateDirectory(path)
        #expect(throws: StateDirectoryError.inUse(path: path, process: "\(getpid())")) {
            _ = try StateDirectory(path)
        }
        // A relay that is handed over to inherits the lock, whatever its number.
        let inherited = dup(directory.lockDescriptor)
        let heir = try StateDirectory(path, inheritedLock: inherited)
        try heir.write([1])
        // A lock of something else is none.
        let other = try StateDirectory(parent.path + "/other")
        #expect(throws: StateDirectoryError.self) {
            _ = try StateDirectory(path, inheritedLock: other.lockDescriptor)
        }
    }

    @Test func whatCannotBeUsedIsKeptAsideUpToALimit() throws {
        let directory = try StateDirectory(path)
        for number in 1...12 as ClosedRange<UInt8> {
            try directory.write([number])
            #expect(try directory.setAside() == path + "/sessions.state.bad-1")
            #expect(try directory.read() == nil)
        }
        let bad = (1...8).map { "sessions.state.bad-\($0)" }
        #expect(entries(of: path) == ["lock"] + bad)
        for (index, name) in bad.enumerated() {
            let file = try FileDescriptor(opening: path + "/" + name, O_RDONLY)
            #expect(try file.readAll(name, limit: 9) == [UInt8(12 - index)])
        }
    }

    @Test func whatIsNoDirectoryIsRefused() throws {
        let file = parent.path + "/file"
        _ = try FileDescriptor(opening: file, O_CREAT | O_WRONLY)
        for bad in [file, parent.path + "/no/where", ""] {
            #expect(throws: StateDirectoryError.self, "\(bad)") { _ = try StateDirectory(bad) }
        }
    }

    @Test func noLinkIsFollowed() throws {
        let directory = try StateDirectory(path)
        let target = parent.path + "/target"
        _ = try FileDescriptor(opening: target, O_CREAT | O_WRONLY)
        #expect(makeLink(path + "/sessions.state.new", to: target))
        #expect(throws: SystemError.self) { try directory.write([1, 2]) }
        // It was in the way, and is not any more.
        try directory.write([3])
        #expect(try directory.read() == [3])
        #expect(try FileDescriptor(opening: target, O_RDONLY).readAll("", limit: 9) == [])
    }
}

extension StateDirectory {
    /// Replaces the checkpoint by these bytes, in pieces, of which the first is put twice.
    fileprivate func write(_ bytes: [UInt8]) throws {
        let written = try write { put throws(SystemError) in
            let half = bytes.count / 2
            try put([UInt8](repeating: 0xee, count: half)[...], 0)
            try put(bytes[half...], half)
            try put(bytes[..<half], 0)
            return bytes.count
        }
        #expect(written == bytes.count)
    }
}
