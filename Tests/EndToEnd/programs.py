"""Runs two QUIC programs as processes through a relay and compares what they received."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from peers import Address, Peer
from relay_process import REPOSITORY, RelayPeers

HERE = Path(__file__).resolve().parent
# Where programs find these modules and the Python integration.
_SEARCHED = f"{HERE}:{REPOSITORY / 'integrations' / 'python' / 'src'}"
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
    return parser


def transfer_parser() -> argparse.ArgumentParser:
    """The arguments that every program of a transfer takes."""
    parser = peer_parser()
    parser.add_argument("--bytes", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    return parser


def where(port: int, relay: Address) -> list[str]:
    """The arguments that tell a program its own port and where the relay is."""
    own = ["--local-port", str(port)]
    return [*own, "--relay-host", relay.host, "--relay-port", str(relay.port)]


def aioquic_options(host: str, certificate: tuple[Path, Path]) -> list[str]:
    """What the aioquic programs take besides: the address to bind, certificate and key."""
    file, key = map(str, certificate)
    return ["--local-host", host, "--certificate", file, "--key", key]


def register_ports(
    relay: RelayPeers, ports: Sequence[int], through: Sequence[Address] = ()
) -> uuid.UUID:
    """Registers local ports for one session and frees them for the QUIC programs.

    The way in without an agent: only the address counts, not the socket that registered it.
    `through` is where each port finds the relay, if that is behind a NAT's inner address.
    """
    session = relay.new_session()
    for port, seen in zip(ports, through or [relay.address] * len(ports), strict=True):
        with Peer(seen, port=port) as peer:
            peer.register(session)
    return session


class Transfer:
    """Server and client of one transfer, and both checksums at its end.

    `relays` is where server and client find the relay and `ports` are their local ports; the server
    sends the payload of `seed`, the client that of `seed + 1`.
    """

    def __init__(
        self,
        program: str,
        relays: Sequence[Address],
        ports: Sequence[int],
        seed: int,
        directory: Path,
        *options: str,
        byte_count: int = TRANSFER_BYTES,
    ) -> None:
        """Starts both programs, the client when the server has its port."""
        self._seed = seed
        self._byte_count = byte_count
        self._children: list[Child] = []
        self._deadline = time.monotonic() + TRANSFER_WALL_SECONDS
        directory.mkdir(parents=True, exist_ok=True)
        roles = zip(("server", "client"), relays, ports, (seed, seed + 1), strict=True)
        try:
            for role, relay, port, own_seed in roles:
                arguments = [role, *where(port, relay), "--bytes", str(byte_count)]
                arguments += ["--seed", str(own_seed), *options]
                child = Child(program, arguments, directory / f"{role}.log")
                self._children.append(child)
                if role == "server":
                    child.await_bound(port)
        except BaseException:
            self.end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def is_running(self) -> bool:
        """Whether either program still runs; the failure of one is a failure."""
        if not any([child.is_running() for child in self._children]):
            return False
        in_time = time.monotonic() < self._deadline
        check(in_time, self._children, f"no end in {TRANSFER_WALL_SECONDS} s")
        return True

    def finish(self) -> tuple[Received, Received]:
        """Awaits the end, checks both checksums, and returns what server and client got."""
        while self.is_running():
            time.sleep(_POLL_SECONDS)
        server, client = (Received(**child.report()) for child in self._children)
        for got, sender_seed, direction in (
            (server, self._seed + 1, "client to server"),
            (client, self._seed, "server to client"),
        ):
            sent = hashlib.sha256(payload(sender_seed, self._byte_count)).hexdigest()
            whole = got.byte_count == self._byte_count
            check(whole, self._children, f"{direction}: {got.byte_count} bytes")
            check(got.sha256 == sent, self._children, f"{direction}: other bytes than were sent")
        return server, client

    def end(self) -> None:
        """Kills what still runs."""
        for child in self._children:
            child.end()


def transfer(
    program: str,
    relay: Address,
    ports: Sequence[int],
    seed: int,
    directory: Path,
    *options: str,
    byte_count: int = TRANSFER_BYTES,
) -> tuple[Received, Received]:
    """Runs a whole transfer between programs that both find the relay at its own address."""
    relays = (relay, relay)
    with Transfer(
        program, relays, ports, seed, directory, *options, byte_count=byte_count
    ) as running:
        return running.finish()


def throughput(name: str, received: Received) -> str:
    """A line for the summary."""
    mebibytes = received.byte_count / (1 << 20)
    return (
        f"{name}: {mebibytes:g} MiB each way in {received.seconds:.2f} s, "
        f"{2 * mebibytes / received.seconds:.1f} MiB/s in all"
    )


class Child:
    """A QUIC program as a child process, its output in a file; it runs until its input ends."""

    def __init__(self, program: str, arguments: list[str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / program), *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONPATH": _SEARCHED},
            )

    def is_running(self) -> bool:
        """Whether it still runs; a failure ends the wait for the other program too."""
        status = self.process.poll()
        check(status in (None, 0), [self], f"ended with status {status}")
        return status is None

    def await_bound(self, port: int) -> None:
        """Waits until the program has bound its port, looking on without touching the port."""
        deadline = time.monotonic() + BIND_WALL_SECONDS
        while not _is_bound(port):
            check(self.is_running(), [self], "ended without a word")
            check(time.monotonic() < deadline, [self], f"port {port} is still free")
            time.sleep(_POLL_SECONDS)

    def output(self) -> str:
        """What the program printed so far."""
        return self.log.read_text(errors="replace")

    def ask_to_end(self) -> None:
        """Ends the program's input; a program of a transfer does not care."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def end(self) -> None:
        """Kills the program if it still runs."""
        self.ask_to_end()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def report(self) -> dict[str, Any]:
        """What the program reported."""
        reports = [line for line in self.output().splitlines() if line.startswith("{")]
        check(len(reports) == 1, [self], "no report, or several")
        report: dict[str, Any] = json.loads(reports[0])
        return report


def _is_bound(port: int) -> bool:
    for table in (Path("/proc/net/udp"), Path("/proc/net/udp6")):
        # The second column is the local address, HEX_ADDRESS:HEX_PORT (proc(5)).
        lines = table.read_text().splitlines()[1:] if table.exists() else []
        if any(line.split()[1].endswith(f":{port:04X}") for line in lines):
            return True
    return False


def check(condition: bool, children: Sequence[Child], message: str) -> None:
    """Fails with the message and what the programs printed."""
    if condition:
        return
    logs = [f"--- {child.log.name}\n{child.output()}" for child in children]
    raise AssertionError("\n".join([message, *logs]))
