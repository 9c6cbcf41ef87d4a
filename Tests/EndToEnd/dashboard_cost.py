"""What the dashboard costs: bytes to the terminal, CPU, and the time from a key to its effect.

Not a test: it prints a table beside the targets of the specification. `make cost` runs it, which
takes some five minutes; ARGS="--only idle,50 --seconds 10" shortens it. With --attached the dashboard
is attached to a relay in another process, and what goes through the control socket is counted, too.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import pty
import random
import re
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from drawn_screen import DrawnScreen
from peers import free_ports

REPOSITORY = Path(__file__).resolve().parents[2]
RELAY = REPOSITORY / ".build/release/quic-relay"
TRAFFIC = REPOSITORY / ".build/release/relay-demo"
ROWS, COLUMNS = 35, 120

# A wall: on a slow machine 100,000 handshakes take minutes.
WALL_SECONDS = 900.0
# How long a press may take until it counts as without effect.
PRESS_WALL_SECONDS = 30.0


class Terminal:
    """A relay with its dashboard on a terminal that is read all the time."""

    def __init__(self, arguments: list[str], term: str = "xterm-256color") -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("QUIC_RELAY_")}
        environment |= {"TERM": term, "LANG": "C.UTF-8", "QUIC_RELAY_CONTROL": "off"}
        self.process, self._file = pty.fork()
        if self.process == 0:
            size = struct.pack("HHHH", ROWS, COLUMNS, 0, 0)
            fcntl.ioctl(0, termios.TIOCSWINSZ, size)
            os.execve(RELAY, [str(RELAY), *arguments], environment)
        self.relay: int | None = None
        self.wire: Wire | None = None
        self.screen = DrawnScreen(ROWS, COLUMNS)
        self.changed = threading.Condition()
        self.bytes = 0
        self.reads = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                output = os.read(self._file, 65_536)
            except OSError:
                return
            with self.changed:
                self.bytes += len(output)
                self.reads += 1
                self.screen.feed(output)
                self.changed.notify_all()

    def press(self, keys: str) -> None:
        """Types."""
        os.write(self._file, keys.encode())

    def await_screen(
        self, condition: Callable[[DrawnScreen], object], what: str, wall: float = WALL_SECONDS
    ) -> None:
        """Returns as soon as the screen is as wanted."""
        with self.changed:
            if not self.changed.wait_for(lambda: condition(self.screen), wall):
                raise SystemExit(f"not within {wall:g} s: {what}\n" + "\n".join(self.screen.lines))

    def end(self) -> None:
        """Ends the program on it."""
        os.kill(self.process, signal.SIGTERM)
        os.waitpid(self.process, 0)
        os.close(self._file)

    def thread_seconds(self) -> dict[str, float]:
        """CPU time by the names of the threads; the first one, which draws, is `dashboard`."""
        seconds = _thread_seconds(self.process, "dashboard")
        return seconds | (_thread_seconds(self.relay, "relay") if self.relay else {})


def _thread_seconds(process: int, first: str) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for task in Path(f"/proc/{process}/task").iterdir():
        # Nanoseconds on a processor (Documentation/scheduler/sched-stats.rst).
        spent = int((task / "schedstat").read_text().split()[0]) / 1e9
        name = (task / "comm").read_text().strip()
        name = first if task.name == str(process) else name
        seconds[name] = seconds.get(name, 0.0) + spent
    return seconds


class Wire:
    """Passes on what goes through a control socket, and counts it."""

    def __init__(self, path: str, relay: str) -> None:
        self.bytes = 0
        self._relay = relay
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            relay = socket.socket(socket.AF_UNIX)
            relay.connect(self._relay)
            for source, sink in ((client, relay), (relay, client)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while some := source.recv(1 << 20):
                self.bytes += len(some)
                sink.sendall(some)
            sink.shutdown(socket.SHUT_WR)


@dataclass
class Cost:
    """A row of the table."""

    name: str
    bytes_per_second: float
    writes_per_second: float
    dashboard_percent: float
    relay_percent: float
    target: str
    notes: list[str] = field(default_factory=list)


@contextlib.contextmanager
def running(sessions: int, rate: int = 1_000) -> Iterator[Terminal]:
    """A relay with its dashboard and as many sessions as wanted, all of them paired."""
    port = free_ports("127.0.0.1", 1)[0]
    limit = max(10_000, sessions)
    arguments = ["--bind", "127.0.0.1", "--port", str(port), "--session-limit", str(limit)]
    arguments += ["--session-timeout-secs", "3600"]
    with contextlib.ExitStack() as things:
        if IS_ATTACHED:
            terminal = _attached(arguments, things)
        else:
            terminal = Terminal(arguments)
            things.callback(terminal.end)
        if sessions > 0:
            command = [str(TRAFFIC), "--relay", f"127.0.0.1:{port}"]
            traffic = subprocess.Popen(
                command + ["--sessions", str(sessions), "--rate", str(rate)],
                stdout=subprocess.DEVNULL,
            )
            things.callback(traffic.wait)
            things.callback(traffic.terminate)
        terminal.await_screen(
            lambda screen: _paired(screen) == sessions, f"{sessions} paired sessions"
        )
        yield terminal


# Set by --attached.
IS_ATTACHED = False


def _attached(arguments: list[str], things: contextlib.ExitStack) -> Terminal:
    """A relay by itself, and a dashboard that is attached to it."""
    directory = things.enter_context(tempfile.TemporaryDirectory(prefix="cost-"))
    control, wire = f"{directory}/control.sock", f"{directory}/wire.sock"
    relay = subprocess.Popen(
        [str(RELAY), *arguments, "--no-tui", "--control", control, "--log-level", "error"],
        stdout=subprocess.DEVNULL,
    )
    things.callback(relay.wait)
    things.callback(relay.terminate)
    while not Path(control).exists():
        time.sleep(0.05)
    counter = Wire(wire, control)
    terminal = Terminal(["attach", "--control", wire])
    terminal.relay, terminal.wire = relay.pid, counter
    things.callback(terminal.end)
    return terminal


def _paired(screen: DrawnScreen) -> int | None:
    for line in screen.lines[:4]:
        if match := re.search(r"\bpaired ([\d.]+)([KM]?)", line):
            factor = {"": 1, "K": 1_000, "M": 1_000_000}[match[2]]
            return round(float(match[1]) * factor)
    return None


def measure(terminal: Terminal, name: str, seconds: float, warm_up: float, target: str) -> Cost:
    """Lets things settle, then counts for a while."""
    time.sleep(warm_up)
    before = terminal.thread_seconds()
    start, sent, reads = time.monotonic(), terminal.bytes, terminal.reads
    passed = terminal.wire.bytes if terminal.wire else 0
    time.sleep(seconds)
    elapsed = time.monotonic() - start
    after = terminal.thread_seconds()
    percent = {name: 100 * (after[name] - before.get(name, 0)) / elapsed for name in after}
    cost = Cost(
        name,
        (terminal.bytes - sent) / elapsed,
        (terminal.reads - reads) / elapsed,
        percent["dashboard"],
        percent.get("relay-worker", 0.0),
        target,
    )
    if terminal.wire:
        rate = (terminal.wire.bytes - passed) / elapsed
        service = sum(percent[name] for name in percent if name.startswith("NIO"))
        cost.notes.append(f"control socket {rate:,.0f} B/s, service thread {service:.2f} %")
    return cost


# MARK: From a key to its effect


def milliseconds(
    terminal: Terminal, keys: str, condition: Callable[[DrawnScreen], object]
) -> float:
    """How long it takes from a key until the screen is as wanted."""
    start = time.monotonic()
    terminal.press(keys)
    terminal.await_screen(condition, f"the effect of {keys!r}", PRESS_WALL_SECONDS)
    return 1_000 * (time.monotonic() - start)


def summary(name: str, times: list[float]) -> str:
    """The median and the 95th percentile of some times in milliseconds."""
    ordered = sorted(times)
    worst = ordered[int(0.95 * (len(ordered) - 1))]
    return (
        f"{name}: p50 {statistics.median(ordered):.0f} ms, p95 {worst:.0f} ms, "
        f"max {ordered[-1]:.0f} ms ({len(ordered)} presses)"
    )


def press_j(terminal: Terminal) -> float:
    """How long it takes until another session is selected."""
    former = _selected(terminal.screen)
    return milliseconds(terminal, "j", lambda screen: _selected(screen) != former)


def move(terminal: Terminal, rng: random.Random, presses: int) -> list[str]:
    """The cursor, down by a row at a time."""
    times = []
    for _ in range(presses):
        time.sleep(rng.uniform(0.1, 0.6))
        times.append(press_j(terminal))
    return [summary("j", times)]


def begin_to_move(terminal: Terminal, rng: random.Random, presses: int) -> list[str]:
    """The same after a rest: the first press holds the order of all sessions, and the second one
    comes meanwhile."""
    first, second = [], []
    for _ in range(presses):
        time.sleep(rng.uniform(2.5, 3.5))
        first.append(press_j(terminal))
        time.sleep(rng.uniform(0.03, 0.2))
        second.append(press_j(terminal))
    return [summary("j after a rest", first), summary("j right after that", second)]


def filter_by_id(terminal: Terminal, rng: random.Random, rounds: int) -> list[str]:
    """Types a session's id as the filter, which counts as it is typed; then removes it."""
    echo, found, cleared = [], [], []
    for _ in range(rounds):
        time.sleep(rng.uniform(2.5, 3.5))
        wanted = rng.choice(_ids(terminal.screen))
        terminal.press("/")
        for number in range(1, len(wanted) + 1):
            time.sleep(rng.uniform(0.1, 0.3))
            shows = re.compile(rf"(?<![0-9a-f]){wanted[:number]}(?![0-9a-f])")
            echo.append(
                milliseconds(
                    terminal,
                    wanted[number - 1],
                    lambda screen, shows=shows: any(map(shows.search, screen.lines[-4:])),
                )
            )
        for keys, times, condition in (
            ("\x7f" * len(wanted), cleared, lambda screen: len(_ids(screen)) > 5),
            (wanted, found, lambda screen, wanted=wanted: _ids(screen) == [wanted]),
            ("\x7f" * len(wanted), cleared, lambda screen: len(_ids(screen)) > 5),
        ):
            time.sleep(rng.uniform(0.5, 1.5))
            times.append(milliseconds(terminal, keys, condition))
        terminal.press("\r")
    return [
        summary("a character of a filter is shown", echo),
        summary("an id as a filter, its session is left", found),
        summary("the filter is removed, all are back", cleared),
    ]


