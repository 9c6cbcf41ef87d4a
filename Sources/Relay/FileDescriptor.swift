internal import Glibc

/// A file descriptor that is closed when its owner is gone.
struct FileDescriptor: ~Copyable, Sendable {
    let number: Int32

    /// Takes over a descriptor that a system call just returned.
    init(_ number: Int) {
        self.number = Int32(number)
    }

    deinit {
        _ = close(number)
    }
}
