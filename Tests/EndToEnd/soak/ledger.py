"""Sockets whose every datagram is counted, so that sums can be checked."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass

from peers import SOL_UDP, UDP_SEGMENT, Address

# socket(7): SO_MEMINFO, an array of which the ninth number counts what the socket dropped
# (linux/sock_diag.h, SK_MEMINFO_DROPS).
_SO_MEMINFO = 55
_DROPS_AT = 8

_BUFFER_BYTES = 4 << 20
# More than this is not read from a socket at once, so that all get their turn.
_READ_LIMIT = 256


@dataclass
class Ledger:
    """What was sent to relays, what came back, and what came back and found no room."""

    sent: int = 0
    received: int = 0
    overflowed: int = 0


class CountedSocket:
    """A UDP socket that speaks to one relay."""

    def __init__(self, relay: Address, host: str, ledger: Ledger) -> None:
        """Binds to any port of `host`."""
        self._relay = (relay.host, relay.port)
        self._ledger = ledger
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self.socket.setblocking(False)
        self.socket.bind((host, 0))

    def send(self, payload: bytes) -> None:
        """Sends one datagram, unless the system has no room for it."""
        with contextlib.suppress(BlockingIOError):
            self.socket.sendto(payload, self._relay)
            self._ledger.sent += 1

    def send_train(self, payload: bytes, segment_bytes: int) -> None:
        """Hands the kernel one buffer to cut into datagrams of this length (UDP GSO)."""
        ancillary = [(SOL_UDP, UDP_SEGMENT, struct.pack("@H", segment_bytes))]
        with contextlib.suppress(BlockingIOError):
            self.socket.sendmsg([payload], ancillary, 0, self._relay)
            self._ledger.sent += -(-len(payload) // segment_bytes)

    def receive(self) -> list[bytes]:
        """What has come, as far as it is this one's turn."""
        received: list[bytes] = []
        with contextlib.suppress(BlockingIOError):
            while len(received) < _READ_LIMIT:
                payload, source = self.socket.recvfrom(65_536)
                assert source == self._relay, f"a datagram from {source}"
                received.append(payload)
        self._ledger.received += len(received)
        return received

    @property
    def overflowed(self) -> int:
        """How many datagrams found no room in its buffer."""
        info = self.socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 64)
        return int(struct.unpack_from("@I", info, 4 * _DROPS_AT)[0])


class Switchboard:
    """All sockets that are open, and who takes what comes to each."""

    def __init__(self, relay: Address) -> None:
        self._relay = relay
        self.ledger = Ledger()
        self._poll = select.epoll()
        self._open: dict[int, tuple[CountedSocket, Callable[[bytes], None]]] = {}

    def open(self, host: str, take: Callable[[bytes], None]) -> CountedSocket:
        """A socket on any port of `host`; what comes to it is given to `take`."""
        opened = CountedSocket(self._relay, host, self.ledger)
        descriptor = opened.socket.fileno()
        self._poll.register(descriptor, select.EPOLLIN)
        self._open[descriptor] = opened, take
        return opened

    def close(self, closed: CountedSocket) -> None:
        """Closes it; nothing may be on its way to it any more."""
        descriptor = closed.socket.fileno()
        self._deliver(descriptor)
        self.ledger.overflowed += closed.overflowed
        self._poll.unregister(descriptor)
        del self._open[descriptor]
        closed.socket.close()

    def deliver(self, wait_seconds: float) -> int:
        """Hands out what has come, after waiting for it at most so long; how many datagrams."""
        return sum(self._deliver(descriptor) for descriptor, _ in self._poll.poll(wait_seconds))

    @property
    def accounted(self) -> Ledger:
        """The ledger, with what the open sockets dropped."""
        ledger = self.ledger
        dropped = sum(opened.overflowed for opened, _ in self._open.values())
        return Ledger(ledger.sent, ledger.received, ledger.overflowed + dropped)

    def close_all(self) -> None:
        """Closes all."""
        for opened, _ in self._open.values():
            opened.socket.close()
        self._open = {}
        self._poll.close()

    def _deliver(self, descriptor: int) -> int:
        opened, take = self._open[descriptor]
        received = opened.receive()
        for payload in received:
            take(payload)
        return len(received)
