import RelayCore
import Testing

@testable import RelayTUI

@Suite struct SessionListingTests {
    private let now = Instant(nanoseconds: 100 * Nanoseconds.perSecond)

    private func session(_ number: UInt64, _ kind: DiagnosisKind) -> SessionSnapshot {
        var session = SessionSnapshot(
            id: SessionID(high: 0x0d5a_2f0e_6c1b_4d7e, low: number), place: .paired)
        session.diagnosis = Diagnosis(kind)
        session.openedAt = Instant(nanoseconds: 40 * Nanoseconds.perSecond)
        session.a.address = TransportAddress(ip: IPAddress(v4: 0xc633_6407), port: 5_555)
        session.a.lastHeard = Instant(nanoseconds: 95 * Nanoseconds.perSecond)
        session.a.bits.twoSeconds = 12_400_000
        session.a.forwarded = Volume(datagrams: 3, bytes: 2_048)
        session.rebinds = 2
        return session
    }

    private func listing(_ column: SessionColumn, isDescending: Bool = false) -> SessionListing {
        SessionListing(at: now, window: .twoSeconds, sortedBy: column, isDescending: isDescending)
    }

    @Test func unabridgedEveryColumnIsThereAndNoneHasBlanks() {
        let lines = listing(.diagnosis).lines([session(1, .mute), session(2, .established)])
        let rows = lines.map { $0.split(separator: " ").map(String.init) }
        #expect(rows[0] == SessionColumn.allCases.map { $0.name.uppercased() })
        #expect(
            rows[1] == [
                "0d5a2f0e-6c1b-4d7e-0000-000000000001", "198.51.100.7:5555", "-", "-", "mute", "-",
                "12.4M", "-", "2.00K", "5.0s", "2", "1m00",
            ])
        #expect(rows[2][4] == "established")
        // Aligned: each column begins or ends in one place.
        #expect(Set(lines.map(\.count)).count == 1)
        #expect(listing(.id).lines([]).count == 1)
    }

    @Test(arguments: 8...200)
    func theTableFitsItsWidth(width: Int) {
        let sessions = [session(1, .versionMismatch), session(2, .silent)]
        let lines = listing(.age, isDescending: true).lines(sessions, width: width) { text, _ in
            text
        }
        #expect(lines.count == 3)
        // The column that it is sorted by is never left out, nor are the id and the diagnosis.
        #expect(lines.allSatisfy { $0.count <= max(width, 28) }, "\(lines)")
        #expect(lines[0].hasPrefix("SESSION") && lines[0].contains("AGE▼"))
        #expect(lines[1].hasPrefix("0d5a2f0e "))
        #expect(lines[1].contains(" version_mism") || width < 28)
    }

    @Test func theDiagnosisIsColoredAndNothingElse() {
        let sessions = [session(1, .mute), session(2, .silent), session(3, .established)]
        let lines = listing(.id).lines(sessions, width: 120) { text, grade in "<\(text)\(grade)>" }
        #expect(lines[1].contains("<mute            bad>"))
        #expect(lines[2].contains("<silent          warning>"))
        #expect(lines[3].contains("<established     good>"))
        #expect(!lines[0].contains("<"))
    }

    @Test func whoSeesASCIIOnlyGetsThat() {
        #expect(SessionListing.ascii("A→B  AGE▼ 2001:db8:…:1") == "A>B  AGEv 2001:db8:~:1")
    }
}
