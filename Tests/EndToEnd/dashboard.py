"""The relay with its dashboard in a terminal, and traffic for it to show."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dashboard_screen import Screen
from peers import Peer
from relay_log import short
from relay_process import (
    START_WALL_SECONDS,
    STOP_WALL_SECONDS,
    RelayPeers,
    neutral_environment,
    relay_binary,
)
from tmux import Tmux
from waiting import WAIT_WALL_SECONDS, wait_until

# A capture takes some 10 ms of two processes; the dashboard draws a frame every 500 ms.
_POLL_SECONDS = 0.05
_TERMINAL_TYPE = "screen-256color"
COLUMNS, ROWS = 120, 35


class Traffic:
    """Datagrams at steady rates, sent by a thread of its own."""

    _STEP_SECONDS = 0.02

    def __init__(self) -> None:
        self._flows: dict[int, _Flow] = {}
        self._ends = threading.Event()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def send(self, sender: Peer, per_second: float, payload: bytes = bytes(1_000)) -> None:
        """Lets a peer send from now on, at another rate or with other bytes if it does already."""
        self._flows = self._flows | {sender.port: _Flow(sender, per_second, payload)}
        if not self._thread.ident:
            self._thread.start()

    def cease(self) -> None:
        """Lets nobody send any more."""
        self._flows = {}

    def end(self) -> None:
        """Ends the thread; to be called before the peers are closed."""
        self._ends.set()
        if self._thread.ident:
            self._thread.join()
        if self._failure:
            raise self._failure

    def _run(self) -> None:
        try:
            last = time.monotonic()
            while not self._ends.wait(self._STEP_SECONDS):
                now = time.monotonic()
                # A slow machine does not make up for what it missed by more than a second's worth.
                elapsed, last = min(1.0, now - last), now
                for flow in self._flows.values():
                    flow.due += flow.per_second * elapsed
                    while flow.due >= 1:
                        flow.due -= 1
                        flow.sender.send(flow.payload)
        except OSError as error:
            self._failure = error


@dataclass
class _Flow:
    sender: Peer
    per_second: float
    payload: bytes
    due: float = 0.0


class DashboardRelay(RelayPeers):
    """A relay and its dashboard in a terminal: one process, or two where the dashboard is attached."""

    def __init__(
        self,
        directory: Path,
        rng: random.Random,
        *arguments: str,
        columns: int = COLUMNS,
        rows: int = ROWS,
        environment: Mapping[str, str | None] | None = None,
        redirection: str = "",
        attached: bool = False,
        options: Sequence[str] = (),
        direct: bool = False,
        read_only_socket: bool = False,
        command: Sequence[str] | None = None,
    ) -> None:
        """Starts the relay from a shell; if it is to be `attached`, by itself, and `attach` there.

        `environment` changes the variables that the program in the terminal gets, and takes away
        those that are None. `redirection` is what the shell is to do with its output, `options` are
        those of `attach`. What is started `direct` is a job of the terminal's own shell. Another
        `command` of the program may stand for all of that.
        """
        super().__init__("127.0.0.1", rng)
        self.directory = directory
        self.traffic = Traffic()
        self.exports: list[Path] = []
        self._has_ended = False
        self.headless: HeadlessRelay | None = None
        words = [str(relay_binary()), "--bind", "127.0.0.1"]
        words += ["--port", str(self.address.port), *arguments]
        if attached:
            self.headless = HeadlessRelay(words, directory / "relay.log")
            path = self.headless.read_only if read_only_socket else self.headless.control
            words = [str(relay_binary()), "attach", "--control", path, *options]
        if command:
            words = [str(relay_binary()), *command]
        settings: dict[str, str | None] = {"TERM": _TERMINAL_TYPE, **(environment or {})}
        script = directory / "run.sh"
        script.write_text(_script(settings, words, redirection))
        self.terminal = Tmux(directory, columns, rows)
        try:
            self.wait(lambda s: Tmux.PROMPT in s, "the shell's prompt")
            self.modes_before = self.terminal.capture().modes
            chosen = " ".join(f"{name}={value}" for name, value in settings.items())
            self.terminal.type(f"{chosen} {shlex.join(words)}" if direct else "sh run.sh")
            self.terminal.press("Enter")
        except BaseException:
            self.terminal.end()
            if self.headless:
                self.headless.end()
            raise

    # What is on the screen

    def screen(self) -> Screen:
        """What is on the screen now."""
        return Screen(self.terminal.capture())

    def wait(self, condition: Callable[[Screen], object], what: str) -> Screen:
        """The first screen for which the condition holds; `what` says what was awaited in vain."""
        deadline = time.monotonic() + WAIT_WALL_SECONDS
        while True:
            screen = self.screen()
            if condition(screen):
                return screen
            if time.monotonic() >= deadline:
                raise AssertionError(
                    f"not within {WAIT_WALL_SECONDS:g} s: {what}. The screen:\n{screen.text}"
                )
            time.sleep(_POLL_SECONDS)

    def wait_for_dashboard(self) -> Screen:
        """The first screen of the dashboard with figures in it."""
        return self.wait(lambda screen: screen.has_dashboard, "a dashboard")

    def wait_for_text(self, *texts: str) -> Screen:
        """The first screen that has all of these texts."""
        return self.wait(
            lambda screen: all(text in screen for text in texts), f"{' and '.join(texts)}"
        )

    def wait_for_sessions(self, *sessions: uuid.UUID | str) -> Screen:
        """The first screen with a row for each session."""
        return self.wait(
            lambda screen: all(screen.has(session) for session in sessions), "rows of all sessions"
        )

    # What is done at the keyboard

    def press(self, *keys: str) -> None:
        """Presses keys, by tmux's names for those that stand for no character.

        Escape must be the last one, since before another key it is taken for Alt.
        """
        self.terminal.press(*keys)

    def type(self, text: str) -> None:
        """Types a text."""
        self.terminal.type(text)

    def select(self, session: uuid.UUID | str) -> Screen:
        """Moves the cursor to a session that is on the screen; the order is held meanwhile."""
        self.press("g")
        top = self.wait(lambda s: s.selected and s.selected == s.sessions[0], "the first row")
        for _ in range(top.sessions.index(short(session))):
            self.press("j")
        return self.wait(lambda s: s.selected == short(session), f"{session} selected")

    # Sessions

    def open(self, *hosts: str) -> tuple[uuid.UUID, Peer, Peer]:
        """A session with two peers, both validated."""
        session = self.new_session()
        return session, *self.pair(*hosts, session=session)

    def show(self, *hosts: str) -> tuple[uuid.UUID, Peer, Peer]:
        """The same, and the screen shows both peers."""
        opened = session, _a, b = self.open(*hosts)
        self.wait(
            lambda s: s.has(session) and f":{b.port}" in s.row_of(session).text,
            "a row with both peers",
        )
        return opened

    # The end

    @property
    def pid(self) -> int:
        """The process in the terminal."""
        return int((self.directory / "pid").read_text())

    def is_running(self) -> bool:
        """Whether the process runs; a zombie does not."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state != "Z"

    def signal(self, number: signal.Signals) -> None:
        """Sends the relay a signal."""
        os.kill(self.pid, number)

    def wait_for_end(self) -> int:
        """The status with which the relay ended, as the shell saw it."""
        screen = self.wait(lambda screen: _STATUS.search(screen.text), "the end of the relay")
        match = _STATUS.search(screen.text)
        assert match
        self._has_ended = True
        return int(match[1])

    def end(self) -> None:
        """Ends everything that still runs."""
        try:
            self.traffic.end()
        finally:
            self.close_peers()
            try:
                self._end_process()
            finally:
                self.terminal.end()
                if self.headless:
                    self.headless.end()
                for path in self.exports:
                    path.unlink(missing_ok=True)

    def _end_process(self) -> None:
        """A relay that a test left running must obey, whatever is on its screen."""
        if self._has_ended or not (self.directory / "pid").exists() or not self.is_running():
            return
        self.signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_WALL_SECONDS
        while self.is_running():
            if time.monotonic() >= deadline:
                with contextlib.suppress(ProcessLookupError):
                    self.signal(signal.SIGKILL)
                raise AssertionError(f"SIGTERM did not end the relay in {STOP_WALL_SECONDS} s")
            time.sleep(_POLL_SECONDS)


