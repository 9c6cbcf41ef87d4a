"""An internet of namespaces: a relay's host with a public address, and sites behind NATs.

    host ── NAT ── (NAT) ── (wire) ──┐
                                     ├── bridge ── relay's host
    host ───────────────── (wire) ───┘
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.impairments import Impairments
from lab.namespaces import Namespace, connect, unique_prefix
from lab.nats import LOCAL_PORTS, Inside, LabNat, NatKind
from lab.wire_process import WireProcess

RELAY_IPV4 = "203.0.113.1"
# A second address of the relay's host: another destination, or a stranger.
STRANGER_IPV4 = "203.0.113.2"
RELAY_IPV6 = "2001:db8::1"

# What a host sends, as over a good line at home, and over a bad one: no transfer is over before
# something can happen, on a busy machine either.
GOOD_UPLINK = "100mbit"
BAD_UPLINK = "20mbit"

_numbers = itertools.count()


@dataclass
class Site:
    """A host, and the NATs before it, from the host outwards."""

    host: Namespace
    address: str
    prefix_bits: int
    gateway: str | None = None
    nats: list[tuple[LabNat, Inside]] = field(default_factory=list)
    wire: WireProcess | None = None

    @property
    def is_ipv6(self) -> bool:
        """Whether it reaches the relay over IPv6."""
        return ":" in self.address

    @property
    def relay(self) -> str:
        """Where the relay is, seen from here."""
        return RELAY_IPV6 if self.is_ipv6 else RELAY_IPV4

    @property
    def no_wait(self) -> str:
        """What keeps duplicate address detection from holding back the first second of IPv6."""
        return " nodad" if self.is_ipv6 else ""

    def rebind(self) -> tuple[float, float]:
        """The outermost NAT forgets this host's mappings; between which times."""
        nat, inside = self.nats[-1]
        return nat.rebind(inside)

    def change_address(self) -> None:
        """The host gets another address on its link and loses the one that it had."""
        head, _, last = self.address.rpartition(":" if self.is_ipv6 else ".")
        separator = ":" if self.is_ipv6 else "."
        new = f"{head}{separator}{int(last) + 5}"
        if self.nats:
            nat, inside = self.nats[0]
            nat.move(inside, new)
        self.host.configure(
            f"addr add {new}/{self.prefix_bits} dev eth0{self.no_wait}",
            f"addr del {self.address}/{self.prefix_bits} dev eth0",
        )
        self.address = new

    def limit_uplink(self, rate: str) -> None:
        """Makes the host's own link one of this rate, outwards."""
        limit = ("rate", rate, "burst", "128kb", "latency", "100ms")
        self.host.run("tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", *limit)

    def sent_bytes(self) -> int:
        """What the host has sent so far."""
        return self.host.sent_bytes("eth0")


