import CLinux
import Glibc
import RelayCore

@testable import Relay

// What these tests do to the system, and to the headers that the relay hands to it: the only file
// of the target with unsafe code. Sound: every pointer points to a value or an array of the caller
// that is there until the call returns, and lengths are taken from it.

/// One message as the system sees it: a name, bytes, control messages.
struct RawMessage {
    var name = SocketAddress()
    var bytes: [UInt8] = []
    var control = ControlWords()
    var flags: Int32 = 0
}

/// Longer than any test has to wait, however slow the machine is.
let patienceSeconds = 10

/// Sets an option that is an integer.
@discardableResult
func setOption(_ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32) -> Bool {
    var value = value
    let size = socklen_t(MemoryLayout<Int32>.size)
    return unsafe setsockopt(descriptor, level, option, &value, size) == 0
}

/// Reads an option that is an integer.
func option(_ descriptor: Int32, _ level: Int32, _ option: Int32) -> Int32? {
    var value: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    return unsafe getsockopt(descriptor, level, option, &value, &size) == 0 ? value : nil
}

/// Limits how long a receive waits.
func setReceiveTimeout(_ descriptor: Int32) {
    var time = timeval(tv_sec: patienceSeconds, tv_usec: 0)
    let size = socklen_t(MemoryLayout<timeval>.size)
    _ = unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, size)
}

/// Binds a socket and says to what, or nothing if that is not possible.
func bindSocket(
    _ descriptor: Int32, to address: TransportAddress, family: SocketFamily
) -> TransportAddress? {
    var name = SocketAddress(address, family: family)
    var length = SocketAddress.length(family)
    let isBound = unsafe withUnsafeMutablePointer(to: &name) { name in
        unsafe name.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
            unsafe bind(descriptor, name, length) == 0
                && getsockname(descriptor, name, &length) == 0
        }
    }
    return isBound ? name.transportAddress : nil
}

/// What a socket is bound to.
func boundAddress(of descriptor: Int32) -> TransportAddress? {
    var name = SocketAddress()
    var length = socklen_t(MemoryLayout<SocketAddress>.size)
    let isKnown = unsafe withUnsafeMutablePointer(to: &name) { name in
        unsafe name.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
            unsafe getsockname(descriptor, name, &length) == 0
        }
    }
    return isKnown ? name.transportAddress : nil
}

/// Connects an IPv4 socket; says whether that worked.
func connectSocket(_ descriptor: Int32, to address: TransportAddress) -> Bool {
    var name = SocketAddress(address, family: .v4)
    return unsafe withUnsafePointer(to: &name) { name in
        unsafe name.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
            unsafe connect(descriptor, name, SocketAddress.length(.v4)) == 0
        }
    }
}

/// Sends a message; returns errno where that fails.
func sendMessage(
    _ message: RawMessage, family: SocketFamily, through descriptor: Int32
) -> Int32? {
    var message = message
    let length = SocketAddress.length(family)
    let sent = unsafe withHeader(of: &message) { header in
        unsafe header.msg_namelen = length
        return unsafe sendmsg(descriptor, &header, 0)
    }
    return sent < 0 ? errno : nil
}

/// Receives a message; nothing when there is none.
func receiveMessage(from descriptor: Int32, waits: Bool) -> RawMessage? {
    var message = RawMessage()
    message.bytes = Array(repeating: 0, count: 65_536)
    message.control.words = Array(repeating: 0, count: 32)
    var controlLength = 0
    var flags: Int32 = 0
    let received = unsafe withHeader(of: &message) { header in
        let received = unsafe recvmsg(descriptor, &header, waits ? 0 : Int32(MSG_DONTWAIT))
        controlLength = unsafe header.msg_controllen
        flags = unsafe header.msg_flags
        return received
    }
    guard received >= 0 else { return nil }
    message.bytes.removeLast(message.bytes.count - received)
    message.control.words.removeLast(32 - (controlLength + 7) / 8)
    message.flags = flags
    return message
}

