"""A process that may have few descriptors or little memory: it says so at its start, or carries on."""

from __future__ import annotations

import re
import resource
import socket
import subprocess
import time
from pathlib import Path

import pytest

from commands import Commands
from peers import exchange, free_ports
from prometheus import ask, metrics_address
from relay_process import StartRelay, neutral_environment, relay_binary
from waiting import wait_until

# A start takes milliseconds; one that hangs is a failure.
START_WALL_SECONDS = 60.0


def _try(
    limit: int, value: int, ready: tuple[bytes, ...], *arguments: str
) -> subprocess.CompletedProcess[bytes] | None:
    """Starts a relay with a limit; what it ended with, or nothing once it has said all of `ready`."""
    port = str(free_ports("127.0.0.1", 1)[0])
    process = subprocess.Popen(
        [str(relay_binary()), "--no-tui", "--bind", "127.0.0.1", "--port", port, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=neutral_environment() | {"SWIFT_BACKTRACE": "enable=no"},
        preexec_fn=lambda: resource.setrlimit(limit, (value, value)),
    )
    assert process.stdout is not None
    lines = b""
    while line := process.stdout.readline():
        lines += line
        if all(word in lines for word in ready):
            process.terminate()
            rest, _ = process.communicate(timeout=START_WALL_SECONDS)
            assert process.returncode in (0, -15), lines + rest
            return None
    process.wait(START_WALL_SECONDS)
    return subprocess.CompletedProcess([], process.returncode, lines)


def test_too_few_descriptors_are_a_clear_error(tmp_path: Path) -> None:
    """From none at all up to as many as it takes, one after the other."""
    options = ("--control", str(tmp_path / "control"), "--metrics", "0")
    options += ("--state-dir", str(tmp_path / "state"), "--session-log", str(tmp_path / "log"))
    ready = (b" listening ", b" metrics_served ", b" control_listening ")
    results = {}
    for count in range(4, 64):
        result = _try(resource.RLIMIT_NOFILE, count, ready, *options)
        results[count] = result
        if result is None:
            break
    assert results[count] is None, f"it does not start with {count} descriptors"
    for count, result in results.items():
        if result is None:
            continue
        text = result.stdout.decode(errors="replace")
        shown = f"{count} descriptors: status {result.returncode}\n{text}"
        # Below some number not even the dynamic linker can open the program's libraries.
        if "error while loading shared libraries" in text:
            continue
        assert 64 <= result.returncode <= 78, shown
        assert re.search(r"quic-relay: .*Too many open files", text), shown


def test_with_few_descriptors_it_carries_on(start_relay: StartRelay, tmp_path: Path) -> None:
    """Clients that there is no descriptor for wait; forwarding needs none."""
    control, state = tmp_path / "control", tmp_path / "state"
    options = ("--control", str(control), "--metrics", "0", "--state-dir", str(state))
    relay = start_relay(*options)
    a, b = relay.pair()
    address = metrics_address(relay)
    # All of it has started.
    wait_until((state / "sessions.state").exists, "the state file is written")
    wait_until(lambda: relay.events("control_listening"), "the control socket is there")
    Commands(control).value("status")
    opened = len(list(Path(f"/proc/{relay.process.pid}/fd").iterdir()))
    _, hard = resource.prlimit(relay.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(relay.process.pid, resource.RLIMIT_NOFILE, (opened + 3, hard))
    clients = [socket.create_connection(address) for _ in range(12)]
    exchange(a, b, "while there are none")
    wait_until(lambda: relay.events("state_not_written"), "the state file cannot be opened")
    before = _processor_seconds(relay.process.pid)
    time.sleep(2)
    assert _processor_seconds(relay.process.pid) - before < 1, "it spins"
    for client in clients:
        client.close()
    wait_until(lambda: relay.events("state_written"), "and can again")
    assert ask(relay, "/healthz")[0] == 200
    Commands(control).value("status")
    exchange(a, b, "afterwards")


def _processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@pytest.mark.parametrize("sessions", ["1000", "4000000"])
def test_too_little_memory_is_no_start(sessions: str) -> None:
    """It ends at once with an error, or it serves: nothing in between."""
    mebibyte = 1 << 20
    for limit in (64, 128, 256, 512, 1_024):
        options = ("--session-limit", sessions)
        result = _try(resource.RLIMIT_AS, limit * mebibyte, (b" listening ",), *options)
        if result is None:
            continue
        text = result.stdout.decode(errors="replace")
        assert result.returncode != 0 and " listening " not in text, text
        assert "memory" in text.lower(), f"{limit} MiB: status {result.returncode}\n{text}"
