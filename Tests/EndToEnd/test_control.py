"""The control socket of a relay that forwards meanwhile: clients that misbehave, and who may be one.

A closed loop of two peers runs in each of these tests: a datagram goes there and one comes back before
the next one goes, so that nothing can be lost for want of buffers. Not one may be missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from peers import Peer, ping_pong
from relay_process import Relay, StartRelay
from sanitized import assert_memory_grew_less
from waiting import wait_until

HOST_A, HOST_B = "127.0.0.2", "127.0.0.3"
NOBODY, STRANGERS = 65534, 54321
# What 64 clients may make a relay of 1,000 sessions hold, several times over.
MEMORY_WALL_BYTES = 64 << 20
ATTACK_SECONDS = 5.0
# A client that reads nothing is dropped after 10 s.
STALL_WALL_SECONDS = 60.0


class Control:
    """A relay with control sockets, a closed loop through it, and 100 sessions that wait."""

    def __init__(self, relay: Relay, path: str, read_only: str) -> None:
        self.relay = relay
        self.path = path
        self.read_only = read_only
        self.a, self.b = relay.pair(HOST_A, HOST_B)
        for _ in range(100):
            relay.peer("127.0.0.4").register(relay.new_session())
        self.memory_before = self.memory()

    def connect(self, path: str | None = None) -> socket.socket:
        """A client that has said and read nothing yet."""
        client = socket.socket(socket.AF_UNIX)
        # With a limit of time it would fail at once where others wait to be accepted (unix(7)).
        client.connect(path or self.path)
        client.settimeout(30)
        return client

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """What a client that behaves is answered."""
        with self.connect() as client, client.makefile("rb") as lines:
            assert "quic_relay" in json.loads(lines.readline())
            client.sendall(json.dumps({"id": 1} | request).encode() + b"\n")
            return json.loads(lines.readline())

    def memory(self) -> int:
        """The relay's memory, in bytes."""
        status = Path(f"/proc/{self.relay.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) << 10

    def forward_until(self, is_over: Callable[[], bool]) -> int:
        """Lets the closed loop run, which must lose nothing; says how many round trips there were."""
        count = 0
        while not is_over():
            ping_pong(self.a, self.b)
            count += 1
        return count

    def check(self) -> None:
        """The relay is as it was: it answers, it has not grown, and it dropped nothing."""
        assert_memory_grew_less(self.memory() - self.memory_before, MEMORY_WALL_BYTES)
        totals = self.ask({"request": "status"})["status"]["totals"]
        assert totals["dropped_datagrams"] == 0, totals["drops"]


@pytest.fixture
def sockets() -> Iterator[str]:
    """A directory whose path is short enough for a socket's (unix(7)), and which others may enter."""
    with tempfile.TemporaryDirectory(prefix="control-") as directory:
        os.chmod(directory, 0o755)
        yield directory


@pytest.fixture
def control(start_relay: StartRelay, sockets: str) -> Control:
    path, read_only = f"{sockets}/control.sock", f"{sockets}/read-only.sock"
    relay = start_relay("--control", path, "--control-read-only", read_only)
    wait_until(lambda: relay.events("control_listening"), "the control sockets")
    return Control(relay, path, read_only)


@contextlib.contextmanager
def in_threads(count: int, work: Callable[[], None]) -> Iterator[list[threading.Thread]]:
    """Work that several threads do meanwhile; what fails in one fails the test."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    yield threads
    for thread in threads:
        thread.join()
    assert not failures, failures


def test_clients_that_never_read(control: Control) -> None:
    clients = [control.connect() for _ in range(20)]
    for client in clients:
        client.setblocking(False)
        line = b'{"id":1,"request":"sessions"}\n{"id":2,"request":"events","follow":true}\n'
        with contextlib.suppress(BlockingIOError):
            # Far more than is answered, or heard, before something was read.
            for _ in range(2_000):
                client.send(line)
    deadline = time.monotonic() + STALL_WALL_SECONDS
    dropped = 0

    def are_dropped() -> bool:
        nonlocal dropped
        assert time.monotonic() < deadline, f"{dropped} of 20 dropped"
        assert_memory_grew_less(control.memory() - control.memory_before, MEMORY_WALL_BYTES)
        dropped = control.ask({"request": "status"})["status"]["control"]["dropped_clients"]
        return dropped == 20

    assert control.forward_until(are_dropped) > 10
    # One line for all of them.
    (line, *_) = control.relay.events("control_client_dropped")
    assert line.fields["reason"] == "does not read"
    control.check()
    for client in clients:
        client.close()


def test_clients_that_send_garbage(control: Control, seed: int) -> None:
    end = time.monotonic() + ATTACK_SECONDS
    numbers = iter(range(seed, seed + 100))

    def spoil() -> None:
        rng = random.Random(next(numbers))
        while time.monotonic() < end:
            with control.connect() as client, contextlib.suppress(OSError):
                client.setblocking(False)
                for _ in range(rng.randrange(1, 50)):
                    client.send(_garbage(rng))

    with in_threads(4, spoil):
        count = control.forward_until(lambda: time.monotonic() >= end)
    assert count > 10
    control.check()


def _garbage(rng: random.Random) -> bytes:
    good = b'{"id":1,"request":"view","sort":"rate-ab","filter":"why:mute","selected":"0"}\n'
    match rng.randrange(5):
        case 0:
            return rng.randbytes(rng.randrange(2_000))
        case 1:
            return b"x" * rng.randrange(100_000)
        case 2:
            return b'{"id":1,"request":' + b"[" * rng.randrange(5_000) + b"\n"
        case 3:
            spoilt = bytearray(good)
            spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
            return bytes(spoilt)
        case _:
            return good[: rng.randrange(len(good))] + b"\n"


def test_a_thousand_connections(control: Control) -> None:
    connected = 0

    def connect() -> None:
        nonlocal connected
        for number in range(1_000):
            with control.connect() as client:
                if number % 2:
                    client.send(b'{"id":1,"request":"status"}\n')
            connected += 1

    with in_threads(1, connect) as threads:
        control.forward_until(lambda: not threads[0].is_alive())
    assert connected == 1_000
    control.check()


def test_more_clients_than_there_may_be(control: Control) -> None:
    clients = [control.connect() for _ in range(200)]
    first = [json.loads(client.makefile("rb").readline()) for client in clients]
    assert sum("quic_relay" in line for line in first) == 64
    refused = [line["error"]["code"] for line in first if "error" in line]
    assert refused == ["too_many_clients"] * 136
    control.forward_until(iter([False] * 100 + [True]).__next__)
    for client in clients:
        client.close()
    wait_until(
        lambda: control.ask({"request": "status"})["status"]["control"]["clients"] == 1,
        "the clients' leaving",
    )
    control.check()


# Who may use it


def _greeting(path: str, user: int, *groups: int) -> str:
    """What a process of another user gets to read first, or why it may not."""
    script = (
        "import socket, sys\n"
        "client = socket.socket(socket.AF_UNIX)\n"
        "try:\n"
        "    client.connect(sys.argv[1])\n"
        "    print(client.makefile().readline())\n"
        "except PermissionError:\n"
        "    print('no permission')\n"
    )
    done = subprocess.run(
        # Not the tests' own Python, which may be where only its owner can read.
        [shutil.which("python3", path=os.defpath) or sys.executable, "-c", script, path],
        user=user,
        group=user,
        extra_groups=groups,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


@root_only
def test_another_user_is_refused(control: Control) -> None:
    for path in (control.path, control.read_only):
        assert os.stat(path).st_mode & 0o777 == 0o600
        assert _greeting(path, NOBODY) == "no permission"
        # Even if somebody lets the file be used by everybody.
        os.chmod(path, 0o666)
        answer = json.loads(_greeting(path, NOBODY))
        assert answer["error"]["code"] == "not_permitted"
        assert str(NOBODY) in answer["error"]["message"]
    (line, *_) = control.relay.events("control_client_refused")
    assert line.fields == {"reason": "not_permitted", "user": str(NOBODY)}
    control.check()


@root_only
def test_members_of_a_group_may_use_it(start_relay: StartRelay, sockets: str) -> None:
    import grp

    group = grp.getgrgid(NOBODY)
    path = f"{sockets}/control.sock"
    relay = start_relay("--control", path, "--control-group", group.gr_name)
    wait_until(lambda: relay.events("control_listening"), "the control socket")
    status = os.stat(path)
    assert (status.st_mode & 0o777, status.st_gid) == (0o660, NOBODY)
    assert "quic_relay" in json.loads(_greeting(path, STRANGERS, NOBODY))
    assert "quic_relay" in json.loads(_greeting(path, NOBODY))
    assert _greeting(path, STRANGERS) == "no permission"


def test_a_socket_that_is_in_use_is_left_alone(control: Control, sockets: str) -> None:
    from relay_process import neutral_environment, relay_binary

    command = [str(relay_binary()), "--no-tui", "--bind", "127.0.0.1", "--port", "0"]
    done = subprocess.run(
        [*command, "--control", control.path],
        env=neutral_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 69
    assert f"control socket {control.path}: Address already in use" in done.stderr
    control.check()
    # What a relay leaves that is killed is no hindrance.
    path = f"{sockets}/other.sock"
    for number in (signal.SIGKILL, signal.SIGTERM):
        with subprocess.Popen(
            [*command, "--control", path],
            env=neutral_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as other:
            assert other.stdout
            lines = iter(other.stdout.readline, b"")
            assert any(b"control_listening" in line for line in lines)
            other.send_signal(number)
        assert Path(path).exists() == (number == signal.SIGKILL)
