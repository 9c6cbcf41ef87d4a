"""The laboratory itself: NATs do what their kinds say, with plain datagrams, and nothing is left."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.internet import RELAY_IPV4, RELAY_IPV6, STRANGER_IPV4, Internet, Site
from lab.namespaces import Namespace, remove_leftovers, unique_prefix
from lab.nats import NatKind
from peers import DATAGRAM_WALL_SECONDS, Address
from waiting import wait_until

_NATS = [NatKind.FULL_CONE, NatKind.PORT_RESTRICTED, NatKind.SYMMETRIC]
_PORTS = range(7_000, 7_008)


class Ends:
    """A socket of a host, and sockets at the relay's two addresses."""

    def __init__(self, internet: Internet, site: Site) -> None:
        """Opens them."""
        self._opened = contextlib.ExitStack()
        with site.host.inside():
            self.host = self._open(socket.AF_INET6 if site.is_ipv6 else socket.AF_INET)
        with internet.relay.inside():
            hosts = [RELAY_IPV6] if site.is_ipv6 else [RELAY_IPV4, STRANGER_IPV4]
            self.outside = {
                (host, port): self._open(self.host.family, (host, port))
                for host in hosts
                for port in _PORTS
            }

    def close(self) -> None:
        """Closes them."""
        self._opened.close()

    def source(self, to: tuple[str, int], text: bytes = b"out") -> Address:
        """Sends from the host and tells where it seems to come from."""
        self.host.sendto(text, to)
        received, source = self.outside[to].recvfrom(100)
        assert received == text
        return Address(*source[:2])

    def send_in(self, source: tuple[str, int], to: Address, text: bytes) -> None:
        """Sends from an address of the relay's host."""
        self.outside[source].sendto(text, (to.host, to.port))

    def expect(self, text: bytes) -> None:
        """This is what comes to the host next."""
        assert self.host.recv(100) == text

    def _open(
        self, family: socket.AddressFamily | int, at: tuple[str, int] = ("", 0)
    ) -> socket.socket:
        opened = self._opened.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        opened.settimeout(DATAGRAM_WALL_SECONDS)
        opened.bind(at)
        return opened


@contextlib.contextmanager
def _ends(internet: Internet, site: Site) -> Iterator[Ends]:
    ends = Ends(internet, site)
    try:
        yield ends
    finally:
        ends.close()


RELAY = (RELAY_IPV4, _PORTS[0])
RELAY_OTHER_PORT = (RELAY_IPV4, _PORTS[1])
STRANGER = (STRANGER_IPV4, _PORTS[1])


@pytest.mark.parametrize("kind", _NATS, ids=lambda kind: kind.value)
def test_mapping_is_of_its_kind(internet: Internet, kind: NatKind) -> None:
    site = internet.site(kind)
    with _ends(internet, site) as ends:
        sources = [ends.source(to) for to in ends.outside]
    assert {source.host for source in sources} == {site.nats[0][0].outer}
    ports = {source.port for source in sources}
    if kind is NatKind.SYMMETRIC:
        # 16 of 400 ports at random are the same one in less than one of 10^38 runs.
        assert len(ports) > 1
    else:
        assert len(ports) == 1


@pytest.mark.parametrize("kind", _NATS, ids=lambda kind: kind.value)
def test_filter_is_of_its_kind(internet: Internet, kind: NatKind) -> None:
    site = internet.site(kind)
    with _ends(internet, site) as ends:
        mapped = ends.source(RELAY)
        for uninvited in (STRANGER, RELAY_OTHER_PORT):
            ends.send_in(uninvited, mapped, b"uninvited")
            ends.send_in(RELAY, mapped, b"invited")
            if kind is NatKind.FULL_CONE:
                ends.expect(b"uninvited")
            # Had the uninvited one been let in, it would have come first.
            ends.expect(b"invited")


