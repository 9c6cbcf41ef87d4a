import Relay
import RelayCore

extension Serve {
    /// Does without what is not needed any more, if that is wanted; what did not work.
    func enterSandbox() -> [SystemError] {
        operation.noSandbox ? [] : Sandbox.enter(keeping: rightsNeededLater)
    }

    /// The superuser's rights that one of the options needs after the start.
    private var rightsNeededLater: Sandbox.Rights {
        var rights: Sandbox.Rights = [.othersFiles]
        if control.controlGroup != nil { rights.insert(.changingGroups) }
        if !network.noOverloadFilter { rights.insert(.loadingFilters) }
        // A hand-over opens them anew. The relay's own socket is handed over.
        if let port = metrics.metricsAddress?.port, (1..<1_024).contains(port) {
            rights.insert(.lowPorts)
        }
        return rights
    }

    /// Says how the sandbox is not what it was to be.
    func reportSandbox(_ failures: [SystemError], to log: ServiceLog) {
        if !failures.isEmpty {
            let reasons = failures.map(\.description).joined(separator: "; ")
            log.log(.warning, "sandbox_incomplete", ["reason": reasons, "relay": "goes on"])
        }
        guard operation.noSandbox, Sandbox.isEntered else { return }
        log.log(
            .warning, "sandbox_inherited",
            ["reason": "--no-sandbox takes a restart after a relay that was in one"])
    }
}
