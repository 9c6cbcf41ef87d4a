"""A wire with two ends in a namespace of its own, and the process that carries its frames.

The kernel of the tests need not have netem: this carries Ethernet frames between two cables by
packet(7) and does to them what its impairments say. As a program it is that process:

    python wire_process.py IMPAIRMENTS SEED
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from lab.impairments import Counts, Direction, Impairments
from waiting import wait_until

if TYPE_CHECKING:
    from lab.namespaces import Namespace

_READY = "carries"
_STOP_WALL_SECONDS = 10.0

# linux/if_packet.h, linux/if_ether.h
_SOL_PACKET, _PACKET_IGNORE_OUTGOING, _ETH_P_ALL = 263, 23, 3
_FRAME_BYTES = 65_536
_BUFFER_BYTES = 8 << 20
# So many frames are taken before the others get their turn.
_BATCH = 64

_SITE_LINK, _CORE_LINK = "site", "core"


class WireProcess:
    """A wire in `middle`, between cables that lead to two ends."""

    def __init__(
        self,
        middle: Namespace,
        ends: Sequence[tuple[Namespace, str]],
        impairments: Impairments,
        seed: int,
        log: Path,
    ) -> None:
        """Starts it and returns when it carries."""
        # Frames must be as they are on a real wire: datagrams of their own, checksums included.
        for namespace, link in (*ends, (middle, _SITE_LINK), (middle, _CORE_LINK)):
            namespace.run("ethtool", "-K", link, "tx", "off", "gso", "off", "gro", "off")
        self._log = log
        command = [sys.executable, str(Path(__file__)), impairments.to_json(), str(seed)]
        with middle.inside(), log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])},
            )
        try:
            wait_until(lambda: self._has_ended() or _READY in self._output(), "the wire")
            assert not self._has_ended(), self._output()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def counts(self) -> tuple[Counts, Counts]:
        """What it did so far, outwards and inwards."""
        lines = self._finished_lines()
        self._process.send_signal(signal.SIGUSR1)
        wait_until(lambda: self._finished_lines() > lines, "the wire's counts")
        outward, inward = json.loads(self._output().splitlines()[lines])
        return Counts(**outward), Counts(**inward)

    def outward(self, taken: int) -> Counts:
        """The counts outwards when it has taken so many datagrams and given all that is to come."""
        wait_until(
            lambda: (now := self.counts()[0]).taken >= taken and now.is_empty, f"{taken} datagrams"
        )
        return self.counts()[0]

    def close(self) -> None:
        """Ends it; it must not have ended by itself."""
        if self._process.returncode is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(_STOP_WALL_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        assert status == 0, f"the wire ended with {status}\n{self._output()}"

    def _has_ended(self) -> bool:
        return self._process.poll() is not None

    def _finished_lines(self) -> int:
        return self._output().count("\n")

    def _output(self) -> str:
        return self._log.read_text(errors="replace")


def _open(link: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    # SO_RCVBUFFORCE, asm-generic/socket.h
    opened.setsockopt(socket.SOL_SOCKET, 33, _BUFFER_BYTES)
    opened.bind((link, _ETH_P_ALL))
    opened.setblocking(False)
    return opened


def _carry(impairments: Impairments, seed: str) -> None:
    """Carries frames until SIGTERM, and prints at each SIGUSR1 what happened to them so far."""
    signals, signaller = socket.socketpair()
    signaller.setblocking(False)
    signal.set_wakeup_fd(signaller.fileno())
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda number, frame: None)
    site, core = _open(_SITE_LINK), _open(_CORE_LINK)
    outward, inward = (Direction(impairments, f"{seed} {way}") for way in ("outward", "inward"))
    ways = ((site, core, outward), (core, site, inward))
    print(_READY, flush=True)
    while True:
        dues = [due for _, _, way in ways if (due := way.next_due) is not None]
        wait = max(0.0, min(dues) - time.monotonic()) if dues else None
        ready, _, _ = select.select([site, core, signals], [], [], wait)
        if signals in ready:
            if signal.SIGTERM in signals.recv(100):
                return
            print(json.dumps([asdict(outward.counts), asdict(inward.counts)]), flush=True)
        for source, sink, way in ways:
            if source in ready:
                _take(source, way)
            now = time.monotonic()
            while (frame := way.give(now)) is not None:
                _send(sink, frame)


def _take(source: socket.socket, way: Direction) -> None:
    for _ in range(_BATCH):
        try:
            frame = source.recv(_FRAME_BYTES)
        except BlockingIOError:
            return
        answer = way.take(frame, time.monotonic())
        if answer is not None:
            _send(source, answer)


def _send(sink: socket.socket, frame: bytes) -> None:
    # A full queue below is a loss like any other.
    with contextlib.suppress(OSError):
        sink.send(frame)


def main() -> None:
    """Is the wire."""
    impairments, seed = Impairments.from_json(sys.argv[1]), sys.argv[2]
    _carry(impairments, seed)


if __name__ == "__main__":
    main()