@pytest.mark.parametrize("kind", _NATS, ids=lambda kind: kind.value)
def test_rebinding_leaves_a_dead_and_mute_mapping(internet: Internet, kind: NatKind) -> None:
    site = internet.site(kind)
    with _ends(internet, site) as ends:
        before = ends.source(RELAY)
        site.rebind()
        ends.send_in(RELAY, before, b"too late")
        after = ends.source(RELAY)
        assert (before.host, before.port) != (after.host, after.port)
        ends.send_in(RELAY, before, b"too late")
        ends.send_in(RELAY, after, b"in time")
        ends.expect(b"in time")
        # Nor did anybody say so: a refusal would be an error of this socket.
        ends.outside[RELAY].setblocking(False)
        with pytest.raises(BlockingIOError):
            ends.outside[RELAY].recv(100)


def test_mapping_is_forgotten_in_silence(internet: Internet) -> None:
    site = internet.site(NatKind.SYMMETRIC)
    nat = site.nats[0][0]
    nat.forget_after(1)
    with _ends(internet, site) as ends:
        before = ends.source(RELAY)
        assert nat.mapping_count() == 1
        wait_until(lambda: nat.mapping_count() == 0, "the end of the mapping")
        ends.send_in(RELAY, before, b"too late")
        after = ends.source(RELAY)
        ends.send_in(RELAY, after, b"in time")
        ends.expect(b"in time")


def test_two_hosts_behind_one_nat_have_one_address(internet: Internet) -> None:
    sites = internet.sites_behind_one(NatKind.SYMMETRIC)
    with _ends(internet, sites[0]) as first:
        mapped = [first.source(RELAY)]
        other = sites[1].host
        with other.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second:
            second.sendto(b"out", RELAY)
            text, source = first.outside[RELAY].recvfrom(100)
            assert text == b"out"
            mapped.append(Address(*source))
            # A rebinding is that of one of the two.
            sites[0].rebind()
            second.sendto(b"again", RELAY)
            assert first.outside[RELAY].recvfrom(100) == (b"again", source)
        assert mapped[0].host == mapped[1].host
        assert mapped[0].port != mapped[1].port
        assert first.source(RELAY).port != mapped[0].port


def test_two_nats_in_a_row(internet: Internet) -> None:
    site = internet.site(NatKind.PORT_RESTRICTED, NatKind.SYMMETRIC)
    inner, outer = (nat for nat, _ in site.nats)
    with _ends(internet, site) as ends:
        before = ends.source(RELAY)
        assert before.host == outer.outer
        assert (inner.mapping_count(), outer.mapping_count()) == (1, 1)
        ends.send_in(RELAY, before, b"in")
        ends.expect(b"in")
        site.rebind()
        assert ends.source(RELAY).port != before.port


@pytest.mark.parametrize(
    ("kind", "is_ipv6"), [(NatKind.NONE, False), (NatKind.NONE, True), *((k, False) for k in _NATS)]
)
def test_change_of_address(internet: Internet, kind: NatKind, is_ipv6: bool) -> None:
    site = internet.site(kind, is_ipv6=is_ipv6)
    relay = (site.relay, _PORTS[0])
    with _ends(internet, site) as ends:
        before = ends.source(relay)
        site.change_address()
        after = ends.source(relay)
        ends.send_in(relay, after, b"in")
        ends.expect(b"in")
        assert before != after
        # Behind a NAT the world sees another port.
        assert (before.host == after.host) == (kind is not NatKind.NONE)


def test_nothing_is_left(namespaces: None, tmp_path: Path) -> None:
    made = Internet(tmp_path)
    made.site(NatKind.PORT_RESTRICTED, NatKind.SYMMETRIC)
    made.close()
    assert not list(Path("/run/netns").glob(f"qr-lab-{os.getpid()}-*"))


def test_what_a_killed_run_left_is_removed(namespaces: None) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    # As a run of that process would have named it; the process is gone.
    name = unique_prefix(0).replace(str(os.getpid()), str(ended.pid)) + "core"
    left = Namespace(name)
    with left.inside():
        asleep = subprocess.Popen(["sleep", "600"])
    with asleep:
        assert name in remove_leftovers()
        assert asleep.wait() == -signal.SIGKILL
    assert not Path("/run/netns", name).exists()