class Internet:
    """A bridge with a relay's host, and the sites that are added to it."""

    def __init__(self, directory: Path) -> None:
        """Makes bridge and relay's host; `directory` takes what wires print."""
        self._prefix = unique_prefix(next(_numbers))
        self._directory = directory
        self._made = contextlib.ExitStack()
        self._sites = 0
        try:
            self._core = self._namespace("core")
            self._core.configure("link add bridge type bridge mcast_snooping 0")
            self._core.configure("link set bridge up")
            self.relay = self._namespace("relay")
            self._plug(self.relay, "eth0", None)
            self.relay.configure(
                f"addr add {RELAY_IPV4}/24 dev eth0",
                f"addr add {STRANGER_IPV4}/24 dev eth0",
                f"addr add {RELAY_IPV6}/64 dev eth0 nodad",
            )
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Removes everything."""
        self._made.close()

    def site(
        self,
        *kinds: NatKind,
        is_ipv6: bool = False,
        impairments: Impairments | None = None,
        seed: int = 0,
    ) -> Site:
        """Adds a host behind these NATs, from the host outwards, and a wire that impairs."""
        number = self._number()
        nats = [kind for kind in kinds if kind is not NatKind.NONE]
        host = self._host(number)
        if not nats:
            site = Site(host, f"203.0.113.{number}0", 24)
            if is_ipv6:
                site = Site(host, f"2001:db8::{number}0", 64)
            site.wire = self._plug(host, "eth0", impairments, seed)
            host.configure(f"addr add {site.address}/{site.prefix_bits} dev eth0{site.no_wait}")
            return site
        site = Site(host, f"10.{number}.0.2", 24, f"10.{number}.0.1")
        inner, inner_link, network = host, "eth0", f"10.{number}.0"
        for level, kind in enumerate(nats, 1):
            namespace = self._namespace(f"nat{number}-{level}")
            connect(inner, inner_link, namespace, "lan0")
            namespace.configure(f"addr add {network}.1/24 dev lan0")
            inner.configure(
                f"addr add {network}.2/24 dev {inner_link}",
                f"route add default via {network}.1",
            )
            is_last = level == len(nats)
            outer = f"203.0.113.{number}0" if is_last else f"100.64.{number}.2"
            nat = LabNat(namespace, kind, outer)
            site.nats.append((nat, nat.serve(f"{network}.0/24", f"{network}.2")))
            inner, inner_link, network = namespace, "wan", f"100.64.{number}"
        site.wire = self._plug(inner, "wan", impairments, seed)
        inner.configure(f"addr add 203.0.113.{number}0/24 dev wan")
        return site

    def sites_behind_one(self, kind: NatKind) -> tuple[Site, Site]:
        """Adds two hosts behind the same NAT."""
        numbers = (self._number(), self._number())
        namespace = self._namespace("cgnat")
        nat = LabNat(namespace, kind, f"203.0.113.{numbers[0]}0")
        sites = []
        for index, number in enumerate(numbers):
            host = self._host(number)
            network = f"100.64.{number}"
            connect(host, "eth0", namespace, f"lan{index}")
            namespace.configure(f"addr add {network}.1/24 dev lan{index}")
            site = Site(host, f"{network}.2", 24, f"{network}.1")
            host.configure(
                f"addr add {site.address}/24 dev eth0", f"route add default via {site.gateway}"
            )
            site.nats.append((nat, nat.serve(f"{network}.0/24", site.address)))
            sites.append(site)
        self._plug(namespace, "wan", None)
        namespace.configure(f"addr add {nat.outer}/24 dev wan")
        return sites[0], sites[1]

    def _number(self) -> int:
        self._sites += 1
        return self._sites

    def _host(self, number: int) -> Namespace:
        host = self._namespace(f"host{number}")
        # The NATs know these ports only. Without the second, the address that a host gets goes with
        # the one that it loses.
        host.set(
            ipv4__ip_local_port_range=f"{LOCAL_PORTS[0]} {LOCAL_PORTS[-1]}",
            ipv4__conf__all__promote_secondaries=1,
        )
        return host

    def _namespace(self, name: str) -> Namespace:
        namespace = Namespace(self._prefix + name)
        self._made.callback(namespace.close)
        return namespace

    def _plug(
        self, namespace: Namespace, link: str, impairments: Impairments | None, seed: int = 0
    ) -> WireProcess | None:
        """Connects it to the bridge, through a wire if there are impairments."""
        port = f"port{next(_numbers)}"
        if impairments is None:
            connect(namespace, link, self._core, port)
            self._core.configure(f"link set {port} master bridge")
            return None
        middle = self._namespace(f"wire-{port}")
        connect(namespace, link, middle, "site")
        connect(middle, "core", self._core, port)
        self._core.configure(f"link set {port} master bridge")
        log = self._directory / f"wire-{port}.log"
        ends: Sequence[tuple[Namespace, str]] = ((namespace, link), (self._core, port))
        wire = WireProcess(middle, ends, impairments, seed, log)
        self._made.callback(wire.close)
        return wire
