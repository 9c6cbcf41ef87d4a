internal import FoundationEssentials
internal import Glibc

/// Where the control socket is when nobody says so: in /run/quic-relay if that can be written, else
/// in `quic-relay` in the user's runtime directory (XDG_RUNTIME_DIR).
///
/// The first relay of a machine has `control.sock`, another one `control-<port>.sock` beside it.
public enum ControlPaths {
    private static let systemDirectory = "/run/quic-relay"
    private static let firstName = "control.sock"

    /// The directories, the preferred one first.
    private static func directories(_ runtimeDirectory: String?) -> [String] {
        let user = runtimeDirectory.flatMap { $0.hasPrefix("/") ? "\($0)/quic-relay" : nil }
        return [systemDirectory] + (user.map { [$0] } ?? [])
    }

    /// The path for a new relay's socket, in a directory that is made if it can be; none if there
    /// is no place for it.
    public static func path(port: UInt16, runtimeDirectory: String?) -> String? {
        for directory in directories(runtimeDirectory) {
            let mode: mode_t = directory == systemDirectory ? 0o755 : 0o700
            // Sound: paths are read as C strings during the call.
            _ = systemCall { unsafe Int(mkdir(directory, mode)) }
            guard unsafe access(directory, W_OK | X_OK) == 0 else { continue }
            ControlListener.removeDead(sockets(in: directory), in: directory)
            let first = "\(directory)/\(firstName)"
            return ControlListener.isAlive(first) ? "\(directory)/control-\(port).sock" : first
        }
        return nil
    }

    /// The path of the one relay that runs on this machine, as far as this user can see.
    public static func path(
        ofRelayIn runtimeDirectory: String?
    ) throws(ControlClientError) -> String {
        let directories = directories(runtimeDirectory)
        var refused: String?
        var alive: [String] = []
        for path in directories.flatMap(sockets) {
            switch ControlSocket.attempt(path) {
            case .done: alive.append(path)
            case .failed(let errno) where errno.code == EAGAIN: alive.append(path)
            case .failed(let errno) where errno.code == EACCES: refused = path
            case .failed: continue
            }
        }
        if let path = alive.first, alive.count == 1 { return path }
        guard alive.isEmpty else { throw .several(alive.map(described)) }
        if let refused { throw .notPermitted(refused) }
        throw .noRelay(
            "no relay's control socket in \(directories.joined(separator: " or ")); "
                + "--control PATH says where else")
    }

    private static func sockets(in directory: String) -> [String] {
        do {
            return try FileManager.default.contentsOfDirectory(atPath: directory)
                .filter { $0.hasPrefix("control") && $0.hasSuffix(".sock") }
                .sorted().map { "\(directory)/\($0)" }
        } catch {
            return []
        }
    }

    /// A path, and the address of the relay there.
    private static func described(_ path: String) -> String {
        do {
            return try "\(path) (\(ControlClient(path).greeting.address))"
        } catch {
            return path
        }
    }
}
