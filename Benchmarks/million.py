#!/usr/bin/env python3
"""Measures a whole relay that holds a million sessions, from its start to their end.

Every session has two peers at addresses of their own, who shake hands as QUIC does
(Benchmarks/crowd). Beside all that is done, two more peers send each other one datagram at a time
(Benchmarks/pulse): what they wait for longest is how long the relay was busy with something else,
or not there. Their figures stand beside each step; those of a step in which nothing else happens
come first, since they tell how long the machine itself lets a datagram wait. CPU seconds are the
relay's.

    make million                                  some minutes, 6 GB of memory
    make million ARGS="--sessions 100000"         shorter
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import machine
import relays
import report

BENCH = relays.ROOT / ".build/bench"
# Longer than anything takes here that works.
PATIENCE_S = 900
REGISTRATION = b"REG:eeeeeeee-0000-4000-8000-eeeeeeeeeeee\n"
COLUMNS, ROWS = 120, 35


class Failure(Exception):
    """What ends the program, in one line."""


def until(condition: Callable[[], object], what: str, every: float = 0.01) -> float:
    """Seconds until the condition holds."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > PATIENCE_S:
            raise Failure(f"not within {PATIENCE_S} s: {what}")
        time.sleep(every)
    return time.monotonic() - begin


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Relay:
    """The relay, whichever process it is at the time."""

    def __init__(self, program: pathlib.Path, folder: pathlib.Path, options: argparse.Namespace):
        self.program = program
        self.port = free_port(socket.SOCK_DGRAM)
        self.metrics_port = free_port(socket.SOCK_STREAM)
        self.control = folder / "control"
        self.log = folder / "relay.log"
        self.configuration = folder / "relay.toml"
        self.state = folder / "state"
        self.set_timeout(3_600)
        self.command = [
            str(program), "--no-tui", "--bind", "127.0.0.1", "--port", str(self.port),
            "--session-limit", str(options.sessions + 100), "--workers", str(options.workers),
            "--state-dir", str(self.state), "--control", str(self.control),
            "--metrics", f"127.0.0.1:{self.metrics_port}", "--config", str(self.configuration),
            "--registration-rate", "10000000", "--log-level", "notice", "--log-format", "json"]
        self.process: subprocess.Popen | None = None
        self.pid = 0

    def set_timeout(self, seconds: int) -> None:
        self.configuration.write_text(f"session-timeout-secs = {seconds}\n")

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.pid = self.process.pid

    def figures(self, pid: int) -> dict[str, int]:
        """What the system says of a process's memory, in MiB."""
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
        return {name: int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M)[1]) >> 10
                for name in ("VmRSS", "VmHWM")}

    def cpu_seconds(self) -> float:
        """What the process has had of a processor; nothing once it is gone."""
        try:
            fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def is_listening(self) -> bool:
        # The second field is a socket's own address, the third one whom it is connected with.
        lines = pathlib.Path("/proc/net/udp").read_text().splitlines()
        return any(line.split()[1] == f"0100007F:{self.port:04X}" for line in lines)

    def answers(self) -> bool:
        """Whether it acknowledges a registration within 10 ms."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(0.01)
            try:
                peer.connect(("127.0.0.1", self.port))
                peer.send(REGISTRATION)
                return peer.recv(100) == b"ACK\n"
            except OSError:
                return False

    def metric(self, name: str) -> float:
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as page:
                text = page.read().decode()
        except OSError:
            return float("nan")
        found = re.search(rf"^{re.escape(name)} (.*)$", text, re.M)
        return float(found[1] if found else "nan")

    def run(self, *words: str) -> tuple[float, str]:
        """How long a command takes, and what it says."""
        begin = time.monotonic()
        done = subprocess.run(
            [self.program, *words, "--control", self.control], capture_output=True, text=True,
            timeout=PATIENCE_S)
        spent = time.monotonic() - begin
        if done.returncode != 0:
            raise Failure(f"quic-relay {' '.join(words)}: {done.stderr.strip()}")
        return spent, done.stdout

    def end(self) -> None:
        for pid in {self.pid, self.process.pid if self.process else 0} - {0}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.process:
            self.process.wait()


class Pulse:
    """Two peers who send each other one datagram at a time, and what they wait for."""

    def __init__(self, relay: Relay):
        self.process = subprocess.Popen(
            [BENCH / "pulse", str(relay.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True)

    def end_phase(self) -> dict:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()


class Terminal:
    """A dashboard in a terminal that nobody looks at."""

    def __init__(self, folder: pathlib.Path, command: list[str]):
        self.tmux = ["tmux", "-S", str(folder / "tmux"), "-f", "/dev/null"]
        self.do("new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), *command)

    def do(self, *words: str) -> str:
        return subprocess.run(
            [*self.tmux, *words], capture_output=True, text=True, check=True, timeout=30).stdout

    def screen(self) -> str:
        return self.do("capture-pane", "-p")

    def peers(self) -> list[str]:
        """The addresses in the table."""
        return re.findall(r"127\.\d+\.\d+\.\d+:\d+", self.screen())

    def press_until(self, keys: list[str], text: str | None) -> float:
        """Seconds from the keys until the screen has a pattern, or other peers than before."""
        before = self.peers()
        begin = time.monotonic()
        if keys:
            self.do("send-keys", *keys)
        until(lambda: re.search(text, self.screen()) if text else self.peers() != before,
              f"{text or 'other peers'} on the screen")
        return time.monotonic() - begin

    def end(self) -> None:
        subprocess.run([*self.tmux, "kill-server"], capture_output=True, check=False)


# What is done at a dashboard's keys, and what the screen has when it has had its effect: a pattern,
# or nothing if other peers are to be seen than before.
DASHBOARD = [
    ("first picture", [], r" 1 of \d+\n"),
    ("j", ["j"], r" 2 of \d+\n"),
    ("G", ["G"], None),
    ("g", ["g"], None),
    ("filter", ["/", "id:00000000-0000-4000-8000-000000000012", "Enter"],
     r" 1 of 1 \(\d+ in all\)"),
    ("no filter", ["Escape"], None),
    ("sort by the next column", ["s"], None),
]


class Course:
    """The steps, one after the other, and what came of each."""

    def __init__(self, options: argparse.Namespace, folder: pathlib.Path):
        self.options = options
        self.folder = folder
        self.relay = Relay(options.program, folder, options)
        self.rows: list[dict] = []
        self.pulse: Pulse | None = None
        self.crowd: subprocess.Popen | None = None

    @contextmanager
    def step(self, name: str) -> Iterator[dict]:
        """A row of the table; whoever does the step adds what it came to."""
        row = {"step": name, "figures": []}
        if self.pulse:
            self.pulse.end_phase()
        print(f"million: {name}", file=sys.stderr)
        begin, (former, before) = time.monotonic(), (self.relay.pid, self.relay.cpu_seconds())
        yield row
        row["seconds"] = time.monotonic() - begin
        # Another process's time is all of this step.
        spent = self.relay.cpu_seconds() - (before if self.relay.pid == former else 0)
        row["cpu_s"] = max(0, spent)
        if self.pulse:
            row["pulse"] = self.pulse.end_phase()
        self.rows.append(row)
        print(f"million: {row}", file=sys.stderr)

    def run(self) -> None:
        with self.step("start with nothing") as row:
            self.start(row)
        self.pulse = Pulse(self.relay)
        with self.step("nothing else"):
            time.sleep(5)
        self.gather()
        memory = self.relay.figures(self.relay.pid)["VmRSS"]
        self.note(f"resident with {self.options.sessions} sessions: {memory} MiB")
        self.write_state()
        self.look()
        if shutil.which("tmux"):
            self.attach()
        else:
            self.note("the dashboard: SKIPPED: no tmux")
        self.hand_over()
        self.kill()
        self.expire()
        self.stop()

    def note(self, text: str) -> None:
        self.rows.append({"step": text, "figures": []})

    def start(self, row: dict) -> None:
        relay = self.relay
        begin = time.monotonic()
        relay.start()
        until(relay.is_listening, "the relay listens", 0.002)
        row["figures"].append(f"bound after {time.monotonic() - begin:.2f} s")
        until(relay.answers, "the relay answers", 0)
        row["figures"].append(f"answered after {time.monotonic() - begin:.2f} s")
        memory = relay.figures(relay.pid)
        row["figures"].append(f"{memory['VmRSS']} MiB resident, {memory['VmHWM']} at most")

    def gather(self) -> None:
        """Fills the relay; while datagrams come once asks for its status."""
        with self.step("sessions come") as row:
            self.crowd = crowd = subprocess.Popen(
                [BENCH / "crowd", str(self.relay.port), str(self.options.sessions),
                 str(self.options.window)], stdout=subprocess.PIPE, text=True)
            for line in crowd.stdout:
                row["figures"].append(line.strip())
                if line.startswith("client's Handshake"):
                    spent, _ = self.relay.run("status")
                    row["figures"].append(f"status while 1-RTT packets come: {spent:.2f} s")
            if crowd.wait() != 0:
                raise Failure("the crowd did not come together")

    def write_state(self) -> None:
        """Waits until a file was written that has all of it: the second from now on."""
        relay = self.relay
        path = relay.state / "sessions.state"
        for _ in range(2):
            former = path.stat().st_mtime_ns
            with self.step("a state file is written") as row:
                until(lambda: path.stat().st_mtime_ns != former, "a state file", 0.05)
            size = path.stat().st_size / 1e6
            spent = relay.metric("quic_relay_state_write_seconds")
            period = relay.metric("quic_relay_state_period_seconds")
            row["figures"].append(f"{size:.0f} MB in {spent:.2f} s every {period:.1f} s")
            row["figures"].append(f"{relay.figures(relay.pid)['VmRSS']} MiB resident")

    def look(self) -> None:
        last = f"{self.options.sessions - 1:012x}"
        for words in [("status",), ("status",), ("sessions", "--limit", "20"),
                      ("sessions", "--limit", "20", "--sort", "bytes:desc"),
                      ("sessions", "--filter", f"id:00000000-0000-4000-8000-{last}")]:
            with self.step(" ".join(words)) as row:
                spent, _ = self.relay.run(*words)
                row["figures"].append(f"{spent:.2f} s")
        memory = self.relay.figures(self.relay.pid)["VmRSS"]
        self.note(f"resident after pictures were taken: {memory} MiB")

    def attach(self) -> None:
        relay = self.relay
        terminal = Terminal(
            self.folder, [str(relay.program), "attach", "--control", str(relay.control)])
        try:
            for name, keys, text in DASHBOARD:
                with self.step(f"dashboard: {name}") as row:
                    row["figures"].append(f"{terminal.press_until(keys, text):.2f} s")
        finally:
            terminal.end()

    def hand_over(self) -> None:
        relay = self.relay
        with self.step("hand-over (USR2)") as row:
            os.kill(relay.pid, signal.SIGUSR2)
            process = relay.process
            until(lambda: process.poll() is not None or self.failure(), "the hand-over", 0.05)
            if process.poll() is None:
                row["figures"].append(f"FAILED, the former relay goes on: {self.failure()}")
                return
            spent, text = relay.run("status", "--json")
            status = json.loads(text)
            relay.pid = status["pid"]
            memory = relay.figures(relay.pid)
            row["figures"] += [f"{status['restored_sessions']} sessions", f"status {spent:.2f} s",
                               f"{memory['VmRSS']} MiB resident, {memory['VmHWM']} at most"]

    def failure(self) -> str | None:
        """Why a hand-over failed, if one did."""
        found = re.search(r'"handover_failed","reason":"([^"]*)"', self.relay.log.read_text())
        return found[1] if found else None

    def kill(self) -> None:
        relay = self.relay
        self.write_state()
        with self.step("kill -9, and a start") as row:
            os.kill(relay.pid, signal.SIGKILL)
            until(lambda: not relay.is_listening(), "the relay is gone", 0.002)
            self.start(row)
            _, text = relay.run("status", "--json")
            row["figures"].append(f"{json.loads(text)['restored_sessions']} sessions")

    def expire(self) -> None:
        relay = self.relay
        with self.step("all end at once") as row:
            relay.set_timeout(5)
            os.kill(relay.pid, signal.SIGHUP)
            until(lambda: relay.metric('quic_relay_sessions{state="paired"}') <= 1,
                  "the sessions end", 0.05)
            row["figures"].append("ended by a reload with a shorter timeout")

    def stop(self) -> None:
        relay = self.relay
        self.pulse.end()
        self.pulse = None
        with self.step("stop (TERM)") as row:
            os.kill(relay.pid, signal.SIGTERM)
            until(lambda: relay.process.poll() is not None, "the relay's end", 0.002)
            row["figures"].append(f"status {relay.process.returncode}")

    def end(self) -> None:
        if self.crowd:
            self.crowd.kill()
            self.crowd.wait()
        if self.pulse:
            self.pulse.end()
        self.relay.end()

def cells(rows: list[dict]) -> list[list[str]]:
    lines = [["step", "seconds", "CPU s", "p50 µs", "p99 µs", "longest ms", "silent ms", "lost",
              "of"]]
    for row in rows:
        line = [row["step"], f"{row['seconds']:.2f}", f"{row['cpu_s']:.2f}"]
        if pulse := row.get("pulse"):
            line += [f"{pulse['p50_us']}", f"{pulse['p99_us']}", f"{pulse['longest_us'] / 1e3:.1f}",
                     f"{pulse['silence_us'] / 1e3:.1f}", f"{pulse['lost']}",
                     f"{pulse['datagrams'] + pulse['lost']}"]
        lines.append(line + ["-"] * (len(lines[0]) - len(line)))
    return lines


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="million", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=1_000_000, help="(%(default)s)")
    parser.add_argument("--window", type=int, default=512,
                        help="datagrams of the crowd under way at once (%(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="of the relay (%(default)s)")
    parser.add_argument("--program", type=pathlib.Path, default=relays.PROGRAM,
                        help="the relay (%(default)s)")
    parser.add_argument("--folder", type=pathlib.Path, default=None,
                        help="where the state is written (a new one in .build)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    options = parser.parse_args()
    if not 1_000 <= options.sessions <= 1_000_000:
        parser.error("--sessions: 1000 to 1000000")
    return options


def show(course: Course, known: dict[str, str]) -> None:
    if course.options.json:
        print(json.dumps({"machine": known, "steps": course.rows}, indent=1))
        return
    print("\n".join(f"{name:14}{value}" for name, value in known.items()))
    print("\n" + report.text(cells([row for row in course.rows if "seconds" in row])) + "\n")
    for row in course.rows:
        print(row["step"] + (": " if row["figures"] else "") + "; ".join(row["figures"]))


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    options = arguments()
    parent = options.folder or relays.ROOT / ".build"
    before = machine.load_average()
    with tempfile.TemporaryDirectory(prefix="million-", dir=parent) as folder:
        course = Course(options, pathlib.Path(folder))
        status = 0
        try:
            course.run()
        except (Failure, OSError, subprocess.SubprocessError) as error:
            print(f"million: {error}", file=sys.stderr)
            status = 70
        finally:
            course.end()
    known = machine.facts(relays.ROOT)
    known["load average"] = f"{before:.2f} before, {machine.load_average():.2f} after"
    show(course, known)
    return status


if __name__ == "__main__":
    sys.exit(main())
