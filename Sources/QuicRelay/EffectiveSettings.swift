import ArgumentParser

/// One of the relay's options, as its help describes it.
struct OptionDescription: Sendable {
    let name: String
    let isFlag: Bool
    /// What the help calls its value.
    let valueName: String
    /// What it is when nothing is said; flags are off.
    let defaultValue: String?
    /// What it is for.
    let summary: String
}

/// What each of the relay's options comes to, and why.
struct EffectiveSettings: Sendable {
    struct Setting: Equatable, Sendable {
        let option: String
        let isFlag: Bool
        /// Nothing where there is no value and no default.
        let value: String?
        let source: ValueSource
    }

    /// In the order in which the help shows them.
    let all: [Setting]

    init(_ sources: OptionSources) {
        let values = sources.values
        all = OptionDescription.all.map { option in
            let given = values.first { $0.option == option.name }
            return Setting(
                option: option.name, isFlag: option.isFlag,
                value: given?.word ?? option.defaultValue ?? (option.isFlag ? "false" : nil),
                source: given?.source ?? .standard)
        }
    }
}

extension OptionDescription {
    /// All of them, in the order in which the help shows them.
    static let all: [OptionDescription] = {
        let known = OptionSources.valueOptions + OptionSources.flagOptions
        let arguments = (CommandDescription.relay.arguments ?? []).filter { argument in
            argument.preferredName.map { known.contains($0.name) } ?? false
        }
        // Both follow the order in which the options are declared.
        let defaults = Serve.defaults
        precondition(arguments.count == defaults.count, "every option is in a group")
        return zip(arguments, defaults).map { argument, value in
            let isFlag = argument.kind == "flag"
            return OptionDescription(
                name: argument.preferredName?.name ?? "", isFlag: isFlag,
                valueName: argument.valueName ?? "", defaultValue: isFlag ? nil : value,
                summary: argument.abstract ?? "")
        }
    }()
}

extension Serve {
    /// The defaults of all options in the groups, in the order in which they are declared; nothing
    /// for one that has none.
    fileprivate static var defaults: [String?] {
        let groups: [any Holder]
        do {
            groups = Mirror(reflecting: try Serve.parse([])).children.compactMap {
                $0.value as? any Holder
            }
        } catch {
            preconditionFailure("every option of the relay may be left out: \(error)")
        }
        return groups.flatMap { group in
            Mirror(reflecting: group.held).children.compactMap { $0.value as? any Holder }
        }.map { option in
            let value = Mirror(reflecting: option.held)
            if value.displayStyle != .optional { return "\(option.held)" }
            return value.children.first.map { "\($0.value)" }
        }
    }
}

/// What holds an option's value, or a group's.
private protocol Holder {
    var held: Any { get }
}

extension Option: Holder {
    fileprivate var held: Any { wrappedValue }
}

extension Flag: Holder {
    fileprivate var held: Any { wrappedValue }
}

extension OptionGroup: Holder {
    fileprivate var held: Any { wrappedValue }
}
