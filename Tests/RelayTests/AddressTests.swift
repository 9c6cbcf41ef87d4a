import RelayCore
import TestSupport
import Testing

@testable import Relay

@Suite("Addresses between the core and the system")
struct AddressTests {
    @Test(arguments: [
        ("0.0.0.0", IPAddress(v4: 0)), ("127.0.0.1", IPAddress(v4: 0x7f00_0001)),
        ("255.255.255.255", IPAddress(v4: 0xffff_ffff)), ("1.2.3.4", IPAddress(v4: 0x0102_0304)),
        ("::", .unspecified), ("::1", IPAddress(high: 0, low: 1)),
        ("2001:db8::5:0:6", IPAddress(high: 0x2001_0db8_0000_0000, low: 0x0000_0005_0000_0006)),
        ("FE80::ABCD", IPAddress(high: 0xfe80_0000_0000_0000, low: 0xabcd)),
        ("::ffff:192.0.2.1", IPAddress(v4: 0xc000_0201)),
        ("1:2:3:4:5:6:7:8", IPAddress(high: 0x0001_0002_0003_0004, low: 0x0005_0006_0007_0008)),
    ])
    func aTextIsRead(text: String, expected: IPAddress) {
        #expect(IPAddress(text) == expected)
    }

    @Test(arguments: [
        "", " ", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.-4", "0x7f.0.0.1", "127.1",
        "1.2.3.4 ", " 1.2.3.4", "1.2.3.4:4433", "::1%lo", "[::1]", "[::1]:4433", ":::", "1::2::3",
        "12345::", "g::1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "localhost", "*", "4433",
        "::ffff:1.2.3", "1.2.3.4\0", "\0", "١٢٧.0.0.1",
    ])
    func whatIsNoAddressIsRefused(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test func textsOfRandomAddressesAreReadBack() {
        var random = SplitMix64(seed: 77)
        for _ in 0..<500 {
            // Whole groups of zeros, so that "::" comes up in every place.
            let mask = { (word: UInt64) in
                (0..<4).reduce(word) { word, group in
                    Bool.random(using: &random) ? word & ~(0xffff << UInt64(16 * group)) : word
                }
            }
            let (high, low) = (random.next(), random.next())
            let v6 = IPAddress(high: mask(high), low: mask(low))
            let v4 = IPAddress(v4: UInt32(truncatingIfNeeded: random.next()))
            #expect(IPAddress(v6.description) == v6)
            #expect(IPAddress(v4.description) == v4)
        }
    }

    @Test func transportAddressesComeBackFromTheSystemsForm() {
        var random = SplitMix64(seed: 78)
        for _ in 0..<200 {
            let (high, low, word) = (random.next(), random.next(), random.next())
            let port = UInt16(truncatingIfNeeded: word)
            let v4 = TransportAddress(
                ip: IPAddress(v4: UInt32(truncatingIfNeeded: low)), port: port)
            let v6 = TransportAddress(
                ip: IPAddress(high: high, low: low), port: port,
                scope: UInt32(truncatingIfNeeded: word >> 32))
            #expect(SocketAddress(v4, family: .v4).transportAddress == v4)
            // On a socket of both families IPv4 has its mapped form.
            #expect(SocketAddress(v4, family: .v6).transportAddress == v4)
            #expect(SocketAddress(v6, family: .v6).transportAddress == v6)
        }
    }

    @Test func theSystemAgreesAboutTheForm() throws {
        for ip in ["127.0.0.1"] + (TestSocket.hasIPv6 ? ["::1"] : []) {
            let (one, other) = (try TestSocket(ip), try TestSocket(ip))
            #expect(one.address.ip == IPAddress(ip))
            #expect(one.address.port != 0)
            one.send([1], to: other.address)
            #expect(other.receive()?.source == one.address)
        }
    }

    @Test func aSocketIsDescribedWithinItsLimits() throws {
        #expect(throws: SettingError.self) { _ = try SocketConfiguration(port: 65_536) }
        #expect(throws: SettingError.self) { _ = try SocketConfiguration(port: -1) }
        #expect(throws: SettingError.self) {
            _ = try SocketConfiguration(receiveBufferBytes: 4_095)
        }
        let configuration = try SocketConfiguration(port: 65_535, receiveBufferBytes: 4_096)
        #expect(configuration.port == 65_535)
    }
}
