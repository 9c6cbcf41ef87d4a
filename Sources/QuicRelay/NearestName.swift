// Which name was meant.

/// The name that a wrong one is most like; nothing if it is like none of them.
func nearestName(to word: String, among names: [String]) -> String? {
    let limit = max(2, word.count / 3)
    let distances = names.map { (name: $0, distance: editDistance(word, $0)) }
    guard let nearest = distances.min(by: { $0.distance < $1.distance }),
        nearest.distance <= min(limit, nearest.name.count - 1)
    else { return nil }
    return nearest.name
}

/// How many letters must be put in, left out or changed, or neighbours exchanged, to make one word
/// of the other (optimal string alignment).
func editDistance(_ left: String, _ right: String) -> Int {
    let (left, right) = (Array(left), Array(right))
    var former = [Int](repeating: 0, count: right.count + 1)
    var above = Array(0...right.count)
    for row in 1..<(left.count + 1) {
        var line = [row]
        for column in 1..<(right.count + 1) {
            let isSame = left[row - 1] == right[column - 1]
            var least = min(
                line[column - 1] + 1, above[column] + 1, above[column - 1] + (isSame ? 0 : 1))
            if row > 1, column > 1, left[row - 1] == right[column - 2],
                left[row - 2] == right[column - 1]
            {
                least = min(least, former[column - 2] + 1)
            }
            line.append(least)
        }
        (former, above) = (above, line)
    }
    return above[right.count]
}
