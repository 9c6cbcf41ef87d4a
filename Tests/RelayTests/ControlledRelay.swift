import FoundationEssentials
import Glibc
import Logging
import RelayCore
import Testing

@testable import Relay

/// A relay with control sockets in a directory of its own.
final class ControlledRelay {
    let service: RelayService
    let directory: String
    private let thread = ServiceThread()
    private(set) var server: ControlServer?
    private var peers: [TestSocket] = []

    var path: String { "\(directory)/control.sock" }
    var readOnlyPath: String { "\(directory)/read-only.sock" }

    init(sessionLimit: Int = 1_000) throws {
        directory = "/tmp/quic-relay-control-\(getpid())-\(UInt32.random(in: .min ... .max))"
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: false)
        service = try RelayService(
            RelayConfiguration(sessionLimit: sessionLimit),
            socket: SocketConfiguration(
                address: IPAddress(v4: 0x7f00_0001), port: 0, receiveBufferBytes: 100_000),
            logLevel: .info)
        try serve()
    }

    /// Serves the sockets, again if that was ended.
    func serve() throws {
        let configuration = ControlServer.Configuration(
            programVersion: "1.2.3", path: path, readOnlyPath: readOnlyPath, group: nil,
            sessionLimit: 1_000, limits: { ["session-limit": 1_000] }, reload: try Reload())
        server = try ControlServer(
            service, on: thread, configuration,
            log: ServiceLog(Logger(label: "test"), isMuted: true) { .info })
    }

    /// Ends the sockets, and not the relay.
    func endServing() {
        server?.stop()
        server = nil
    }

    func end() throws {
        endServing()
        thread.stop()
        service.stop()
        try FileManager.default.removeItem(atPath: directory)
    }

    /// Opens a session with both peers.
    func open(_ id: SessionID) throws {
        for _ in 0..<2 {
            let peer = try TestSocket("127.0.0.1")
            peer.send(registrationLine(id), to: service.socket.address)
            #expect(peer.receive()?.bytes == Array("ACK\n".utf8))
            peers.append(peer)
        }
    }

    /// A client that speaks as it likes.
    func client(readOnly: Bool = false) throws -> RawClient {
        try RawClient(readOnly ? readOnlyPath : path)
    }
}

/// One end of a control socket, for what no client of ours would say.
final class RawClient {
    let socket: ControlSocket
    private let coding = ControlCoding()
    private var lines: [[UInt8]] = []
    private var isOver = false

    init(_ path: String) throws {
        socket = try ControlSocket(path)
    }

    func send(_ text: String) throws { try socket.send(Array(text.utf8)) }

    /// The next line; nothing if the relay has closed the connection.
    func answer() throws -> ControlAnswer? {
        while lines.isEmpty, !isOver {
            try #require(waitUntilReadable(socket.descriptor))
            do {
                try socket.flush()
                lines += try socket.lines()
            } catch {
                isOver = true
            }
        }
        guard !lines.isEmpty else { return nil }
        let answer = coding.value(ControlAnswer.self, of: lines.removeFirst())
        #expect(answer != nil, "a line that is no answer")
        return answer
    }

    /// What one request is answered.
    func ask(_ text: String) throws -> ControlAnswer {
        try send(text + "\n")
        let answer = try answer()
        return try #require(answer)
    }
}
