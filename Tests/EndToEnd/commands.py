"""The program's commands, as scripts and people use them."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import termios
import time
from pathlib import Path
from typing import Any

from relay_process import relay_binary

# A wall against hanging; commands take milliseconds.
COMMAND_WALL_SECONDS = 60.0


def environment(**variables: str) -> dict[str, str]:
    """What commands get of the tests' environment, and these variables."""
    names = ("PATH", "LD_LIBRARY_PATH", "HOME")
    return {k: v for k, v in os.environ.items() if k in names} | {"LANG": "C.UTF-8"} | variables


class Commands:
    """Runs commands on the relay with a control socket."""

    def __init__(self, control: Path) -> None:
        """Remembers where the relay is."""
        self.control = control

    def arguments(self, *words: str) -> list[str]:
        """The whole command line."""
        return [str(relay_binary()), *words, "--control", str(self.control)]

    def run(self, *words: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs a command whose output is a pipe; it must end with this code."""
        result = subprocess.run(
            self.arguments(*words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment(**variables),
            timeout=COMMAND_WALL_SECONDS,
            check=False,
        )
        assert result.returncode == code, f"{words}: {result}"
        if code not in (0, 1, 78):
            assert result.stderr.startswith("quic-relay: "), result
        return result

    def lines(self, *words: str, **variables: str) -> list[str]:
        """What a command prints, line by line; it must say nothing else."""
        result = self.run(*words, **variables)
        assert result.stderr == "", result
        return result.stdout.splitlines()

    def values(self, *words: str, code: int = 0) -> list[dict[str, Any]]:
        """The JSON objects that a command prints, one a line."""
        return [json.loads(line) for line in self.run(*words, "--json", code=code).stdout.splitlines()]

    def value(self, *words: str) -> dict[str, Any]:
        """The only JSON object that a command prints."""
        (value,) = self.values(*words)
        return value


class TerminalCommand:
    """A command in a terminal of its own."""

    def __init__(self, arguments: list[str], columns: int, **variables: str) -> None:
        """Starts it in a terminal of so many columns."""
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
        self._process = subprocess.Popen(
            arguments,
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.STDOUT,
            env=environment(TERM="xterm-256color", **variables),
            start_new_session=True,
        )
        os.close(theirs)
        self.text = ""

    def read_until(self, words: str) -> None:
        """Waits until it has said this."""
        deadline = time.monotonic() + COMMAND_WALL_SECONDS
        while words not in self.text:
            assert time.monotonic() < deadline, f"no {words!r} in {self.text!r}"
            assert self._read(), f"it ended: {self.text!r}"

    def type(self, text: str) -> None:
        """Types."""
        os.write(self._ours, text.encode())

    def end(self) -> tuple[int, list[str]]:
        """Its exit code and its lines, once it has ended."""
        while self._read():
            pass
        os.close(self._ours)
        code = self._process.wait(COMMAND_WALL_SECONDS)
        return code, self.text.replace("\r\n", "\n").splitlines()

    def _read(self) -> bool:
        ready, _, _ = select.select([self._ours], [], [], COMMAND_WALL_SECONDS)
        assert ready, f"it hangs: {self.text!r}"
        try:
            data = os.read(self._ours, 65_536)
        except OSError:
            # The other side is closed (pty(7)).
            return False
        self.text += data.decode(errors="replace")
        return bool(data)


