import RelayCore
import Testing

@testable import RelaySimulator

/// The simulator's own readers, on which the checks rest.
@Suite struct ReaderTests {
    @Test func tagSurvivesItsDatagramAndNotOneChangedBit() throws {
        let tag = PayloadTag(kind: .response, sender: 7, sequence: 70_000, reference: 69_999)
        let datagram = tag.datagram(length: 41, firstByte: 0x52)
        let read = try #require(PayloadTag(datagram))
        #expect(read.kind == .response && read.sender == 7)
        #expect(read.sequence == 70_000 && read.reference == 69_999)
        for index in datagram.indices {
            for bit in 0..<8 {
                var changed = datagram
                changed[index] ^= 1 << UInt8(bit)
                #expect(PayloadTag(changed) == nil)
            }
        }
        #expect(RegistrationText.session(datagram) == nil)
    }

    @Test(arguments: ["", "\n", "\r\n"])
    func registrationIsReadInAnyCase(_ ending: String) throws {
        let text = "REG:0123abCD-4567-89ef-0123-456789ABCDEF\(ending)"
        let id = try #require(RegistrationText.session(Array(text.utf8)))
        #expect(id.high == 0x0123_abcd_4567_89ef)
        #expect(RegistrationText.session(RegistrationText.make(id, upperCase: true)) == id)
    }

    @Test(arguments: [
        "REG:0123abCD-4567-89ef-0123-456789ABCDE", "REG:0123abCD-4567-89ef-0123-456789ABCDEF\r",
        "REG:0123abCD-4567-89ef-0123-456789ABCDEG", "REG:0123abCD-4567-89ef-01234-56789ABCDEF",
        "reg:0123abCD-4567-89ef-0123-456789ABCDEF", "REG:0123abCD-4567-89ef-0123-456789ABCDEF\n\n",
    ])
    func whatIsNoRegistrationIsNone(_ text: String) {
        #expect(RegistrationText.session(Array(text.utf8)) == nil)
    }

    @Test func bucketHoldsItsBurstAndItsRate() {
        var bucket = PlainBucket(burst: 100, perSecond: 10, at: .origin)
        let second = Instant.origin.advanced(byNanoseconds: Nanoseconds.perSecond)
        let later = second.advanced(byNanoseconds: Nanoseconds.perSecond / 10)
        let taken = [
            bucket.take(100, at: .origin), bucket.take(1, at: .origin),
            bucket.take(10, at: second), bucket.take(2, at: later), bucket.take(1, at: later),
        ]
        #expect(taken == [true, false, true, false, true])
    }
}
