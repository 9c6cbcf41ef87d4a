import Testing

@testable import RelayCore

@Suite struct RelayConfigurationTests {
    /// A setting and how a configuration is made with it.
    struct Case: Sendable, CustomTestStringConvertible {
        let setting: Setting
        let configure: @Sendable (Int) throws(SettingError) -> RelayConfiguration

        init(
            _ setting: Setting,
            _ configure: @escaping @Sendable (Int) throws(SettingError) -> RelayConfiguration
        ) {
            self.setting = setting
            self.configure = configure
        }

        var testDescription: String { setting.name }
    }

    static let cases = [
        Case(.sessionLimit) { value throws(SettingError) in
            try RelayConfiguration(sessionLimit: value)
        },
        Case(.sessionLimitPerSource) { value throws(SettingError) in
            try RelayConfiguration(sessions: SessionLimits(perSource: value))
        },
        Case(.sessionLimitPerPrefix) { value throws(SettingError) in
            try RelayConfiguration(sessions: SessionLimits(perPrefix: value))
        },
        Case(.halfOpenLimit) { value throws(SettingError) in
            try RelayConfiguration(sessions: SessionLimits(halfOpen: value))
        },
        Case(.sessionAge) { value throws(SettingError) in
            try RelayConfiguration(sessions: SessionLimits(ageSeconds: value))
        },
        Case(.registrationRate) { value throws(SettingError) in
            try RelayConfiguration(registrationRate: value)
        },
        Case(.replyRate) { value throws(SettingError) in
            try RelayConfiguration(replyRate: value)
        },
        Case(.sessionTimeout) { value throws(SettingError) in
            try RelayConfiguration(sessionTimeoutSeconds: value)
        },
        Case(.peerGrace) { value throws(SettingError) in
            try RelayConfiguration(peerGraceSeconds: value)
        },
        Case(.halfOpenLimitPerSource) { value throws(SettingError) in
            try RelayConfiguration(halfOpenLimitPerSource: value)
        },
        Case(.registrationRatePerSource) { value throws(SettingError) in
            try RelayConfiguration(registrationRatePerSource: value)
        },
        Case(.unvalidatedAllowance) { value throws(SettingError) in
            try RelayConfiguration(unvalidatedAllowanceBytes: value)
        },
        Case(.unvalidatedRate) { value throws(SettingError) in
            try RelayConfiguration(unvalidatedRateBytes: value)
        },
        Case(.ackRatePerSource) { value throws(SettingError) in
            try RelayConfiguration(ackRatePerSource: value)
        },
        Case(.stunRate) { value throws(SettingError) in
            try RelayConfiguration(stunRate: value)
        },
        Case(.rebindSilence) { value throws(SettingError) in
            try RelayConfiguration(rebindSilenceSeconds: value)
        },
    ]

    @Test func everySettingIsTestedHereAndNamedOnce() {
        let names = Setting.all.map(\.name)
        #expect(Set(names).count == names.count)
        #expect(Self.cases.map(\.setting.name).sorted() == names.sorted())
    }

    @Test(arguments: cases)
    func boundsAndDefaultAreAccepted(setting: Case) throws {
        let range = setting.setting.range
        for value in [range.lowerBound, setting.setting.defaultValue, range.upperBound] {
            #expect(range.contains(value))
            _ = try setting.configure(value)
        }
        #expect(try setting.configure(setting.setting.defaultValue) == RelayConfiguration())
        #expect(
            try setting.configure(range.lowerBound) != setting.configure(range.upperBound))
    }

    @Test(arguments: cases)
    func whatLiesOutsideIsRefusedInOneLine(setting: Case) {
        let range = setting.setting.range
        for value in [range.lowerBound - 1, range.upperBound + 1, Int.min, Int.max] {
            let error = #expect(throws: SettingError.self) { try setting.configure(value) }
            let line =
                "--\(setting.setting.name) \(value): must be "
                + "\(range.lowerBound) to \(range.upperBound) \(setting.setting.unit)"
            #expect(error?.description == line)
        }
    }

    @Test func valuesArriveInTheirUnits() throws {
        let configuration = try RelayConfiguration(
            sessionLimit: 5, sessionTimeoutSeconds: 7, peerGraceSeconds: 9,
            halfOpenLimitPerSource: 11, registrationRatePerSource: 13,
            unvalidatedAllowanceBytes: 1_500, unvalidatedRateBytes: 17, ackRatePerSource: 19,
            rebindSilenceSeconds: 21, deniesSpecialSources: true, rebindPolicy: .off,
            isStrict: true)
        #expect(configuration.sessionLimit == 5)
        #expect(configuration.idleTimeoutNanoseconds == 7_000_000_000)
        #expect(configuration.peerGraceNanoseconds == 9_000_000_000)
        #expect(configuration.halfOpenLimitPerSource == 11)
        #expect(configuration.registrationLimit == RateLimit(burst: 52, perSecond: 13))
        #expect(configuration.unvalidatedLimit == RateLimit(burst: 1_500, perSecond: 17))
        #expect(configuration.acknowledgementLimit == RateLimit(burst: 19, perSecond: 19))
        #expect(configuration.rebindSilenceNanoseconds == 21_000_000_000)
        #expect(configuration.deniesSpecialSources && configuration.isStrict)
        #expect(configuration.rebindPolicy == .off)
    }

    @Test func defaultsAreWhatTheProtocolSays() throws {
        let configuration = try RelayConfiguration()
        #expect(configuration.idleTimeoutNanoseconds == 300_000_000_000)
        #expect(configuration.peerGraceNanoseconds == 10_000_000_000)
        #expect(configuration.unvalidatedLimit == RateLimit(burst: 16_384, perSecond: 65_536))
        #expect(
            RelayConfiguration.unvalidatedLimitPerSource
                == RateLimit(burst: 4_194_304, perSecond: 1_048_576))
        #expect(configuration.acknowledgementLimit.perSecond == 1_000)
        #expect(configuration.rebindSilenceNanoseconds == 5_000_000_000)
        #expect(configuration.rebindPolicy == .evidence)
        #expect(!configuration.deniesSpecialSources && !configuration.isStrict)
    }
}
