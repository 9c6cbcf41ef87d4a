"""A real terminal: tmux without anybody looking on, driven by keys and read cell by cell."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from relay_process import neutral_environment

# A wall only: tmux answers within milliseconds.
_COMMAND_WALL_SECONDS = 30.0

# SGR, what changes how text looks (ECMA-48 §8.3.117), and SO and SI, which tmux puts around
# characters of the line drawing set.
_CONTROL = re.compile(r"\x1b\[([0-9;:]*)m|[\x0e\x0f]")


def why_no_tmux() -> str | None:
    """Why there is no terminal to test with, if so."""
    if shutil.which("tmux"):
        return None
    return "no tmux, and so no test of the dashboard in a terminal: `make test` installs it"


@dataclass(frozen=True)
class Look:
    """How a character looks."""

    is_bold: bool = False
    is_dim: bool = False
    is_underlined: bool = False
    is_reverse: bool = False
    has_color: bool = False


@dataclass(frozen=True)
class Row:
    """A row of the screen: its text without the blanks at its end, and the look of each place."""

    text: str
    looks: tuple[Look, ...]

    def look_of(self, text: str) -> frozenset[Look]:
        """The looks of the places where this text stands; it must stand there once or more."""
        start = self.text.index(text)
        return frozenset(self.looks[start : start + len(text)])

    @property
    def is_reverse(self) -> bool:
        """Whether the row is in reverse video from its first place on."""
        return bool(self.looks) and self.looks[0].is_reverse


@dataclass(frozen=True)
class Capture:
    """What the terminal showed at one moment."""

    rows: tuple[Row, ...]
    # The same as tmux wrote it, with the sequences that change how text looks.
    raw: str
    cursor_row: int
    is_cursor_shown: bool
    # The modes that programs leave behind when they do not clean up, as tmux names them.
    modes: str
    title: str

    @property
    def text(self) -> str:
        """All rows."""
        return "\n".join(row.text for row in self.rows)


class Tmux:
    """A tmux server of our own with one window, in which an interactive shell runs."""

    PROMPT = "prompt>"

    def __init__(self, directory: Path, columns: int, rows: int) -> None:
        # The path of a socket must be short (unix(7)), and tmux leaves the file behind.
        self._sockets = tempfile.TemporaryDirectory(prefix="tmux-")
        self._has_ended = False
        self._environment = neutral_environment() | {
            "LC_ALL": "C.UTF-8",
            "HISTFILE": "/dev/null",
            "INPUTRC": "/dev/null",
        }
        # Whoever runs the tests may do so inside of a tmux, and without colours.
        for name in ("TMUX", "TMUX_PANE", "NO_COLOR", "LANG"):
            self._environment.pop(name, None)
        size = ["-x", str(columns), "-y", str(rows)]
        # tmux runs this with a shell that has a prompt of its own.
        shell = f"exec env PS1='{self.PROMPT} ' bash --norc --noprofile -i"
        self._run("new-session", "-d", *size, "-c", str(directory), shell, ";", *_NO_STATUS_LINE)

    def press(self, *keys: str) -> None:
        """Presses keys, by tmux's names for those that stand for no character."""
        self._run("send-keys", "--", *keys)

    def type(self, text: str) -> None:
        """Types a text."""
        self._run("send-keys", "-l", "--", text)

    def resize(self, columns: int, rows: int) -> None:
        """Changes the size of the window."""
        self._run("resize-window", "-x", str(columns), "-y", str(rows))

    def capture(self) -> Capture:
        """What is on the screen now."""
        output = self._run("capture-pane", "-p", "-e", ";", "display-message", "-p", _STATE)
        *lines, state = output.removesuffix("\n").split("\n")
        row, is_cursor_shown, modes, title = state.split("\t", 3)
        rows = tuple(_rows(lines))
        return Capture(rows, "\n".join(lines), int(row), is_cursor_shown == "1", modes, title)

    def scribble(self, text: str) -> None:
        """Writes into the terminal behind the program's back, as `write` and `wall` do."""
        path = self._run("display-message", "-p", "#{pane_tty}").strip()
        Path(path).write_text(text)

    def hang_up(self) -> None:
        """Takes the terminal away, as a window that is closed or a connection that breaks."""
        self.end()

    def end(self) -> None:
        """Ends the server, if it still runs, and with it the terminal."""
        if not self._has_ended:
            self._has_ended = True
            self._run("kill-server", may_fail=True)
            self._sockets.cleanup()

    def _run(self, *words: str, may_fail: bool = False) -> str:
        command = ["tmux", "-u", "-S", f"{self._sockets.name}/socket", "-f", "/dev/null", *words]
        done = subprocess.run(
            command,
            env=self._environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=_COMMAND_WALL_SECONDS,
            check=False,
        )
        assert may_fail or done.returncode == 0, f"tmux {words[0]}: {done.stderr}"
        return done.stdout


_NO_STATUS_LINE = ("set-option", "-g", "status", "off")

_MODES = (
    "alternate_on insert_flag keypad_cursor_flag keypad_flag mouse_any_flag origin_flag wrap_flag "
    "scroll_region_upper scroll_region_lower"
)
_STATE = "\t".join(
    (
        "#{cursor_y}",
        "#{cursor_flag}",
        " ".join(f"{mode}=#{{{mode}}}" for mode in _MODES.split()),
        "#{pane_title}",
    )
)


def _rows(lines: Iterable[str]) -> Iterable[Row]:
    # A look holds on into the next line.
    look = Look()
    for line in lines:
        text = ""
        looks: list[Look] = []
        end = 0
        for match in _CONTROL.finditer(line):
            text += line[end : match.start()]
            looks += [look] * (match.start() - end)
            end = match.end()
            if match[1] is not None:
                look = _changed(look, match[1])
        text += line[end:]
        looks += [look] * (len(line) - end)
        assert "\x1b" not in text, f"a sequence that is not understood: {line!r}"
        yield Row(text.rstrip(), tuple(looks))


# What the parameters of SGR change. 39 is the terminal's own colour.
_CHANGES: dict[int, Callable[[Look], Look]] = {
    0: lambda _: Look(),
    1: lambda look: replace(look, is_bold=True),
    2: lambda look: replace(look, is_dim=True),
    4: lambda look: replace(look, is_underlined=True),
    7: lambda look: replace(look, is_reverse=True),
    22: lambda look: replace(look, is_bold=False, is_dim=False),
    24: lambda look: replace(look, is_underlined=False),
    27: lambda look: replace(look, is_reverse=False),
    39: lambda look: replace(look, has_color=False),
}
_COLORS = {*range(30, 39), *range(90, 98)}


def _changed(look: Look, parameters: str) -> Look:
    numbers = [int(number or 0) for number in re.split("[;:]", parameters)]
    while numbers:
        number = numbers.pop(0)
        if number in _COLORS:
            look = replace(look, has_color=True)
        elif number in _CHANGES:
            look = _CHANGES[number](look)
        if number in (38, 48):
            # A colour by its number in a palette (5;n) or by red, green and blue (2;r;g;b).
            del numbers[: 2 if numbers[:1] == [5] else 4]
    return look
