import Glibc
import Relay

/// Ways to break down.
enum Breakdown: String {
    /// A Swift trap.
    case trap
    /// A Swift trap while the lock of the relay's picture is held.
    case picture
    /// A bad access.
    case access
    /// A stack that is used up.
    case recursion
    /// abort(3), as the Swift runtime and malloc(3) call it.
    case abort
    /// A Swift trap in another thread.
    case otherThread

    func happen(_ service: RelayService) {
        switch self {
        case .trap: takeWhatIsNotThere(CommandLine.arguments.count)
        case .picture:
            // While a picture is being made there is none to look at.
            for _ in 0..<10_000 {
                service.withSnapshot { _ in takeWhatIsNotThere(CommandLine.arguments.count) }
                _ = usleep(1_000)
            }
        case .access:
            // Sound: it is not, which is what it is for. The first page is never mapped.
            unsafe UnsafeMutablePointer<Int>(bitPattern: 8)?.pointee = 1
        case .recursion: print(depth(CommandLine.arguments.count))
        case .abort: Glibc.abort()
        case .otherThread:
            var thread = pthread_t()
            // Sound: the call fills the handle; the thread takes no argument.
            _ = unsafe pthread_create(
                &thread, nil,
                { _ in
                    takeWhatIsNotThere(CommandLine.arguments.count)
                    return nil
                }, nil)
            pthread_join(thread, nil)
        }
    }
}

private func takeWhatIsNotThere(_ index: Int) {
    let none: [Int] = []
    print(none[index])
}

/// Calls itself until there is no stack any more.
private func depth(_ count: Int) -> Int {
    count < 0 ? 0 : depth(count + 1) + depth(count + 2)
}