private func withHeader(of message: inout RawMessage, _ call: (inout msghdr) -> Int) -> Int {
    var header = unsafe msghdr()
    var vector = unsafe iovec()
    return unsafe withUnsafeMutablePointer(to: &message.name) { name in
        unsafe message.bytes.withUnsafeMutableBytes { bytes in
            unsafe message.control.words.withUnsafeMutableBytes { control in
                unsafe vector.iov_base = bytes.baseAddress
                unsafe vector.iov_len = bytes.count
                return unsafe withUnsafeMutablePointer(to: &vector) { vector in
                    unsafe header.msg_name = UnsafeMutableRawPointer(name)
                    unsafe header.msg_namelen = socklen_t(MemoryLayout<SocketAddress>.size)
                    unsafe header.msg_iov = vector
                    unsafe header.msg_iovlen = 1
                    unsafe header.msg_control = control.isEmpty ? nil : control.baseAddress
                    unsafe header.msg_controllen = control.count
                    return unsafe call(&header)
                }
            }
        }
    }
}

extension MessageHeaders {
    /// The room that a slot has for control messages.
    private var controlBytes: Int { 160 }

    /// Whether the system could write a whole name, 64 KiB and all control messages that come.
    func isReadyToReceive(_ index: Int) -> Bool {
        let header = unsafe base[index].msg_hdr
        return unsafe header.msg_namelen == socklen_t(MemoryLayout<SocketAddress>.size)
            && header.msg_controllen == controlBytes && header.msg_iovlen == 1
            && header.msg_iov.pointee.iov_len == ReceiveBatch.slotBytes
    }

    /// Does what recvmmsg(2) does with a message that came.
    func write(_ message: RawMessage, to index: Int) {
        let header = unsafe base + index
        unsafe header.pointee.msg_hdr.msg_name.storeBytes(
            of: message.name, as: SocketAddress.self)
        unsafe header.pointee.msg_hdr.msg_namelen = 16
        let vector = unsafe header.pointee.msg_hdr.msg_iov.pointee
        unsafe copy(message.bytes, to: vector.iov_base, limit: vector.iov_len)
        let words = message.control.words
        unsafe copy(words, to: header.pointee.msg_hdr.msg_control, limit: controlBytes)
        unsafe header.pointee.msg_hdr.msg_controllen = 8 * words.count
        unsafe header.pointee.msg_hdr.msg_flags = message.flags
        unsafe header.pointee.msg_len = UInt32(message.bytes.count)
    }

    private func copy<Word: BitwiseCopyable>(
        _ words: [Word], to target: UnsafeMutableRawPointer?, limit: Int
    ) {
        unsafe words.withUnsafeBytes { bytes in
            guard let source = bytes.baseAddress, let target = unsafe target else { return }
            unsafe target.copyMemory(from: source, byteCount: min(bytes.count, limit))
        }
    }

    /// What sendmmsg(2) would send.
    func read(_ index: Int) -> RawMessage {
        let header = unsafe base[index].msg_hdr
        var message = RawMessage()
        // A connected socket's messages have none.
        if let name = unsafe header.msg_name {
            unsafe message.name = name.load(as: SocketAddress.self)
        }
        for vector in unsafe 0..<header.msg_iovlen {
            let vector = unsafe header.msg_iov[vector]
            unsafe message.bytes += Array(
                UnsafeRawBufferPointer(start: vector.iov_base, count: vector.iov_len))
        }
        if let control = unsafe header.msg_control {
            unsafe message.control.words = Array(
                UnsafeBufferPointer(
                    start: control.assumingMemoryBound(to: UInt64.self),
                    count: (header.msg_controllen + 7) / 8))
        }
        return message
    }
}

/// A pipe, to see what is written to a descriptor.
final class Pipe: Sendable {
    let readEnd: Int32
    let writeEnd: Int32

