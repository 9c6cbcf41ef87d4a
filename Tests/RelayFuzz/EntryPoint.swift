#if FUZZING
/// What libFuzzer calls with each input (https://llvm.org/docs/LibFuzzer.html); it brings `main`.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    // Sound: libFuzzer owns `count` readable bytes at `bytes` until this returns, and they are
    // copied before anything else looks at them.
    unsafe FuzzInput.run(Array(UnsafeBufferPointer(start: bytes, count: count)))
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
