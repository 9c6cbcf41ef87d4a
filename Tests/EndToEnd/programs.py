"""Runs two QUIC programs as processes through a relay and compares what they received."""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from peers import Address, Peer
from relay_process import Relay

HERE = Path(__file__).resolve().parent
TRANSFER_BYTES = 10 << 20

# A wall guards against hanging; it says nothing about speed. A transfer takes seconds.
TRANSFER_WALL_SECONDS = 120.0
BIND_WALL_SECONDS = 30.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Received:
    """What one program got from the other, as it printed it; its last line of output."""

    sha256: str
    byte_count: int
    # From the first byte sent to the last one received, handshake excluded.
    seconds: float
    registration_tries: int = 0


def payload(seed: int, byte_count: int) -> bytes:
    """The bytes that the program with this seed sends."""
    return random.Random(seed).randbytes(byte_count)


def print_received(received: bytes, seconds: float, registration_tries: int = 0) -> None:
    """Reports to the test what arrived."""
    digest = hashlib.sha256(received).hexdigest()
    result = Received(digest, len(received), seconds, registration_tries)
    print(json.dumps(vars(result)), flush=True)


def peer_parser() -> argparse.ArgumentParser:
    """The arguments that every QUIC program of these tests takes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["server", "client"])
    parser.add_argument("--local-port", type=int, required=True)
    parser.add_argument("--relay-host", required=True)
    parser.add_argument("--relay-port", type=int, required=True)
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    return parser


def register_ports(relay: Relay, ports: Sequence[int]) -> None:
    """Registers local ports for one session and frees them for the QUIC programs.

    The way in without an agent: only the address counts, not the socket that registered it.
    """
    session = relay.new_session()
    for port in ports:
        with Peer(relay.address, port=port) as peer:
            peer.register(session)


def transfer(
    program: str,
    relay: Address,
    ports: Sequence[int],
    seed: int,
    directory: Path,
    *options: str,
    byte_count: int = TRANSFER_BYTES,
) -> tuple[Received, Received]:
    """Runs server and client, checks both checksums, and returns what server and client got.

    `ports` are the local ports of server and client; the server sends the payload of `seed`, the
    client that of `seed + 1`.
    """
    children: list[_Child] = []
    deadline = time.monotonic() + TRANSFER_WALL_SECONDS
    try:
        for role, port, own_seed in zip(("server", "client"), ports, (seed, seed + 1), strict=True):
            arguments = [role, "--local-port", str(port), "--relay-host", relay.host]
            arguments += ["--relay-port", str(relay.port), "--bytes", str(byte_count)]
            arguments += ["--seed", str(own_seed), *options]
            child = _Child(program, arguments, directory / f"{role}.log")
            children.append(child)
            if role == "server":
                child.await_bound(port)
        while any([child.is_running() for child in children]):
            _check(time.monotonic() < deadline, children, f"no end in {TRANSFER_WALL_SECONDS} s")
            time.sleep(_POLL_SECONDS)
    finally:
        for child in children:
            child.end()
    server, client = (child.received() for child in children)
    for got, sender_seed, direction in (
        (server, seed + 1, "client to server"),
        (client, seed, "server to client"),
    ):
        expected = hashlib.sha256(payload(sender_seed, byte_count)).hexdigest()
        _check(got.byte_count == byte_count, children, f"{direction}: {got.byte_count} bytes")
        _check(got.sha256 == expected, children, f"{direction}: other bytes than were sent")
    return server, client


def throughput(name: str, received: Received) -> str:
    """A line for the summary."""
    mebibytes = received.byte_count / (1 << 20)
    return (
        f"{name}: {mebibytes:g} MiB each way in {received.seconds:.2f} s, "
        f"{2 * mebibytes / received.seconds:.1f} MiB/s in all"
    )


class _Child:
    """A QUIC program as a child process, its output in a file."""

    def __init__(self, program: str, arguments: list[str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def is_running(self) -> bool:
        """Whether it still runs; a failure ends the wait for the other program too."""
        status = self.process.poll()
        _check(status in (None, 0), [self], f"ended with status {status}")
        return status is None

    def await_bound(self, port: int) -> None:
        """Waits until the program has bound its port, looking on without touching the port."""
        deadline = time.monotonic() + BIND_WALL_SECONDS
        while not _is_bound(port):
            _check(self.is_running(), [self], "ended without a word")
            _check(time.monotonic() < deadline, [self], f"port {port} is still free")
            time.sleep(_POLL_SECONDS)

    def end(self) -> None:
        """Kills the program if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def received(self) -> Received:
        """What the program reported."""
        lines = self.log.read_text(errors="replace").splitlines()
        reports = [line for line in lines if line.startswith("{")]
        _check(len(reports) == 1, [self], "no report, or several")
        return Received(**json.loads(reports[0]))


def _is_bound(port: int) -> bool:
    for table in (Path("/proc/net/udp"), Path("/proc/net/udp6")):
        # The second column is the local address, HEX_ADDRESS:HEX_PORT (proc(5)).
        lines = table.read_text().splitlines()[1:] if table.exists() else []
        if any(line.split()[1].endswith(f":{port:04X}") for line in lines):
            return True
    return False


def _check(condition: bool, children: list[_Child], message: str) -> None:
    if condition:
        return
    logs = [f"--- {child.log.name}\n{child.log.read_text(errors='replace')}" for child in children]
    raise AssertionError("\n".join([message, *logs]))
