internal import CLinux

/// What a relay does without once it has its sockets, so that whoever finds a hole in it finds
/// little behind that (Documentation/decisions/0031-sandbox.md).
///
/// There is no way out: what is given up here is given up for the program, too, that the relay
/// hands over to.
public enum Sandbox {
    /// What is left of the superuser's rights, as far as the process had them (capabilities(7)).
    public struct Rights: OptionSet, Sendable {
        /// The system's numbers, a bit each.
        public let rawValue: UInt64

        /// Takes the system's numbers.
        public init(rawValue: UInt64) { self.rawValue = rawValue }

        /// CAP_CHOWN: to give the control socket's file to a group.
        public static let changingGroups = Rights(rawValue: 1 << 0)
        /// CAP_DAC_OVERRIDE: to write the state into a directory that is another user's, and to
        /// read the secrets and the configuration again.
        public static let othersFiles = Rights(rawValue: 1 << 1)
        /// CAP_NET_BIND_SERVICE: to serve the metrics on a port below 1024.
        public static let lowPorts = Rights(rawValue: 1 << 10)
        /// CAP_BPF: to load the overload filter when it is needed.
        public static let loadingFilters = Rights(rawValue: 1 << 39)
    }

    /// Gives everything up but these rights, in all threads. What the system does not let us give
    /// up is told: the relay does as well with it.
    public static func enter(keeping rights: Rights) -> [SystemError] {
        var failures: [SystemError] = []
        func attempt(_ operation: String, _ subject: String, _ call: () -> Int) {
            do throws(SystemError) {
                try systemCall(operation, subject, call)
            } catch {
                failures.append(error)
            }
        }
        attempt("prctl", "PR_SET_NO_NEW_PRIVS") { Int(clinux_forbid_privileges()) }
        if !Rights(rawValue: clinux_capabilities()).isSubset(of: rights) {
            attempt("capset", "capabilities") { Int(clinux_keep_capabilities(rights.rawValue)) }
        }
        // One that took over from another relay is in its sandbox. They would pile up.
        if clinux_is_confined() == 0 {
            attempt("seccomp", "system calls") { Int(clinux_confine()) }
        }
        return failures
    }

    /// Whether this process is in one, its own or that of a relay before it.
    public static var isEntered: Bool { clinux_is_confined() != 0 }
}
