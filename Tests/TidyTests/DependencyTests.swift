import Testing

/// Who may use what. Each rule says why it is there when it is broken.
struct DependencyTests {
    /// The modules that a file imports.
    private static func imports(of file: SourceFile) -> [String] {
        file.code.compactMap { line in
            let words = line.text.split(separator: " ")
            guard let position = words.firstIndex(of: "import"), position <= 2 else { return nil }
            return words.last.map { String($0.split(separator: ".")[0]) }
        }
    }

    @Test func coreImportsNothing() throws {
        for file in try SourceTree.files(below: "Sources/RelayCore", suffix: ".swift") {
            let modules = Self.imports(of: file)
            #expect(
                modules.isEmpty,
                "\(file.path): what the core decides must depend on nothing but its inputs")
        }
    }

    @Test func modulesDependDownwardsOnly() throws {
        let allowed: [String: Set<String>] = [
            "Relay": [
                "RelayCore", "CLinux", "FoundationEssentials", "Glibc", "Logging", "NIOCore",
                "NIOHTTP1", "NIOPosix", "Synchronization",
            ],
            "RelayTUI": ["RelayCore", "CNcurses", "Glibc"],
            "QuicRelay": [
                "ArgumentParser", "FoundationEssentials", "Glibc", "Logging", "Relay",
                "RelayCore", "RelayTUI", "Synchronization",
            ],
        ]
        for (folder, modules) in allowed.sorted(by: { $0.key < $1.key }) {
            for file in try SourceTree.files(below: "Sources/\(folder)", suffix: ".swift") {
                let others = Self.imports(of: file).filter { !modules.contains($0) }
                #expect(others.isEmpty, "\(file.path): \(others) is not among what it may import")
            }
        }
    }

    @Test func oneFileKnowsCurses() throws {
        for file in try SourceTree.files(below: "Sources", suffix: ".swift")
        where Self.imports(of: file).contains("CNcurses") {
            #expect(
                file.path == "Sources/RelayTUI/Terminal.swift",
                "\(file.path): views are functions to a grid of cells, not to a terminal")
        }
    }

    @Test func errnoIsReadInOnePlace() throws {
        for file in try SourceTree.files(below: "Sources", suffix: ".swift")
        where file.name != "Syscall.swift" {
            let readers = file.code.filter {
                $0.text.contains("Glibc.errno")
                    || $0.text.contains("errno ==") || $0.text.contains("(code: errno)")
            }
            #expect(
                readers.isEmpty,
                "\(file.path): errno must be read before anything else can change it")
        }
    }

    @Test func noFoundation() throws {
        for file in try SourceTree.files(below: "Sources", suffix: ".swift") {
            #expect(
                !Self.imports(of: file).contains("Foundation"),
                "\(file.path): Foundation adds 55 MiB to a static binary")
        }
    }

    @Test func coreKeepsNoUnorderedCollections() throws {
        for file in try SourceTree.files(below: "Sources/RelayCore", suffix: ".swift") {
            let users = file.code.filter {
                $0.text.contains("Set<") || $0.text.contains("Dictionary")
                    || $0.text.contains(#/\[[A-Z]\w*: [A-Z]/#)
            }
            #expect(
                users.isEmpty,
                "\(file.path):\(users.map(\.number)): their order differs from run to run")
        }
    }
}