def jump(terminal: Terminal, rng: random.Random, presses: int) -> str:
    """To the last row and back to the first."""
    times = []
    for number in range(presses):
        time.sleep(rng.uniform(2.5, 3.5))
        to_end = number % 2 == 0

        def has_jumped(screen: DrawnScreen, to_end: bool = to_end) -> bool:
            place = _place(screen)
            return (place > 50_000) == to_end and len(_ids(screen)) > 5

        times.append(milliseconds(terminal, "G" if to_end else "g", has_jumped))
    return summary("G and g, rows are shown", times)


def sort(terminal: Terminal, rng: random.Random, presses: int) -> str:
    """The next sort column."""
    times = []
    for _ in range(presses):
        time.sleep(rng.uniform(0.5, 1.5))
        head = _head(terminal.screen)
        times.append(milliseconds(terminal, "s", lambda screen, head=head: _head(screen) != head))
    return summary("s, another sort column", times)


def _ids(screen: DrawnScreen) -> list[str]:
    return [line[:8] for line in screen.lines[3:-4] if re.match(r"[0-9a-f]{8} ", line)]


def _selected(screen: DrawnScreen) -> str:
    """The row that the cursor is on begins with its session's id."""
    return screen.line(screen.row)[:8]


def _place(screen: DrawnScreen) -> int:
    """Where the cursor is in the table, by the words "7 of 100000"."""
    matches = (re.search(r"(\d+) of \d+ *$", line) for line in screen.lines[-4:])
    return next((int(match[1]) for match in matches if match), 0)


