internal import RelayCore

/// Draws the whole screen: header, body, message, keys, and the question that is open.
nonisolated func drawScreen(_ model: Model) -> Canvas {
    var canvas = Canvas(rows: model.rows, columns: model.columns)
    guard model.rows >= Layout.leastRows, model.columns >= Layout.leastColumns else {
        canvas.put(HeaderView.oneLine(model), row: 0, column: 0)
        if let dialog = model.dialog {
            canvas.put(DialogView.oneLine(dialog), row: min(1, model.rows - 1), column: 0)
        }
        return canvas
    }
    HeaderView.draw(model, on: &canvas)
    let body = Layout.headerRows..<model.rows - Layout.footerRows
    switch model.screen {
    case .sessions: SessionsView.draw(model, on: &canvas, rows: body)
    case .detail: DetailView.draw(model, on: &canvas, rows: body)
    case .events: EventsView.draw(model, on: &canvas, rows: body)
    case .drops: DropsView.draw(model, on: &canvas, rows: body)
    case .help: HelpView.draw(model, on: &canvas, rows: body)
    }
    FooterView.draw(model, on: &canvas)
    if let dialog = model.dialog { DialogView.draw(dialog, model, on: &canvas) }
    return canvas
}
