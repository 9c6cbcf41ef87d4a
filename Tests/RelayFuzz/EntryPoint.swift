#if FUZZING
import Glibc

/// The target that the environment names. libFuzzer has the arguments for itself.
private let target: FuzzTarget = {
    // Sound: the value is copied at once, and there is no other thread yet.
    let name = unsafe getenv("FUZZ_TARGET").map { unsafe String(cString: $0) }
    guard let target = name.flatMap(FuzzTarget.init(rawValue:)) else {
        print("FUZZ_TARGET=\(name ?? "") must be one of", FuzzTarget.allCases.map(\.rawValue))
        exit(EX_USAGE)
    }
    return target
}()

/// What libFuzzer calls with each input (https://llvm.org/docs/LibFuzzer.html); it brings `main`.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    // Sound: libFuzzer owns `count` readable bytes at `bytes` until this returns, and they are
    // copied before anything else looks at them.
    unsafe target.run(Array(UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}
#else
/// Without libFuzzer the program only says how it is meant.
@main
struct EntryPoint {
    static func main() {
        print("relay-fuzz is built by `make fuzz`, with libFuzzer")
    }
}
#endif
