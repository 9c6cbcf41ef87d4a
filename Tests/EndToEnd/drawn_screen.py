"""What a terminal shows, as far as programs with ncurses and TERM=xterm-256color need one."""

from __future__ import annotations

import re

_SEQUENCE = re.compile(
    r"\x1b\[(?P<private>[?>]?)(?P<numbers>[\d;]*)(?P<final>[@-~])|\x1b[()][0A-Z]|\x1b[=>78M]"
)
# The longest sequence that is waited for; ncurses sends none that is longer.
_LONGEST_SEQUENCE = 64


class DrawnScreen:
    """A grid of characters and a cursor; colours and other attributes are not kept."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows = rows
        self.columns = columns
        self.row = 0
        self.column = 0
        self._lines = [[" "] * columns for _ in range(rows)]
        self._top, self._bottom = 0, rows - 1
        self._saved = (0, 0)
        self._last = " "
        self._bytes = b""

    def line(self, row: int) -> str:
        """A row's text."""
        return "".join(self._lines[row])

    @property
    def lines(self) -> list[str]:
        """All rows' texts."""
        return [self.line(row) for row in range(self.rows)]

    def feed(self, output: bytes) -> None:
        """Draws what a program wrote; what is not complete yet waits for the rest."""
        self._bytes += output
        text, self._bytes = _complete(self._bytes)
        position = 0
        while position < len(text):
            character = text[position]
            if character == "\x1b":
                match = _SEQUENCE.match(text, position)
                if not match:
                    if len(text) - position < _LONGEST_SEQUENCE:
                        self._bytes = text[position:].encode() + self._bytes
                        return
                    raise ValueError(f"unknown sequence {text[position : position + 20]!r}")
                self._escape(match)
                position = match.end()
            else:
                self._put(character)
                position += 1

    def _put(self, character: str) -> None:
        match character:
            case "\r":
                self.column = 0
            case "\n":
                self._down()
            case "\b":
                self.column = max(0, self.column - 1)
            case "\t":
                self.column = min(self.columns - 1, self.column // 8 * 8 + 8)
            case "\x07" | "\x0e" | "\x0f":
                pass
            case _:
                if self.column == self.columns:
                    self.column = 0
                    self._down()
                self._lines[self.row][self.column] = character
                self._last = character
                self.column += 1

    def _down(self) -> None:
        if self.row == self._bottom:
            self._delete_lines(self._top, 1)
        else:
            self.row = min(self.rows - 1, self.row + 1)

    def _delete_lines(self, row: int, count: int) -> None:
        for _ in range(count):
            del self._lines[row]
            self._lines.insert(self._bottom, [" "] * self.columns)

    def _insert_lines(self, row: int, count: int) -> None:
        for _ in range(count):
            del self._lines[self._bottom]
            self._lines.insert(row, [" "] * self.columns)

    def _escape(self, match: re.Match[str]) -> None:
        if match["final"] is None:
            match match[0]:
                case "\x1b7":
                    self._saved = (self.row, self.column)
                case "\x1b8":
                    self.row, self.column = self._saved
                case "\x1bM" if self.row == self._top:
                    self._insert_lines(self._top, 1)
                case "\x1bM":
                    self.row -= 1
            return
        numbers = [int(number or 0) for number in match["numbers"].split(";")]
        if match["private"]:
            if numbers == [1049]:
                self._erase(0, 0, self.rows * self.columns)
            return
        self._control(match["final"], numbers)

    def _control(self, final: str, numbers: list[int]) -> None:
        count = max(1, numbers[0])
        last = self.columns - 1
        line = self._lines[self.row]
        here = min(self.column, last)
        match final:
            case "A":
                self.row = max(0, self.row - count)
            case "B":
                self.row = min(self.rows - 1, self.row + count)
            case "C":
                self.column = min(last, here + count)
            case "D":
                self.column = max(0, here - count)
            case "G":
                self.column = count - 1
            case "d":
                self.row = count - 1
            case "H" | "f":
                self.row = count - 1
                self.column = max(1, numbers[1] if len(numbers) > 1 else 1) - 1
            case "J":
                begin = 0 if numbers[0] == 2 else self.row * self.columns + here
                self._erase(0, begin, self.rows * self.columns - begin)
            case "K" if numbers[0] == 1:
                self._erase(self.row, 0, here + 1)
            case "K":
                self._erase(self.row, here, self.columns - here)
            case "X":
                self._erase(self.row, here, min(count, self.columns - here))
            case "P":
                line[here:] = line[here + count :] + [" "] * min(count, self.columns - here)
            case "@":
                line[here:] = ([" "] * count + line[here:])[: self.columns - here]
            case "b":
                for _ in range(count):
                    self._put(self._last)
            case "L":
                self._insert_lines(self.row, count)
            case "M":
                self._delete_lines(self.row, count)
            case "S":
                self._delete_lines(self._top, count)
            case "T":
                self._insert_lines(self._top, count)
            case "r":
                self._top = count - 1
                self._bottom = (numbers[1] if len(numbers) > 1 else self.rows) - 1
                self.row = self.column = 0
            case "m" | "h" | "l" | "n" | "t" | "c":
                pass
            case _:
                raise ValueError(f"unknown control {numbers} {final}")

    def _erase(self, row: int, column: int, count: int) -> None:
        for place in range(row * self.columns + column, row * self.columns + column + count):
            self._lines[place // self.columns][place % self.columns] = " "


def _complete(output: bytes) -> tuple[str, bytes]:
    """The whole characters, and the bytes of one that is not complete yet."""
    for cut in range(min(4, len(output)) + 1):
        try:
            end = len(output) - cut
            return output[:end].decode(), output[end:]
        except UnicodeDecodeError as error:
            if error.reason != "unexpected end of data":
                raise
    return "", output
