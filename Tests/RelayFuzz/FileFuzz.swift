#if DEBUG || FUZZING
@testable import Relay
@testable import RelayCore

/// Files that an operator writes, or a relay before this one.
enum FileFuzz {
    /// A configuration: what it says is said again by a file that is made of it.
    static func runSettings(_ input: [UInt8]) {
        let lines = input.split(separator: 0x0a, omittingEmptySubsequences: false)
        do throws(FlatTOML.Fault) {
            let settings = try FlatTOML(input)
            var keys: Set<String> = []
            for entry in settings.entries {
                precondition(keys.insert(entry.key).inserted, "a key is there twice")
                precondition((1...lines.count).contains(entry.line))
                precondition(
                    lines[entry.line - 1].starts(with: entry.key.utf8)
                        || hasBlank(lines[entry.line - 1]))
            }
            precondition(
                zip(settings.entries, settings.entries.dropFirst()).allSatisfy { $0.line < $1.line }
            )
            let again = try FlatTOML(text(of: settings))
            precondition(again.entries == settings.entries, "it is not read as it is written")
        } catch {
            precondition((1...lines.count).contains(error.line) && !error.reason.isEmpty)
        }
    }

    private static func hasBlank(_ line: ArraySlice<UInt8>) -> Bool {
        line.first == 0x20 || line.first == 0x09
    }

    /// Each entry on its line; what is unusual in a text by its number.
    private static func text(of settings: FlatTOML) -> [UInt8] {
        var text = ""
        var line = 1
        for entry in settings.entries {
            text += String(repeating: "\n", count: entry.line - line) + "\(entry.key) = "
            line = entry.line
            switch entry.value {
            case .boolean(let flag): text += "\(flag)"
            case .integer(let number): text += "\(number)"
            case .string(let string):
                let scalars = string.unicodeScalars.map {
                    "\\U" + hexadecimal(UInt64($0.value), digits: 8)
                }
                text += "\"\(scalars.joined())\""
            }
        }
        return Array(text.utf8)
    }

    /// Blocks of addresses: a set of them holds what one of them does, and ends where it ends.
    static func runList(_ input: [UInt8]) {
        do throws(AddressList.Mistake) {
            let blocks = try AddressList.blocks(input, path: "list")
            let text = blocks.map { "\($0.first)/\(length(of: $0))" }.joined(separator: "\n")
            let again = try AddressList.blocks(Array(text.utf8), path: "")
            precondition(again == blocks, "they are not read as they are written")
            let set = AddressSet(blocks)
            for block in blocks.prefix(64) {
                let edges = [
                    block.first, block.last, neighbour(of: block.first, 0 &- 1),
                    neighbour(of: block.last, 1),
                ]
                for ip in edges {
                    let isOfOne = blocks.contains { holds($0, ip) }
                    precondition(set.contains(ip) == isOfOne, "a set is not its blocks")
                }
            }
        } catch {
            // What it shows of a line is cut off, and may be as it stands: the log makes it a line.
            precondition(error.description.utf8.count < 400)
        }
    }

    private static func holds(_ block: AddressBlock, _ ip: IPAddress) -> Bool {
        ip.isV4 == block.first.isV4 && !(ip < block.first) && !(block.last < ip)
    }

    /// How many leading bits the addresses of a block have in common.
    private static func length(of block: AddressBlock) -> Int {
        let high = (block.first.high ^ block.last.high).leadingZeroBitCount
        let low = (block.first.low ^ block.last.low).leadingZeroBitCount
        return (high < 64 ? high : 64 + low) - (block.first.isV4 ? 96 : 0)
    }

    /// The address that is so much behind another one, modulo 2^128.
    private static func neighbour(of ip: IPAddress, _ distance: UInt64) -> IPAddress {
        let (low, carries) = ip.low.addingReportingOverflow(distance)
        let sign: UInt64 = distance >> 63 == 0 ? 0 : .max
        return IPAddress(high: ip.high &+ sign &+ (carries ? 1 : 0), low: low)
    }

    /// Secrets of tokens, one a line.
    static func runSecrets(_ input: [UInt8]) {
        do throws(TokenSecrets.Mistake) {
            let secrets = try TokenSecrets(input, path: "secrets")
            precondition((1...TokenSecrets.secretLimit).contains(secrets.count))
            let lengths = secrets.secrets.map(\.count)
            precondition(lengths.allSatisfy(TokenSecrets.lengths.contains))
            // Lines end so, too; a secret may end with the first of both.
            let ending = Array("\r\n".utf8)
            let text = secrets.secrets.map { $0 + ending }.joined()
            let again = try TokenSecrets(Array(text), path: "")
            precondition(again.secrets == secrets.secrets, "they are not read as they are written")
            let id = SessionID(high: 1, low: 2)
            let token = secrets.authority.token(for: id, expiresAtUnixSeconds: .max)
            precondition(again.authority.allows(token, for: id, at: .origin))
        } catch {
            // No part of a secret, whatever is wrong: 22 bytes of the file in a row.
            let line = Array(error.description.utf8)
            precondition(!line.contains(0x0a) && line.count < 200)
        }
    }

    /// What was sent in a month.
    static func runBudget(_ input: [UInt8]) {
        guard let ledger = BudgetStore.ledger(in: input) else { return }
        precondition(ledger.period.start < ledger.period.end)
        let written = BudgetStore.contents(of: ledger)
        guard let again = BudgetStore.ledger(in: written) else {
            preconditionFailure("it cannot be read as it is written")
        }
        precondition(BudgetStore.contents(of: again) == written)
        var grown = again
        _ = grown.advance(to: ledger.period.end, sent: 1_500, resetDay: 1)
        precondition(grown.period.end > ledger.period.start)
        _ = grown.forecast(limit: 1 << 40, at: ledger.period.end)
    }
}
#endif
