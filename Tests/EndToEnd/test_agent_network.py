"""An agent whose machine gets another address in the midst of a connection, in network namespaces.

Needs root and ip(8); skipped loudly elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Note
from conversation import LIVE
from programs import HERE, TRANSFER_WALL_SECONDS, aioquic_options
from relay_log import parse
from relay_process import neutral_environment, relay_binary, why_no_relay
from waiting import wait_until

SESSION = "0d5a2f0e-6c1b-4d7e-9f39-5a1c37ad5b10"
RELAY, FIRST, SECOND = "10.77.0.1", "10.77.0.2", "10.77.0.3"


class Namespace:
    """A network namespace, and the programs that run in it."""

    def __init__(self, name: str, directory: Path) -> None:
        """Makes it; its loopback interface is up."""
        self.name = name
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        _ip("netns", "add", name)
        _ip("-n", name, "link", "set", "lo", "up")

    def start(self, log: str, *command: str) -> Path:
        """Starts a program and returns where it prints to."""
        path = self._directory / log
        environment = neutral_environment() | {"QUIC_RELAY_SESSION": SESSION}
        with path.open("wb") as output:
            self._processes.append(
                subprocess.Popen(
                    ["ip", "netns", "exec", self.name, *command],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment,
                )
            )
        return path

    def close(self) -> None:
        """Ends its programs and removes it."""
        for process in self._processes:
            process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()
        _ip("netns", "del", self.name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def namespaces(tmp_path: Path, rng: random.Random) -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces with a cable between them: the relay's, and a machine that moves."""
    missing = why_no_relay()
    if missing:
        pytest.fail(missing, pytrace=False)
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and ip(8) for network namespaces")
    names = [f"qr-{rng.randrange(1 << 24):06x}-{side}" for side in ("r", "m")]
    with contextlib.ExitStack() as made:
        try:
            there, here = [Namespace(name, tmp_path) for name in names]
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr!r}")
        made.callback(here.close)
        made.callback(there.close)
        _ip("-n", there.name, "link", "add", "up0", "type", "veth", "peer", "name", "up1")
        _ip("-n", there.name, "link", "set", "up1", "netns", here.name)
        for namespace, link, address in ((there, "up0", RELAY), (here, "up1", FIRST)):
            _ip("-n", namespace.name, "addr", "add", f"{address}/24", "dev", link)
            _ip("-n", namespace.name, "link", "set", link, "up")
        yield there, here


def _await_event(log: Path, name: str, count: int = 1) -> dict[str, str]:
    def events() -> list[dict[str, str]]:
        return [e.fields for e in parse(log.read_text(errors="replace")) if e.name == name]

    wait_until(lambda: len(events()) >= count, f"{count} times {name} in {log.name}")
    return events()[count - 1]


def test_another_address_is_noticed_and_used_at_once(
    namespaces: tuple[Namespace, Namespace], certificate: tuple[Path, Path], note: Note
) -> None:
    there, here = namespaces
    binary = str(relay_binary())
    relay_log = there.start("relay.log", binary, "--no-tui", "--bind", RELAY)
    _await_event(relay_log, "listening")
    agent = [binary, "agent", "--relay", RELAY]
    server = there.start("server-agent.log", *agent, "--forward", "127.0.0.1:5555")
    _await_event(server, "registered")
    client = here.start("client-agent.log", *agent, "--listen", "127.0.0.1:5556")
    _await_event(client, "registered")

    program = [sys.executable, str(HERE / "aioquic_flow.py")]
    options = ["--relay-host", "127.0.0.1", "--relay-port", "5556"]
    options += aioquic_options("127.0.0.1", certificate)
    there.start("server.log", *program, "server", "--local-port", "5555", *options)
    # The client repeats its first packet until the server is there.
    flow = here.start("client.log", *program, "client", "--local-port", "0", *options)
    wait_until(lambda: LIVE in flow.read_text(), "the flow", TRANSFER_WALL_SECONDS)

    at = time.monotonic()
    _ip("-n", here.name, "addr", "add", f"{SECOND}/24", "dev", "up1")
    _ip("-n", here.name, "addr", "del", f"{FIRST}/24", "dev", "up1")
    # Removing the first address of a network removes the others with it (promote_secondaries).
    _ip("-n", here.name, "addr", "replace", f"{SECOND}/24", "dev", "up1")
    change = _await_event(client, "network_changed")
    assert change["cause"] in ("address", "send_error")
    _await_event(client, "registered", 2)
    rebind = _await_event(relay_log, "rebind")
    assert rebind["to"].startswith(f"{SECOND}:")

    def gaps() -> list[float]:
        lines = [json.loads(line) for line in flow.read_text().splitlines() if line[:1] == "["]
        return [seconds for start, seconds in lines if start + seconds > at]

    wait_until(gaps, "the flow to go on")
    note(f"another address: the flow was cut off for {max(gaps()) * 1e3:.0f} ms")
