"""Raw UDP peers: what a client of the relay looks like at the seam, bytes in and bytes out."""

from __future__ import annotations

import contextlib
import errno
import random
import socket
import struct
import time
import uuid
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

ACK = b"ACK\n"

# A wall guards against hanging; on loopback a datagram that comes at all comes within microseconds.
DATAGRAM_WALL_SECONDS = 10.0

# Absence can only be seen by waiting. A relay that answers wrongly answers at once.
SILENCE_SECONDS = 0.3

# linux/udp.h; the socket module does not name them.
SOL_UDP = 17
UDP_SEGMENT = 103

# The loopback MTU is 65,536 and the relay never fragments.
# IPv4: 65,535 (its length field) - 20 - 8; IPv6: 65,536 (the MTU) - 40 - 8.
LARGEST_PAYLOAD_BYTES = {socket.AF_INET: 65_507, socket.AF_INET6: 65_488}


@dataclass(frozen=True)
class Address:
    """An IP address and a UDP port."""

    host: str
    port: int

    @property
    def family(self) -> socket.AddressFamily:
        """The socket family of the host."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET


def registration(session: uuid.UUID | str, ending: bytes = b"\n") -> bytes:
    """The version 1 registration line of a session."""
    return b"REG:" + str(session).encode("ascii") + ending


def free_ports(host: str, count: int) -> list[int]:
    """Different ports that nothing uses at the moment, on the host or on all addresses.

    None of them is one that the kernel gives to whoever asks for any port: a peer could get that
    before the program that it is meant for is there, and would then answer itself.
    """
    family = Address(host, 0).family
    found: list[int] = []
    for _ in range(len(_ports)):
        _ports.rotate(-1)
        if _is_free(_ports[0], family):
            found.append(_ports[0])
        if len(found) == count:
            return found
    raise AssertionError(f"of {len(_ports)} ports, {count} are not free")


def _is_free(port: int, family: socket.AddressFamily) -> bool:
    with contextlib.ExitStack() as probes:
        try:
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                probes.enter_context(socket.socket(family, kind)).bind(("", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True


def _own_ports() -> list[int]:
    """The ports that the kernel gives nobody by itself (ip(7), ip_local_port_range; IPv6 too)."""
    range_file = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first, last = (int(field) for field in range_file.read_text().split())
    return [port for port in range(10_000, 1 << 16) if not first <= port <= last]


# Each in turn, so that none is given out again while another that was given out is not yet in use;
# from anywhere, so that two runs at the same time do not want the same.
_ports = deque(_own_ports())
random.SystemRandom().shuffle(_ports)


class Peer:
    """One UDP socket that speaks to one relay and checks that only the relay speaks to it."""

    def __init__(self, relay: Address, host: str | None = None, port: int = 0) -> None:
        """Binds to `host`, which is the relay's own address unless given."""
        self.relay = relay
        self.socket = socket.socket(relay.family, socket.SOCK_DGRAM)
        # Trains and bursts must not overflow here: a drop of ours would look like one of the relay.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        if relay.family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        else:
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        self.socket.bind((host or relay.host, port))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def port(self) -> int:
        """The local port."""
        return int(self.socket.getsockname()[1])

    def close(self) -> None:
        """Frees the local port."""
        self.socket.close()

    def send(self, payload: bytes, ecn: int | None = None) -> None:
        """Sends one datagram, with these ECN bits when given."""
        ancillary = [] if ecn is None else [(*self._traffic_class, struct.pack("@i", ecn))]
        self.socket.sendmsg([payload], ancillary, 0, (self.relay.host, self.relay.port))

    def send_train(self, payload: bytes, segment_bytes: int) -> None:
        """Hands the kernel one buffer to cut into datagrams (UDP GSO), the last may be shorter."""
        ancillary = [(SOL_UDP, UDP_SEGMENT, struct.pack("@H", segment_bytes))]
        self.socket.sendmsg([payload], ancillary, 0, (self.relay.host, self.relay.port))

    def receive_marked(self, wall_seconds: float = DATAGRAM_WALL_SECONDS) -> tuple[bytes, int]:
        """The next datagram and its ECN bits; `TimeoutError` when none comes."""
        self.socket.settimeout(wall_seconds)
        payload, ancillary, flags, source = self.socket.recvmsg(65_536, 256)
        assert source[:2] == (self.relay.host, self.relay.port), f"a datagram from {source}"
        assert not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC), f"cut short: flags {flags:#x}"
        kind = self._traffic_class
        # IPv4 delivers one byte and IPv6 an int: on either byte order only the low byte is not 0.
        marks = [sum(value) & 3 for level, name, value in ancillary if (level, name) == kind]
        assert len(marks) == 1, f"no traffic class among {ancillary}"
        return payload, marks[0]

    def receive(self, wall_seconds: float = DATAGRAM_WALL_SECONDS) -> bytes:
        """The next datagram; `TimeoutError` when none comes."""
        return self.receive_marked(wall_seconds)[0]

    def receive_all(self, quiet_seconds: float = SILENCE_SECONDS) -> list[bytes]:
        """Every datagram until none came for a while."""
        received = []
        while True:
            try:
                received.append(self.receive(quiet_seconds))
            except TimeoutError:
                return received

    def expect(self, payload: bytes) -> None:
        """The next datagram must be this one, byte for byte."""
        try:
            received = self.receive()
        except TimeoutError:
            raise AssertionError(f"nothing came instead of {_shown(payload)}") from None
        # Not left to pytest: its diff of two long byte strings takes minutes.
        if received != payload:
            raise AssertionError(f"{_shown(received)} came instead of {_shown(payload)}")

    def expect_silence(self, seconds: float = SILENCE_SECONDS) -> None:
        """Nothing may come."""
        try:
            received = self.receive(seconds)
        except TimeoutError:
            return
        raise AssertionError(f"{_shown(received)} came, and nothing should")

    def register(self, session: uuid.UUID | str, ending: bytes = b"\n") -> None:
        """Registers and must get exactly the acknowledgement."""
        self.send(registration(session, ending))
        self.expect(ACK)

    def try_to_register(self, session: uuid.UUID | str, wall_seconds: float) -> float:
        """Repeats the registration as clients do until acknowledged; the seconds that took."""
        start = time.monotonic()
        while (elapsed := time.monotonic() - start) < wall_seconds:
            self.send(registration(session))
            try:
                received = self.receive(0.1)
            except TimeoutError:
                continue
            assert received == ACK, f"{_shown(received)} answered a registration"
            return elapsed
        raise AssertionError(f"not registered within {wall_seconds} s")

    @property
    def _traffic_class(self) -> tuple[int, int]:
        if self.relay.family == socket.AF_INET6:
            return socket.IPPROTO_IPV6, socket.IPV6_TCLASS
        return socket.IPPROTO_IP, socket.IP_TOS


def ping_pong(a: Peer, b: Peer) -> None:
    """Lets both peers answer something, which validates their addresses.

    Until then the relay forwards little to them, so that it cannot be used as a reflector.
    """
    for step, (sender, receiver) in enumerate(((a, b), (b, a), (a, b))):
        payload = f"ping-pong {step}".encode()
        sender.send(payload)
        receiver.expect(payload)


def exchange(a: Peer, b: Peer, label: str) -> None:
    """One datagram each way; whatever came before it unexpectedly is a failure."""
    for sender, receiver in ((a, b), (b, a)):
        payload = f"{label} from {sender.port}".encode()
        sender.send(payload)
        receiver.expect(payload)


def _shown(payload: bytes) -> str:
    head = repr(payload[:60])
    return f"{len(payload)} bytes {head}{'…' if len(payload) > 60 else ''}"
