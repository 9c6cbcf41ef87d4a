"""The laboratory's wire does what it is told to real datagrams, and the same for the same seed."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Iterator

import pytest

from lab.impairments import Counts, Direction, Impairments
from lab.internet import Internet, Site
from lab.laboratory import RELAY_PORT
from lab.nats import NatKind
from lab.wire_process import WireProcess
from peers import DATAGRAM_WALL_SECONDS

_DATAGRAMS = 400
_PAYLOAD_BYTES = 200

# linux/in.h, linux/in6.h: of a socket that wants to hear of too big datagrams, and the mark for
# datagrams that must not be fragmented.
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_DO = 10, 23, 2


class Line:
    """A host and the relay's host with a wire between, and a socket at each."""

    def __init__(self, site: Site, inside: socket.socket, outside: socket.socket) -> None:
        """`inside` is connected to `outside`."""
        assert site.wire is not None
        self.wire: WireProcess = site.wire
        self.inside = inside
        self.outside = outside

    def send_all(self, rng: random.Random) -> list[bytes]:
        """Sends numbered datagrams outwards and returns them."""
        sent = [
            number.to_bytes(4, "big") + rng.randbytes(_PAYLOAD_BYTES)
            for number in range(_DATAGRAMS)
        ]
        for datagram in sent:
            self.inside.send(datagram)
        return sent

    def received(self) -> tuple[list[bytes], Counts]:
        """What came out at the other end in the end, and what the wire says about it."""
        counts = self.wire.outward(_DATAGRAMS)
        received = [self.outside.recv(2_000) for _ in range(counts.given)]
        self.outside.setblocking(False)
        with pytest.raises(BlockingIOError):
            self.outside.recv(2_000)
        return received, counts


@contextlib.contextmanager
def _line(
    internet: Internet, impairments: Impairments, seed: int, is_ipv6: bool = False
) -> Iterator[Line]:
    kind = NatKind.NONE if is_ipv6 else NatKind.PORT_RESTRICTED
    site = internet.site(kind, is_ipv6=is_ipv6, impairments=impairments, seed=seed)
    family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
    with contextlib.ExitStack() as opened:
        with internet.relay.inside():
            outside = opened.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        outside.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        outside.bind((site.relay, RELAY_PORT))
        with site.host.inside():
            inside = opened.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            inside.connect((site.relay, RELAY_PORT))
            # Until neighbours are known, a burst to them is cut short. No wire impairs TCP.
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((site.relay, RELAY_PORT), DATAGRAM_WALL_SECONDS)
        for end in (inside, outside):
            end.settimeout(DATAGRAM_WALL_SECONDS)
        yield Line(site, inside, outside)


_BOTH = pytest.mark.parametrize("is_ipv6", [False, True], ids=["ipv4", "ipv6"])


@_BOTH
def test_order_and_copies(
    internet: Internet, rng: random.Random, seed: int, is_ipv6: bool
) -> None:
    impairments = Impairments(duplication=0.1, reordering=0.1, reordering_seconds=0.05)
    with _line(internet, impairments, seed, is_ipv6) as line:
        sent = line.send_all(rng)
        received, counts = line.received()
    assert sorted(set(received)) == sent
    assert len(received) == len(sent) + counts.duplicated
    assert counts.duplicated > 0
    assert counts.reordered > 0
    assert received != sorted(received)


@_BOTH
def test_loss(internet: Internet, rng: random.Random, seed: int, is_ipv6: bool) -> None:
    with _line(internet, Impairments(loss=0.2), seed, is_ipv6) as line:
        sent = line.send_all(rng)
        received, counts = line.received()
    assert len(received) == len(sent) - counts.lost
    assert 0 < counts.lost < len(sent)
    # What is left is whole and in order.
    assert received == [datagram for datagram in sent if datagram in set(received)]


