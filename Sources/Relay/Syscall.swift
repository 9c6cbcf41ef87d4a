internal import Glibc

/// An error number of the system (errno(3)).
public struct Errno: Equatable, Sendable, CustomStringConvertible {
    /// The number.
    public let code: Int32

    /// Wraps an error number.
    public init(code: Int32) {
        self.code = code
    }

    /// The system's own words for it.
    public var description: String {
        // Sound: strerror returns a string that ends with a zero byte; it is copied at once. Only
        // unknown numbers are written into a shared buffer, and none of them comes from a system.
        unsafe String(cString: strerror(code))
    }
}

/// A system call that failed where that ends what was being done: opening, binding, starting.
public struct SystemError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was attempted, such as "bind".
    public let operation: String
    /// What it was attempted with, such as an address; may be empty.
    public let subject: String
    /// What the system said.
    public let errno: Errno

    /// One line: `bind 0.0.0.0:4433: Address already in use`.
    public var description: String {
        subject.isEmpty ? "\(operation): \(errno)" : "\(operation) \(subject): \(errno)"
    }
}

/// What a system call came to: failing is a value where it is part of the day's work.
enum SystemResult {
    case done(Int)
    case failed(Errno)
}

/// Makes a system call and reads errno before anything else can change it.
@inline(__always)
func systemCall(_ call: () -> Int) -> SystemResult {
    let result = call()
    return result >= 0 ? .done(result) : .failed(Errno(code: errno))
}

/// Makes a system call again for as long as signals interrupt it.
func uninterrupted(_ call: () -> Int) -> SystemResult {
    while true {
        let result = systemCall(call)
        if case .failed(let errno) = result, errno.code == EINTR { continue }
        return result
    }
}

/// Makes a system call that has to succeed, again for as long as signals interrupt it.
@discardableResult
func systemCall(
    _ operation: String, _ subject: String = "", _ call: () -> Int
) throws(SystemError) -> Int {
    switch uninterrupted(call) {
    case .done(let result): return result
    case .failed(let errno):
        throw SystemError(operation: operation, subject: subject, errno: errno)
    }
}
