import Glibc
import RelayCore
import Testing

@testable import Relay

/// Files of addresses: what they may hold, and what is said of what they may not.
struct AddressListTests {
    private func blocks(_ text: String) throws -> [AddressBlock] {
        try AddressList.blocks(Array(text.utf8), path: "list")
    }

    private func mistake(_ text: String) -> AddressList.Mistake? {
        do throws(AddressList.Mistake) {
            _ = try AddressList.blocks(Array(text.utf8), path: "list")
            return nil
        } catch {
            return error
        }
    }

    private func range(_ text: String) throws -> String {
        let block = try #require(try blocks(text).first)
        return "\(block.first)-\(block.last)"
    }

    @Test func addressesAndBlocksOfBothFamilies() throws {
        #expect(try range("192.0.2.0/24") == "192.0.2.0-192.0.2.255")
        #expect(try range("192.0.2.7") == "192.0.2.7-192.0.2.7")
        #expect(try range("0.0.0.0/0") == "0.0.0.0-255.255.255.255")
        #expect(try range("2001:db8::/32") == "2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff")
        #expect(try range("2001:db8::1") == "2001:db8::1-2001:db8::1")
        #expect(try range("2001:DB8::/127") == "2001:db8::-2001:db8::1")
        // The same in the form in which an IPv6 socket hears it.
        #expect(try range("::ffff:192.0.2.0/120") == "192.0.2.0-192.0.2.255")
        #expect(try range("::ffff:192.0.2.9") == "192.0.2.9-192.0.2.9")
    }

    @Test func commentsAndBlanksMeanNothing() throws {
        let text = """
            # ours
              192.0.2.0/24\t# the office

            \t
            #
            2001:db8::/32#no blank
            198.51.100.1\r
            """
        #expect(try blocks(text).count == 3)
        #expect(try blocks("").isEmpty && blocks("# nobody\n\n").isEmpty)
    }

    @Test(arguments: [
        "localhost", "192.0.2", "192.0.2.0/33", "2001:db8::/129", "192.0.2.0/", "/24",
        "192.0.2.0/-1", "192.0.2.0/+8", "192.0.2.0/0024", "192.0.2.0 24",
        "192.0.2.0/24/8", "fe80::1%eth0", "192.0.2.0-192.0.2.9", "::ffff:192.0.2.0/24/1", "\u{0}",
        "192.0.2.1,192.0.2.2",
    ])
    func whatIsNoBlockIsTold(line: String) {
        let told = mistake("192.0.2.1\n\n \(line)\n")
        #expect(told == .noBlock(path: "list", line: 3, text: line))
        #expect(told.map { "\($0)".hasPrefix("list:3: '\(line)' must be an address or") } == true)
    }

    @Test(arguments: [
        "192.0.2.1/24", "2001:db8::1/32", "::ffff:192.0.2.1/120", "::ffff:1.2.3.0/40",
    ])
    func aBlockBeginsWithItsFirstAddress(line: String) {
        #expect(mistake("# \n\(line)") == .notFirst(path: "list", line: 2, text: line))
    }

    @Test func aLongLineIsNotRepeated() throws {
        let told = try #require(mistake(String(repeating: "x", count: 100_000)))
        #expect("\(told)".utf8.count < 256)
    }

    @Test func thousandsOfLinesAreReadAndMillionsRefused() throws {
        let line = "2001:db8::/32\n"
        let many = String(repeating: line, count: AddressList.blockLimit)
        #expect(try blocks(many).count == AddressList.blockLimit)
        #expect(mistake(many + line) == .tooMany(path: "list"))
    }

    @Test func onlyFilesAreRead() throws {
        let folder = TemporaryDirectory()
        #expect(throws: AddressList.Mistake.foreign(path: folder.path)) {
            try AddressList.blocks(path: folder.path)
        }
        do throws(AddressList.Mistake) {
            _ = try AddressList.blocks(path: folder.path + "/nothing")
            Issue.record("there is no such file")
        } catch {
            #expect("\(error)".contains("No such file"))
        }
    }
}
