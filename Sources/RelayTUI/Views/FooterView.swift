internal import RelayCore

/// What is below every screen: the message, or what is being typed, and the keys that work now.
nonisolated enum FooterView {
    static func draw(_ model: Model, on canvas: inout Canvas) {
        drawMessage(model, row: model.rows - 2, on: &canvas)
        drawKeys(model, row: model.rows - 1, on: &canvas)
    }

    private static func drawMessage(_ model: Model, row: Int, on canvas: inout Canvas) {
        if let typed = model.typedFilter {
            canvas.clear(rows: row..<row + 1, columns: 0..<canvas.columns)
            var column = canvas.put("filter ", row: row, column: 0, style: .faint)
            // The end of what is typed must be seen, however long it is.
            let shown = typed.suffix(max(1, canvas.columns - column - 1))
            column = canvas.put(String(shown), row: row, column: column, style: .entry)
            canvas.cursor = (row, min(column, model.columns - 1))
            if let error = model.filterError {
                canvas.put("  \(error)", row: row, column: column, style: .warning)
            }
        } else if let message = model.message {
            canvas.clear(rows: row..<row + 1, columns: 0..<canvas.columns)
            canvas.put(message, row: row, column: 0, style: .warning)
        } else if !model.filter.isEmpty, model.screen == .sessions {
            let column = canvas.put("filter ", row: row, column: 0, style: .faint)
            let text = model.isMasked ? "········" : model.filter.description
            canvas.put(text, row: row, column: column)
        }
    }

    private static func drawKeys(_ model: Model, row: Int, on canvas: inout Canvas) {
        let keys = keys(model)
        func width(_ keys: some Sequence<(key: String, label: String)>) -> Int {
            keys.reduce(0) { $0 + $1.key.unicodeScalars.count + $1.label.count + 3 }
        }
        // How to get help and out of here must be seen; the others as far as there is room.
        let last = keys.suffix(2)
        var shown = Array(keys.dropLast(2))
        while !shown.isEmpty, width(shown) + width(last) - 2 > model.columns { shown.removeLast() }
        var column = 0
        for (key, label) in shown + last {
            column = canvas.put(key, row: row, column: column, style: .key) + 1
            column = canvas.put(label, row: row, column: column, style: .keyLabel) + 2
        }
    }

    /// The keys that work now and what they do, those that matter most first.
    static func keys(_ model: Model) -> [(key: String, label: String)] {
        if model.dialog != nil { return [] }
        if model.typedFilter != nil {
            return [("Enter", "Keep"), ("Esc", "No filter"), ("Ctrl-U", "Empty")]
        }
        return KeyTable.bindings(on: model.screen).compactMap { binding in
            guard let label = binding.label, let key = binding.keys.first,
                model.canDo(binding.intent)
            else { return nil }
            return (key.name, label)
        }
    }
}
