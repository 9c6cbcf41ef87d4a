"""What the dashboard's screen says: the one place that knows where things stand on it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable

from relay_log import short
from tmux import Capture, Row

# What the heading of the table of sessions has at any width at which there is a table.
_HEADING = "SESSION"
_ARROWS = {"▲": "ascending", "▼": "descending", "^": "ascending", "v": "descending"}
_TITLES = (
    "SESSION",
    "PEER A",
    "PEER B",
    "PHASE",
    "WHY",
    "RTT",
    "A→B",
    "B→A",
    "TOTAL",
    "IDLE",
    "REB",
    "AGE",
)
# Short ids, as they stand at the beginning of a row.
_ID = re.compile(r"[0-9a-f]{8}(?= |$)")
_DURATION = r"(\d+(\.\d+)?(ms|s|m|h|d)(\d+)?m?h?)"
_HEADER_ROWS = 3
_FOOTER_ROWS = 2


class Screen:
    """A capture of the terminal, read as the dashboard."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self.rows = capture.rows
        self.text = capture.text

    def __contains__(self, text: str) -> bool:
        return text in self.text

    # The frame

    @property
    def header(self) -> str:
        """The rows about the relay as a whole."""
        return "\n".join(row.text for row in self.rows[:_HEADER_ROWS])

    @property
    def body(self) -> str:
        """What is between header and footer."""
        return "\n".join(row.text for row in self.rows[_HEADER_ROWS:-_FOOTER_ROWS])

    @property
    def title(self) -> str:
        """The first row of the body, which says what it shows."""
        return self.rows[_HEADER_ROWS].text

    @property
    def message(self) -> str:
        """The row above the keys: messages, and what is typed."""
        return self.rows[-2].text

    @property
    def keys(self) -> str:
        """The function bar."""
        return self.rows[-1].text

    @property
    def has_dashboard(self) -> bool:
        """Whether this is a whole dashboard."""
        return bool(self.rows) and self.rows[0].text.startswith(("quic-relay ", "attached to "))

    @property
    def log_level(self) -> str:
        """The log level in the header, and behind a blank how long it holds, if that is said."""
        match = re.search(r"\blog (\w+)(?: for)?( \d[0-9hms]*)?", self.header)
        assert match, f"no log level:\n{self.header}"
        return match[1] + (match[2] or "")

    @property
    def badge(self) -> str:
        """PAUSED or PAST with what belongs to it, if that is in the header, in reverse video."""
        for row in self.rows[:_HEADER_ROWS]:
            match = re.search(rf"PAUSED {_DURATION}|PAST -\d+s", row.text)
            if match:
                looks = row.look_of(match[0])
                assert all(look.is_reverse for look in looks), f"{match[0]}: {looks}"
                return match[0]
        return ""

    def count(self, label: str) -> int:
        """A number of the header by the word in front of it."""
        match = re.search(rf"\b{label} +(\d+)\b", self.header)
        assert match, f"no {label}:\n{self.header}"
        return int(match[1])

    @property
    def sparkline(self) -> str:
        """The bars of the last minute."""
        match = re.search(r"60s *([▁▂▃▄▅▆▇█]+)", self.header)
        return match[1] if match else ""

    def without_clocks(self) -> list[str]:
        """All rows without what may go on while everything else stands still."""
        first, *others = [row.text for row in self.rows]
        first = re.sub(r" +\d\d:\d\d:\d\dZ$", "", first)
        # The longer the age, the fewer the blanks behind it.
        return [re.sub(rf"PAUSED {_DURATION} *", "PAUSED ", first), *others]

    @property
    def dialog(self) -> str:
        """What stands inside a box, nothing if there is none."""
        inside = [re.search(r"[│|] (.*) [│|]$", row.text) for row in self.rows]
        return "\n".join(match[1].rstrip() for match in inside if match)

    # The table of sessions

    @property
    def sessions(self) -> list[str]:
        """The short ids of the rows, from top to bottom."""
        return [row.text[:8] for row in self._session_rows()]

    @property
    def selected(self) -> str | None:
        """The short id of the row with the cursor."""
        row = self.selected_row
        return None if row is None else self.rows[row].text[:8]

    @property
    def selected_row(self) -> int | None:
        """The number of the row with the cursor on the screen."""
        selected = [row for row in self._session_rows() if row.is_reverse]
        # Two would be a mistake, or half of a frame, for which the other half is waited.
        return self.rows.index(selected[0]) if len(selected) == 1 else None

    @property
    def titles(self) -> list[str]:
        """The columns that are shown."""
        heading = self.heading
        return [title for title in _TITLES if title in heading]

    @property
    def sorted_by(self) -> tuple[str, str] | None:
        """The title of the column with an arrow behind it, and the arrow's direction."""
        heading = self.heading
        match = re.search(r"(\w[\w→]*)([…~]?)( [AB]| ms)?([▲▼^v])( |$)", heading)
        if not match:
            return None
        title = match[1] + (match[3] or "").replace(" ms", "")
        if match[2]:
            # The arrow took the place of the title's last letters.
            hidden = [one for one in _TITLES if one not in heading]
            (title,) = [one for one in hidden if one.startswith(title)]
        return title, _ARROWS[match[4]]

    @property
    def detail(self) -> str | None:
        """The short id of the session that the screen is all about."""
        match = re.search(r"^Session +([0-9a-f]{8})\b", self.body, re.MULTILINE)
        return match[1] if match else None

    def has(self, session: uuid.UUID | str) -> bool:
        """Whether the session has a row."""
        return short(session) in self.sessions

    def row_of(self, session: uuid.UUID | str) -> Row:
        """The session's row."""
        rows = [row for row in self._session_rows() if row.text.startswith(short(session))]
        assert len(rows) == 1, f"{len(rows)} rows of {short(session)}:\n{self.text}"
        return rows[0]

    def is_greyed(self, session: uuid.UUID | str) -> bool:
        """Whether the whole row of the session is dim."""
        row = self.row_of(session)
        return all(row.looks[n].is_dim for n, character in enumerate(row.text) if character != " ")

    def cell(self, session: uuid.UUID | str, title: str) -> str:
        """What stands in a session's row below a column's title."""
        heading = self.heading
        assert title in heading, f"no column {title}:\n{self.text}"
        start = heading.index(title)
        # A number ends where its title does, behind the arrow if there is one.
        rest = heading[start + len(title) :]
        end = start + len(title) + len(rest) - len(re.sub(r"^( ms)?[▲▼^v]?", "", rest))
        words = re.finditer(r"\S+", self.row_of(session).text)
        below = [word[0] for word in words if word.start() < end and word.end() > start]
        assert len(below) == 1, f"{below} below {title}:\n{self.text}"
        return below[0]

    def rate(self, session: uuid.UUID | str, title: str) -> float:
        """A rate as a number."""
        return number(self.cell(session, title))

    @property
    def heading(self) -> str:
        """The row with the columns' titles, nothing if there is none."""
        headings = [row.text for row in self.rows if row.text.startswith(_HEADING)]
        # Without UTF-8 the arrow between the peers is another one.
        return headings[0].replace("A>B", "A→B").replace("B>A", "B→A") if headings else ""

    def _session_rows(self) -> Iterable[Row]:
        if not self.heading:
            return []
        rows: dict[str, Row] = {}
        for row in self.rows[:-_FOOTER_ROWS]:
            # The selected session is named once more below the table.
            if _ID.match(row.text):
                rows.setdefault(row.text[:8], row)
        return list(rows.values())

    # The other screens

    def row_with(self, *texts: str) -> str | None:
        """The first row that has all of these texts."""
        for row in self.rows:
            if all(text in row.text for text in texts):
                return row.text
        return None


def number(text: str) -> float:
    """The number that the dashboard wrote with a unit; "-" is none."""
    factors = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMG]?)", text)
    if not match:
        assert text == "-", f"no number: {text}"
        return 0.0
    return float(match[1]) * factors[match[2]]
