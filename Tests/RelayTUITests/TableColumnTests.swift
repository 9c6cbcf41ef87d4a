import RelayCore
import Testing

@testable import RelayTUI

/// Which columns the table of sessions has on a screen of some width.
struct TableColumnTests {
    @Test(arguments: SessionColumn.allCases)
    func theColumnsFitAndTheSortedOneIsThere(sorted: SessionColumn) {
        for room in Layout.leastColumns...300 {
            let columns = TableColumn.fitting(room, sortedBy: sorted)
            #expect(columns.reduce(-1) { $0 + $1.width + 1 } <= room, "\(room) columns")
            #expect(columns.contains { $0.column.column == sorted }, "\(room) columns")
            #expect(columns.contains { $0.column.column == .id })
            for (column, width) in columns {
                #expect((column.widths.least...column.widths.most).contains(width))
            }
        }
    }

    @Test func moreRoomNeverHidesAColumn() {
        var before: [SessionColumn] = []
        for room in Layout.leastColumns...300 {
            let columns = TableColumn.fitting(room, sortedBy: .diagnosis).map(\.column.column)
            // Both peers may take the place of columns that matter less.
            let isPeersNew = columns.contains(.peerA) && !before.contains(.peerA)
            if !isPeersNew { #expect(Set(before).isSubset(of: columns), "\(room) columns") }
            before = columns
        }
    }

    @Test func eightyColumnsTellAllThatMatters() {
        let columns = TableColumn.fitting(80, sortedBy: .diagnosis).map(\.column.column)
        #expect(
            columns == [.id, .peerA, .peerB, .diagnosis, .rtt, .rateAToB, .rateBToA, .idle])
        #expect(TableColumn.fitting(120, sortedBy: .age).count == TableColumn.all.count)
    }

    @Test func addressesLoseTheirPortAndThenTheirMiddle() {
        let v4 = TransportAddress(ip: IPAddress(v4: 0xcb00_71c8), port: 5_555)
        #expect(Format.address(v4, isMasked: false, width: 21) == "203.0.113.200:5555")
        #expect(Format.address(v4, isMasked: false, width: 15) == "203.0.113.200")
        let v6 = TransportAddress(
            ip: IPAddress(high: 0x2001_0db8_1111_2222, low: 0x3333_4444_5555_6666), port: 443)
        let short = Format.address(v6, isMasked: false, width: 21)
        #expect(short == "2001:db8:1111…55:6666" && short.count == 21)
    }
}