def _head(screen: DrawnScreen) -> str:
    return next((line for line in screen.lines if line.startswith("SESSION")), "")


# MARK: Scenes


def idle(seconds: float, _: random.Random) -> Cost:
    """Nobody is there."""
    with running(0) as terminal:
        return measure(terminal, "idle, no sessions", seconds, 10, "≤ 100 B/s")


def fifty(seconds: float, _: random.Random) -> Cost:
    """Fifty sessions that change all the time, in an order that is held."""
    with running(50) as terminal:
        terminal.press("o")
        return measure(terminal, "50 sessions, held order", seconds, 15, "≤ 1,500 B/s")


def thousand(seconds: float, _: random.Random) -> Cost:
    """A thousand sessions."""
    with running(1_000) as terminal:
        return measure(terminal, "1,000 sessions", seconds, 15, "≤ 1 % of a core")


def hundred_thousand(seconds: float, rng: random.Random) -> Cost:
    """As many sessions as a large relay has."""
    with running(100_000) as terminal:
        cost = measure(terminal, "100,000 sessions", seconds, 20, "usable")
        cost.notes += move(terminal, rng, 50) + begin_to_move(terminal, rng, 20)
        cost.notes += filter_by_id(terminal, rng, 5)
        cost.notes.append(jump(terminal, rng, 10))
        cost.notes.append(sort(terminal, rng, 20))
        return cost


SCENES = {"idle": idle, "50": fifty, "1000": thousand, "100000": hundred_thousand}


def main() -> None:
    """Measures what was asked for and prints it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(SCENES), help="scenes: %(default)s")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each is measured")
    parser.add_argument("--seed", type=int, default=1, help="for when keys are pressed")
    parser.add_argument("--attached", action="store_true", help="attach to a relay by itself")
    given = parser.parse_args()
    global IS_ATTACHED
    IS_ATTACHED = given.attached
    names = given.only.split(",")
    if unknown := [name for name in names if name not in SCENES]:
        parser.error(f"no such scene: {', '.join(unknown)}")
    for binary in (RELAY, TRAFFIC):
        if not os.access(binary, os.X_OK):
            sys.exit(f"{binary} is missing: use make cost")
    print(f"{'at 2 Hz on 120×35':26} {'B/s':>7} {'writes/s':>9} {'UI %':>6} {'relay %':>8}  target")
    for name in names:
        cost = SCENES[name](given.seconds, random.Random(given.seed))
        print(
            f"{cost.name:26} {cost.bytes_per_second:7.0f} {cost.writes_per_second:9.1f} "
            f"{cost.dashboard_percent:6.2f} {cost.relay_percent:8.2f}  {cost.target}",
            flush=True,
        )
        for line in cost.notes:
            print(f"    {line}", flush=True)


if __name__ == "__main__":
    main()