@_BOTH
def test_corruption_passes_the_kernels_checks(
    internet: Internet, rng: random.Random, seed: int, is_ipv6: bool
) -> None:
    with _line(internet, Impairments(corruption=0.3), seed, is_ipv6) as line:
        sent = line.send_all(rng)
        received, counts = line.received()
    assert len(received) == len(sent)
    flipped = [
        (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_count()
        for a, b in zip(sent, received, strict=True)
    ]
    assert flipped.count(1) == counts.corrupted > 0
    assert flipped.count(0) == len(sent) - counts.corrupted


def test_delay_keeps_the_order(internet: Internet, rng: random.Random, seed: int) -> None:
    impairments = Impairments(delay_seconds=0.05, jitter_seconds=0.02)
    with _line(internet, impairments, seed) as line:
        start = time.monotonic()
        sent = line.send_all(rng)
        received, _ = line.received()
        assert time.monotonic() - start >= 0.05
    assert received == sent


def test_rate_and_queue(internet: Internet, rng: random.Random, seed: int) -> None:
    impairments = Impairments(bits_per_second=2e6, queue_seconds=0.1)
    with _line(internet, impairments, seed) as line:
        start = time.monotonic()
        sent = line.send_all(rng)
        received, counts = line.received()
        seconds = time.monotonic() - start
    assert len(received) == len(sent) - counts.queue_full
    # The first one does not wait.
    assert 8 * _PAYLOAD_BYTES * (len(received) - 1) / seconds <= 2e6


@_BOTH
@pytest.mark.parametrize("tells", [True, False], ids=["told", "black hole"])
def test_small_mtu(internet: Internet, seed: int, tells: bool, is_ipv6: bool) -> None:
    with _line(internet, Impairments(mtu=1_300, tells_too_big=tells), seed, is_ipv6) as line:
        level, name = (socket.IPPROTO_IP, _IP_MTU_DISCOVER)
        if is_ipv6:
            level, name = (socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER)
        line.inside.setsockopt(level, name, _PMTUDISC_DO)
        headers = 48 if is_ipv6 else 28
        line.inside.send(bytes(1_300 - headers))
        assert len(line.outside.recv(2_000)) == 1_300 - headers
        line.inside.send(bytes(1_301 - headers))
        counts = line.wire.outward(2)
        assert (counts.carried, counts.too_big) == (1, 1)
        if tells:
            # The kernel has believed it (RFC 1191, RFC 8201), through the NAT.
            with pytest.raises(OSError, match="Message too long"):
                line.inside.send(bytes(1_301 - headers))
        else:
            line.inside.send(bytes(1_301 - headers))


@_BOTH
def test_marks_are_cleared(internet: Internet, seed: int, is_ipv6: bool) -> None:
    with _line(internet, Impairments(clears_ecn=True), seed, is_ipv6) as line:
        level, sent, received = (socket.IPPROTO_IP, socket.IP_TOS, socket.IP_RECVTOS)
        if is_ipv6:
            level, sent, received = (
                socket.IPPROTO_IPV6,
                socket.IPV6_TCLASS,
                socket.IPV6_RECVTCLASS,
            )
        line.outside.setsockopt(level, received, 1)
        # DSCP CS1 with ECT(0): only the last two bits are ECN's.
        line.inside.setsockopt(level, sent, 0x22)
        line.inside.send(b"marked")
        payload, ancillary, _, _ = line.outside.recvmsg(100, 100)
        assert payload == b"marked"
        assert [sum(value) for _, _, value in ancillary] == [0x20]
        assert line.wire.outward(1).cleared == 1


def test_same_seed_same_fate(rng: random.Random) -> None:
    impairments = Impairments(loss=0.1, duplication=0.1, corruption=0.1, jitter_seconds=0.01)
    frames = [_frame(rng.randbytes(100)) for _ in range(1_000)]
    first, second, other = (_fate(Direction(impairments, s), frames) for s in "aab")
    assert first == second
    assert first != other


def _frame(payload: bytes) -> bytes:
    """An Ethernet frame with a UDP datagram; checksums do not matter here."""
    ip = bytes([0x45, 0]) + (28 + len(payload)).to_bytes(2, "big") + bytes([0, 0, 0, 0, 64, 17])
    udp = bytes(4) + (8 + len(payload)).to_bytes(2, "big") + bytes(2)
    return bytes(12) + b"\x08\x00" + ip + bytes(10) + udp + payload


def _fate(direction: Direction, frames: list[bytes]) -> list[tuple[float, bytes]]:
    for number, frame in enumerate(frames):
        direction.take(frame, number / 1_000)
    fate = []
    while (due := direction.next_due) is not None:
        given = direction.give(due)
        assert given is not None
        fate.append((due, given))
    return fate