    init() {
        var ends: [Int32] = [-1, -1]
        _ = unsafe pipe(&ends)
        readEnd = ends[0]
        writeEnd = ends[1]
    }

    deinit {
        _ = close(readEnd)
        _ = close(writeEnd)
    }

    /// What has been written, which must be something.
    func text() -> String {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let count = unsafe read(readEnd, &bytes, bytes.count)
        return String(decoding: bytes.prefix(max(0, count)), as: UTF8.self)
    }
}

/// Whether a descriptor becomes readable in time.
func waitUntilReadable(_ descriptor: Int32) -> Bool {
    isReadable(descriptor, withinMilliseconds: 1_000 * Int32(patienceSeconds))
}

/// Whether a descriptor is readable now, or soon.
func isReadable(_ descriptor: Int32, withinMilliseconds wait: Int32 = 0) -> Bool {
    var file = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return unsafe poll(&file, 1, wait) == 1
}

/// Writes to a descriptor, which must take it.
func writeBytes(_ bytes: [UInt8], to descriptor: Int32) {
    let count = unsafe write(descriptor, bytes, bytes.count)
    precondition(count == bytes.count)
}

/// A Unix datagram socket with a name, as systemd has one.
final class UnixReceiver: Sendable {
    private let descriptor: Int32
    private let path: String

    init?(_ path: String) {
        self.path = path
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        setReceiveTimeout(descriptor)
        var address = sockaddr_un()
        address.sun_family = UInt16(AF_UNIX)
        var bytes = Array(path.utf8)
        if bytes.first == UInt8(ascii: "@") { bytes[0] = 0 }
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
        let length = socklen_t(2 + bytes.count)
        _ = unsafe unlink(path)
        let isBound = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(descriptor, $0, length) == 0
            }
        }
        guard isBound else { return nil }
    }

    deinit {
        _ = close(descriptor)
        _ = unsafe unlink(path)
    }

    /// The next message and the descriptor that came with it.
    func next() -> (text: String, descriptor: Int32?)? {
        var message = RawMessage()
        message.bytes = Array(repeating: 0, count: 4_096)
        message.control.words = Array(repeating: 0, count: 8)
        var passed: Int32?
        let count = unsafe withHeader(of: &message) { header in
            let count = unsafe recvmsg(descriptor, &header, 0)
            if count >= 0, let control = unsafe clinux_cmsg_first(&header) {
                passed = unsafe UnsafeRawPointer(clinux_cmsg_data(control)).load(as: Int32.self)
            }
            return count
        }
        guard count >= 0 else { return nil }
        return (String(decoding: message.bytes.prefix(count), as: UTF8.self), passed)
    }
}

/// The names in a directory, in order; none if it is no directory.
func entries(of path: String) -> [String] {
    guard let directory = unsafe opendir(path) else { return [] }
    defer { unsafe closedir(directory) }
    var names: [String] = []
    while let entry = unsafe readdir(directory) {
        let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { name in
            unsafe name.withMemoryRebound(to: CChar.self, capacity: 256) {
                unsafe String(cString: $0)
            }
        }
        if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
}

/// A file's permissions.
func mode(of path: String) -> mode_t {
    var status = stat()
    return unsafe stat(path, &status) == 0 ? status.st_mode & 0o777 : 0
}

/// Makes a directory for its owner; says whether that worked.
func makeDirectory(_ path: String) -> Bool { unsafe mkdir(path, 0o700) == 0 }

/// Makes a symbolic link; says whether that worked.
func makeLink(_ path: String, to target: String) -> Bool { unsafe symlink(target, path) == 0 }

/// Removes a file, or a directory with everything in it.
func removeAll(_ path: String) {
    for name in entries(of: path) { removeAll(path + "/" + name) }
    if unsafe unlink(path) != 0 { _ = unsafe rmdir(path) }
}
