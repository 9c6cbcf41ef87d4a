/// The control socket's protocol and its limits (Documentation/control.md).
public enum ControlProtocol {
    /// Changes when a client that knows the former version could not work any more. New requests
    /// and new fields do not change it.
    public static let version = 1

    /// A request's line, without its end.
    public static let requestByteLimit = 64 << 10
    /// An answer's line: more than 1,024 sessions of 2 KiB each.
    public static let answerByteLimit = 4 << 20

    /// Clients at once, on both sockets together.
    public static let clientLimit = 64
    /// Requests of one client that are under way or wait; an event subscription counts as one.
    public static let requestLimit = 16
    /// Bytes that wait for one client to read them. A client that has as many gets no more answers
    /// until it reads; with one answer more, 64 clients can hold 64 × 5 MiB.
    public static let unsentByteLimit = 1 << 20
    /// How long a client may take none of the bytes that wait for it, until it is dropped.
    public static let stallSeconds = 10

    /// Sessions in a line of a list.
    public static let rowLimit = 256
    /// Sessions in a view, which is one line: more than three times as many as a screen has rows.
    public static let viewLimit = 1_024
    /// Sessions that one `evict` or `undo_evict` may name.
    public static let evictionLimit = 256
    /// Events in a line of an answer.
    public static let eventLimit = 256

    /// The least time between two views of one client: more than twice as often as a key repeats,
    /// and each press is seen at once.
    static let viewIntervalNanoseconds: UInt64 = 10_000_000
    /// The age that a picture may have to be shown to another client, too.
    static let sharedAgeNanoseconds: UInt64 = 50_000_000
    /// Pictures that are kept: the one that is made, the latest, and older ones that clients still
    /// look at. Each takes what `RelaySnapshot.byteCount` says, as far as it is used.
    static let pictureLimit = 4
    /// Lists of sessions that are being written at once. Each has its rows for itself, 448 B each.
    static let listLimit = 2
    /// How long a command's effect is waited for. The relay takes a command within 100 ms.
    static let effectNanoseconds: UInt64 = 1_000_000_000
    /// How long a picture is waited for.
    static let pictureNanoseconds: UInt64 = 5_000_000_000
}

/// What is wrong with a request, or with its client.
public enum ControlErrorCode: String, Codable, CaseIterable, Sendable {
    /// The line is no JSON object with an id and a request.
    case badRequest = "bad_request"
    /// There is no such request.
    case unknownRequest = "unknown_request"
    /// A field of the request has a value that it cannot have, or is missing.
    case badField = "bad_field"
    /// The line is too long; the connection is closed.
    case lineTooLong = "line_too_long"
    /// More requests are under way than one client may have.
    case tooManyRequests = "too_many_requests"
    /// More clients are connected than there may be; the connection is closed.
    case tooManyClients = "too_many_clients"
    /// The client's user may not use the socket; the connection is closed.
    case notPermitted = "not_permitted"
    /// This socket, or this client, takes no commands.
    case readOnly = "read_only"
    /// No session has this id, or one that begins so.
    case notFound = "not_found"
    /// Several sessions' ids begin so.
    case ambiguous
    /// The relay took the command, but its effect was not seen in time.
    case unconfirmed
    /// The relay does not answer, or has no room for a command.
    case unavailable
    /// The picture whose rows were wanted is no longer kept.
    case pictureGone = "picture_gone"
}

/// Why a request was not done.
public struct ControlFailure: Codable, Equatable, Error, Sendable, CustomStringConvertible {
    /// What programs read.
    public var code: ControlErrorCode
    /// What people read: one line.
    public var message: String

    /// A reason.
    public init(_ code: ControlErrorCode, _ message: String) {
        self.code = code
        self.message = message
    }

    /// The line for people.
    public var description: String { message }
}
