internal import RelayCore

/// What the relay tells systemd: lines of `NAME=value` in one datagram (sd_notify(3)).
struct NotifyMessage: Equatable, Sendable {
    /// The lines, without a newline after the last.
    let text: String

    /// What a status line may hold; systemctl(1) shows one line of a terminal.
    private static let statusLimit = 200

    /// The relay forwards; also the end of a reload.
    static let ready = NotifyMessage(text: "READY=1")
    /// It is about to end.
    static let stopping = NotifyMessage(text: "STOPPING=1")
    /// It made progress, and is not to be restarted.
    static let watchdog = NotifyMessage(text: "WATCHDOG=1")
    /// Everything that was sent before has been read once the descriptor that comes with this is
    /// closed (sd_notify_barrier(3)).
    static let barrier = NotifyMessage(text: "BARRIER=1")

    /// It reads its configuration again. The time, on the machine's clock and not on ours, tells
    /// systemd which of several reloads ends with the next `ready`.
    static func reloading(machineMicroseconds: UInt64) -> NotifyMessage {
        NotifyMessage(text: "RELOADING=1\nMONOTONIC_USEC=\(machineMicroseconds)")
    }

    /// Another process is the service from now on.
    static func mainProcess(_ process: Int32) -> NotifyMessage {
        NotifyMessage(text: "MAINPID=\(process)")
    }

    /// What `systemctl status` shows. A newline in it would begin another message.
    static func status(_ line: String) -> NotifyMessage {
        let printable = line.unicodeScalars.map { $0.properties.isPrintable ? Character($0) : " " }
        return NotifyMessage(text: "STATUS=" + String(printable.prefix(statusLimit)))
    }

    /// It takes its time to start or stop, and is not to be killed before that is over.
    static func extendTimeout(nanoseconds: UInt64) -> NotifyMessage {
        NotifyMessage(text: "EXTEND_TIMEOUT_USEC=\(nanoseconds / Nanoseconds.perMicrosecond)")
    }

    /// Keeps the descriptor that comes with it until the next start. Without FDPOLL=0 systemd would
    /// drop it once the socket reports an error, after which a UDP socket is as good as before.
    static func store(as name: String) -> NotifyMessage {
        NotifyMessage(text: "FDSTORE=1\nFDNAME=\(name)\nFDPOLL=0")
    }

    /// Keeps what was stored under a name no longer.
    static func removeStored(_ name: String) -> NotifyMessage {
        NotifyMessage(text: "FDSTOREREMOVE=1\nFDNAME=\(name)")
    }
}

extension Unicode.Scalar.Properties {
    fileprivate var isPrintable: Bool {
        switch generalCategory {
        case .control, .lineSeparator, .paragraphSeparator, .format: false
        default: true
        }
    }
}
