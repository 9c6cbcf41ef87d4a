"""The NAT of these tests does what a NAT does, or the tests behind it show nothing."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator

import pytest

from nat import Nat
from peers import Address, Peer
from waiting import wait_until

PUBLIC, OTHER_PUBLIC = "127.0.0.2", "127.0.0.4"


@pytest.fixture
def relay() -> Iterator[socket.socket]:
    """Stands for the relay: a bare socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        opened.settimeout(10)
        opened.bind(("127.0.0.1", 0))
        yield opened


def _source(relay: socket.socket, payload: bytes) -> Address:
    received, source = relay.recvfrom(65_535)
    assert received == payload
    return Address(*source)


@pytest.mark.parametrize("delay_seconds", [0.0, 0.005])
def test_datagrams_stay_whole_and_in_order(
    relay: socket.socket, rng: random.Random, delay_seconds: float
) -> None:
    with Nat(Address(*relay.getsockname()), PUBLIC, delay_seconds) as nat:
        mapping = nat.mapping()
        with Peer(mapping.inner) as peer:
            sizes = [*range(32), 1_200, 1_472, 9_000, 65_507]
            datagrams = [rng.randbytes(size) for size in rng.choices(sizes, k=200)]
            start = time.monotonic()
            for datagram in datagrams[:100]:
                peer.send(datagram)
            for datagram in datagrams[:100]:
                assert _source(relay, datagram) == mapping.outer
            for datagram in datagrams[100:]:
                relay.sendto(datagram, (mapping.outer.host, mapping.outer.port))
            for datagram in datagrams[100:]:
                peer.expect(datagram)
            assert time.monotonic() - start >= 2 * delay_seconds
        assert mapping.outer.host == PUBLIC
        assert mapping.inward.byte_count == sum(map(len, datagrams[100:]))


@pytest.mark.parametrize("host", [None, OTHER_PUBLIC])
def test_former_mapping_is_dead_and_mute(relay: socket.socket, host: str | None) -> None:
    with Nat(Address(*relay.getsockname()), PUBLIC) as nat:
        mapping, neighbour = nat.mapping(), nat.mapping()
        with Peer(mapping.inner) as peer, Peer(neighbour.inner) as other:
            peer.send(b"before")
            before = _source(relay, b"before")
            other.send(b"neighbour")
            home = _source(relay, b"neighbour")
            rebinding = mapping.rebind(host)
            relay.sendto(b"lost", (before.host, before.port))
            wait_until(lambda: mapping.lost_inward.datagrams == 1, "the loss")
            peer.send(b"after")
            after = _source(relay, b"after")
            assert (rebinding.old, rebinding.new) == (before, after)
            assert after != before
            assert after.host == (host or PUBLIC)
            relay.sendto(b"to the new one", (after.host, after.port))
            # Had the lost one come, it would have come first.
            peer.expect(b"to the new one")
            relay.sendto(b"to the neighbour", (home.host, home.port))
            other.expect(b"to the neighbour")
            assert rebinding.outage_seconds is not None


def test_stranger_is_kept_out(relay: socket.socket) -> None:
    with Nat(Address(*relay.getsockname()), PUBLIC) as nat:
        mapping = nat.mapping()
        with Peer(mapping.inner) as peer, Peer(mapping.outer, "127.0.0.9") as stranger:
            peer.send(b"opens the way")
            source = _source(relay, b"opens the way")
            stranger.send(b"from a stranger")
            relay.sendto(b"from the relay", (source.host, source.port))
            peer.expect(b"from the relay")


def test_planned_rebindings_happen_in_the_midst(relay: socket.socket) -> None:
    with Nat(Address(*relay.getsockname()), PUBLIC) as nat:
        mapping = nat.mapping()
        mapping.plan_rebindings(after_bytes=1_000, times=2)
        with Peer(mapping.inner) as peer:
            sources = []
            for number in range(10):
                peer.send(bytes(500))
                sources.append(_source(relay, bytes(500)))
                relay.sendto(b"answer", (sources[-1].host, sources[-1].port))
                # The NAT rebinds when it has sent the datagram, before it takes the answer.
                if number not in (2, 5):
                    peer.expect(b"answer")
        # The first of each address does not count, as the relay has not answered it yet.
        homes = [rebinding.old for rebinding in mapping.rebindings] + [mapping.outer]
        assert sources == [homes[0]] * 3 + [homes[1]] * 3 + [homes[2]] * 4
        assert mapping.lost_inward.datagrams == 2


def test_blocked_way_loses_what_comes(relay: socket.socket) -> None:
    with Nat(Address(*relay.getsockname()), PUBLIC) as nat:
        mapping = nat.mapping()
        with Peer(mapping.inner) as peer:
            peer.send(b"one")
            source = _source(relay, b"one")
            mapping.blocks_inward = True
            relay.sendto(b"lost", (source.host, source.port))
            wait_until(lambda: mapping.lost_inward.datagrams == 1, "the loss of what came")
            mapping.blocks_inward, mapping.blocks_outward = False, True
            peer.send(b"lost, too")
            wait_until(lambda: mapping.lost_outward.datagrams == 1, "the loss of what was sent")
            mapping.blocks_outward = False
            peer.send(b"two")
            assert _source(relay, b"two") == source
            relay.sendto(b"three", (source.host, source.port))
            peer.expect(b"three")
