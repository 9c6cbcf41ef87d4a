// swift-tools-version: 6.2
import PackageDescription

/// Every Swift target is built alike: the whole of Swift 6, what Swift 7 will ask for, memory
/// safety checked, and no warning left standing.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("ImmutableWeakCaptures"),
    .enableUpcomingFeature("InferIsolatedConformances"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    // Lets a type hand out a Span of its own memory (`FixedStorage.span`).
    .enableExperimentalFeature("Lifetimes"),
]

let package = Package(
    name: "quic-relay",
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    ],
    targets: [
        .target(
            name: "CLinux", exclude: ["admission"], cSettings: [.treatAllWarnings(as: .error)]),
        .target(
            name: "CNcurses", cSettings: [.treatAllWarnings(as: .error)],
            linkerSettings: [.linkedLibrary("ncursesw"), .linkedLibrary("tinfo")]),
        .target(name: "RelayCore", swiftSettings: strict),
        .target(
            name: "Relay",
            dependencies: [
                "RelayCore", "CLinux", .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ],
            swiftSettings: strict),
        .target(
            name: "RelayTUI", dependencies: ["RelayCore", "CNcurses"],
            swiftSettings: strict + [.defaultIsolation(MainActor.self)]),
        .executableTarget(
            name: "quic-relay",
            dependencies: [
                "Relay", "RelayCore", "RelayTUI",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ],
            path: "Sources/QuicRelay", swiftSettings: strict),

        .target(
            name: "RelaySimulator", dependencies: ["RelayCore"], path: "Tests/RelaySimulator",
            swiftSettings: strict),
        .target(
            name: "CAllocationCounter", path: "Tests/CAllocationCounter",
            cSettings: [.treatAllWarnings(as: .error)]),
        .executableTarget(
            name: "relay-checks",
            dependencies: [
                "RelaySimulator", "Relay", "RelayCore", "CAllocationCounter", "TestSupport",
            ],
            path: "Tests/RelayChecks", swiftSettings: strict),
        .executableTarget(
            name: "relay-fuzz", dependencies: ["Relay", "RelayCore"], path: "Tests/RelayFuzz",
            exclude: ["Corpus"], swiftSettings: strict),
        .executableTarget(
            name: "relay-demo",
            dependencies: [
                "Relay", "RelayCore", "CLinux", "TestSupport",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Tests/RelayDemo", swiftSettings: strict),
        .executableTarget(
            name: "relay-breakdown",
            dependencies: [
                "Relay", "RelayCore", "RelayTUI", .product(name: "Logging", package: "swift-log"),
            ],
            path: "Tests/RelayBreakdown", swiftSettings: strict),
        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: strict),
        .testTarget(
            name: "TidyTests", dependencies: ["Relay", "RelayCore"], swiftSettings: strict),
        .testTarget(
            name: "RelayCoreTests", dependencies: ["RelayCore", "TestSupport"],
            exclude: ["Captures"], swiftSettings: strict),
        .testTarget(
            name: "RelayFuzzTests", dependencies: ["relay-fuzz", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "RelaySimulatorTests", dependencies: ["RelaySimulator"], swiftSettings: strict),
        .testTarget(
            name: "RelayTests",
            dependencies: [
                "Relay", "RelayCore", "CLinux", "TestSupport",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: strict),
        .testTarget(
            name: "RelayTUITests",
            dependencies: ["RelayTUI", "RelayCore", "CNcurses", "TestSupport"],
            swiftSettings: strict),
        .testTarget(
            name: "ProgramTests",
            dependencies: [
                "quic-relay", "relay-demo", "relay-breakdown", "Relay", "TestSupport",
            ],
            swiftSettings: strict),
    ]
)