class HeadlessRelay:
    """A relay by itself, with a control socket."""

    def __init__(self, command: list[str], log: Path) -> None:
        # The path of a socket must be short (unix(7)).
        self._sockets = tempfile.TemporaryDirectory(prefix="control-")
        self.control = f"{self._sockets.name}/control.sock"
        self.read_only = f"{self._sockets.name}/read-only.sock"
        self._command = [*command, "--no-tui", "--control", self.control]
        self._command += ["--control-read-only", self.read_only]
        self.log = log
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=neutral_environment(),
            )
        wait_until(self._is_served, "the relay's control socket", START_WALL_SECONDS)
        return process

    def _is_served(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(self.control) == 0

    def kill(self) -> None:
        """Ends it without a chance to do anything about that."""
        self.process.kill()
        self.process.wait()

    def start_again(self) -> None:
        """Starts it again, with the same arguments."""
        self.process = self._start()

    def end(self) -> None:
        """Ends it as a service manager does; it must still be there unless it was killed."""
        try:
            if self.process.returncode is None:
                assert self.process.poll() is None, f"the relay has ended\n{self.log.read_text()}"
                self.process.terminate()
                assert self.process.wait(STOP_WALL_SECONDS) == 0
                assert not Path(self.control).exists(), "the socket's file is left"
        finally:
            if self.process.poll() is None:
                self.kill()
            self._sockets.cleanup()


# On a terminal without an alternate screen what was there may stand behind it.
_STATUS = re.compile(r"^the relay left with status (\d+)\b", re.MULTILINE)


def _script(settings: Mapping[str, str | None], command: list[str], redirection: str) -> str:
    # An interactive shell repairs the terminal after a program that a signal killed; a script's
    # shell does not, and so lets us see what the program left behind.
    unset = [word for name, value in settings.items() if value is None for word in ("-u", name)]
    chosen = [f"{name}={value}" for name, value in settings.items() if value is not None]
    started = shlex.join(["exec", "env", *unset, *chosen, *command])
    return "\n".join(
        (
            "ulimit -c 0",
            "stty -a > before",
            f"sh -c {shlex.quote('echo $$ > pid; ' + started)} {redirection}",
            "status=$?",
            "stty -a > after",
            'echo "the relay left with status $status"',
            "",
        )
    )


# The fixture `start_dashboard`: extra arguments, and `columns=`, `rows=`, `environment=` and
# `redirection=` for the terminal.
StartDashboard = Callable[..., DashboardRelay]
