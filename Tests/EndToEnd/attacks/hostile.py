"""An internet with a relay, two hosts, one that forges sources, and the rest of the world.

accomplice ──┐
attacker ────┤
elsewhere ───┼── bridge ── relay's host
other ───────┘
"""

from __future__ import annotations

import contextlib
import ipaddress
import random
import uuid
from collections.abc import Callable, Iterator
from typing import Protocol

from attacks.spoofing import Spoofer
from attacks.tap import Seen, Tap
from lab.internet import RELAY_IPV4, RELAY_IPV6, STRANGER_IPV4, Internet, Site
from lab.laboratory import RELAY_PORT, LabRelay
from lab.namespaces import Namespace
from peers import Address, Peer

RELAY = {4: Address(RELAY_IPV4, RELAY_PORT), 6: Address(RELAY_IPV6, RELAY_PORT)}
RELAY_SECOND = Address(STRANGER_IPV4, RELAY_PORT)

# Whoever is not on the bridge is reached through this neighbour, which answers for nobody.
_GATEWAY = {4: "203.0.113.254", 6: "2001:db8::fe"}


class StartLabRelay(Protocol):
    """Starts a relay with extra arguments; it ends with the test."""

    def __call__(self, *arguments: str, host: Namespace | None = None) -> LabRelay: ...


class Hostile:
    """The network, in which each test starts a relay of its own."""

    def __init__(self, internet: Internet) -> None:
        """Adds the hosts to the internet."""
        self._rng = random.Random()
        self._made = contextlib.ExitStack()
        self.relay_host = internet.relay
        self.accomplice, self.attacker, self.elsewhere, self.other = (
            _dual_stack(internet.site()) for _ in range(4)
        )
        self.elsewhere.host.configure(
            f"addr add {_GATEWAY[4]}/24 dev eth0", f"addr add {_GATEWAY[6]}/64 dev eth0 nodad"
        )
        for host in (self.relay_host, self.other.host):
            host.configure(*(f"route add default via {gateway}" for gateway in _GATEWAY.values()))

    @contextlib.contextmanager
    def during(self, rng: random.Random) -> Iterator[None]:
        """One test: what is opened in it is closed at its end."""
        self._rng = rng
        with contextlib.ExitStack() as self._made:
            yield

    def new_session(self) -> uuid.UUID:
        """A session id that no other test uses."""
        return uuid.UUID(int=self._rng.getrandbits(128), version=4)

    def spoofer(self, target: Namespace | None = None) -> Spoofer:
        """Forges sources towards a host on the bridge, the relay's unless another is given."""
        hardware = _hardware(target or self.relay_host)
        made = Spoofer(self.attacker.host, "eth0", hardware)
        self._made.callback(made.close)
        return made

    def tap(self, host: Namespace | None = None) -> Tap:
        """Listens to what comes to hosts elsewhere, or on another host's link."""
        made = Tap(host or self.elsewhere.host, "eth0")
        self._made.callback(made.close)
        return made

    def peer(self, site: Site, version: int = 4, port: int = 0) -> Peer:
        """An honest socket at a site, which speaks to the relay."""
        with site.host.inside():
            made = Peer(RELAY[version], site_address(site, version), port)
        self._made.callback(made.close)
        return made


def elsewhere(number: int, version: int = 4, port: int = 5_556) -> Address:
    """Somebody in the rest of the world, a source of its own for each number."""
    if version == 4:
        return Address(str(ipaddress.ip_address("198.18.0.0") + number + 1), port)
    host = ipaddress.ip_address(f"2001:db8:{number // 0xFFFF + 1:x}:{number % 0xFFFF:x}::1")
    return Address(str(host), port)


def to(victim: Address) -> Callable[[Seen], bool]:
    """Whether a datagram goes to somebody's IP address."""
    return lambda seen: seen.destination.host == victim.host


def site_address(site: Site, version: int) -> str:
    """A site's own address."""
    return site.address if version == 4 else _ipv6_address(site)


def _dual_stack(site: Site) -> Site:
    site.host.configure(f"addr add {_ipv6_address(site)}/64 dev eth0 nodad")
    return site


def _ipv6_address(site: Site) -> str:
    return f"2001:db8::{site.address.rpartition('.')[2]}"


def _hardware(host: Namespace) -> bytes:
    fields = host.run("ip", "-o", "link", "show", "eth0").split()
    return bytes.fromhex(fields[fields.index("link/ether") + 1].replace(":", ""))
