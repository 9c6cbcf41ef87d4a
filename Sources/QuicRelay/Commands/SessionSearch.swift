import Glibc
import Relay
import RelayCore

/// Finds the sessions that a command is for.
struct SessionSearch {
    let client: ControlClient
    /// Whether the command is for evicted sessions, or for the others.
    let isForEvicted: Bool

    /// The sessions with these ids, or with ids that begin so, each of which must be one session's.
    func sessions(_ names: [String]) throws -> [SessionReport] {
        var found: [SessionReport] = []
        for name in names {
            let sessions = try matches("id:\(name)", limit: 20)
            guard sessions.count <= 1 else {
                let ids = sessions.map(\.id).joined(separator: "\n  ")
                QuicRelay.fail(
                    "several sessions' ids begin with \(name):\n  \(ids)", code: EX_USAGE)
            }
            guard let session = sessions.first else {
                let what = isForEvicted ? "evicted session" : "session"
                QuicRelay.fail("there is no \(what) whose id begins with \(name)", code: 1)
            }
            if !found.contains(where: { $0.id == session.id }) { found.append(session) }
        }
        return found
    }

    /// The sessions one of whose peers is at an IP address.
    func sessions(at ip: IPAddress) throws -> [SessionReport] {
        try matches("peer:\(ip)", limit: nil).filter { session in
            [session.a.address, session.b.address].contains { address in
                address.flatMap { TransportAddress($0) }?.ip == ip
            }
        }
    }

    private func matches(_ filter: String, limit: Int?) throws -> [SessionReport] {
        var request = ControlRequest(.sessions)
        request.filter = filter
        request.includeEvicted = isForEvicted
        request.limit = isForEvicted ? nil : limit
        var found: [SessionReport] = []
        try client.ask(request) { answer in
            found += answer.sessions?.sessions ?? []
            return true
        }
        return found.filter { ($0.state == "evicted") == isForEvicted }
    }
}

/// Ids for a shell to complete. Whatever goes wrong, there are none.
enum SessionIDCompletion {
    /// Of sessions that are not evicted.
    static let live: @Sendable ([String], Int, String) -> [String] = { words, _, beginning in
        ids(words, beginning, isForEvicted: false)
    }

    /// Of evicted ones.
    static let evicted: @Sendable ([String], Int, String) -> [String] = { words, _, beginning in
        ids(words, beginning, isForEvicted: true)
    }

    /// More would be no help.
    private static let limit = 200

    private static func ids(
        _ words: [String], _ beginning: String, isForEvicted: Bool
    ) -> [String] {
        do {
            let path = words.firstIndex(of: "--control").flatMap { index in
                index + 1 < words.count ? words[index + 1] : nil
            }
            var request = ControlRequest(.sessions)
            request.includeEvicted = isForEvicted
            request.limit = limit
            if beginning.allSatisfy(\.isHexDigit), !beginning.isEmpty {
                request.filter = "id:\(beginning)"
            }
            var ids: [String] = []
            try ClientOptions.connect(to: path).ask(request) { answer in
                let sessions = answer.sessions?.sessions ?? []
                ids += sessions.filter { ($0.state == "evicted") == isForEvicted }.map(\.id)
                return true
            }
            return ids
        } catch {
            return []
        }
    }
}
