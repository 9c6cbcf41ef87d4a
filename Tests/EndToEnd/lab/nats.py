"""NATs of the kinds that RFC 4787 and RFC 3489 name, made of nftables and conntrack.

    inside 10.1.0.0/24 ── lan0 ┌─────┐
    inside 10.2.0.0/24 ── lan1 │ NAT │ wan ── outside
                               └─────┘

Programs inside use the local ports of `LOCAL_PORTS` only. Each network inside has a block of outer
ports of its own; a rebinding gives it the next block and makes the NAT forget the mappings of the
former one. What comes to a port without a mapping is dropped without a word, as in life.
"""

from __future__ import annotations

import enum
import time
from dataclasses import dataclass

from lab.namespaces import Namespace

# The port range of every host in the laboratory (ip_local_port_range), both ends included.
LOCAL_PORTS = range(40_000, 40_100)

# Outer ports: 400 for each block, 40 blocks for each network inside, from 10,000 on for the first
# and from 30,000 on for the second.
_BLOCK_PORTS = 400
_BLOCKS = 40
_NETWORK_PORTS = 20_000
_FIRST_PORT = 10_000


class NatKind(enum.Enum):
    """How a NAT maps and filters."""

    NONE = "none"
    # One mapping for all destinations, and everybody may use it.
    FULL_CONE = "full cone"
    # One mapping for all destinations; only who was written to from it gets in, port and all.
    PORT_RESTRICTED = "port-restricted"
    # Another random port for each destination, and only that destination gets in.
    SYMMETRIC = "symmetric"


@dataclass
class Inside:
    """A network behind the NAT."""

    network: str
    # Who gets what comes to a full cone.
    host: str
    index: int
    generation: int = 0

    @property
    def outer_ports(self) -> range:
        """The outer ports of this network's mappings at present."""
        first = _FIRST_PORT + self.index * _NETWORK_PORTS
        first += self.generation % _BLOCKS * _BLOCK_PORTS
        return range(first, first + _BLOCK_PORTS)


class LabNat:
    """A NAT between a cable `wan`, where it has one address, and networks inside."""

    def __init__(self, namespace: Namespace, kind: NatKind, outer: str) -> None:
        """`outer` is its IPv4 address on the cable `wan`."""
        self.namespace = namespace
        self.kind = kind
        self.outer = outer
        self._insides: list[Inside] = []
        namespace.set(ipv4__ip_forward=1)

    def serve(self, network: str, host: str) -> Inside:
        """Takes a network inside, whose only host of interest is this one."""
        inside = Inside(network, host, len(self._insides))
        self._insides.append(inside)
        self._apply()
        return inside

    def rebind(self, inside: Inside) -> tuple[float, float]:
        """Forgets all mappings of the network; the next ones have other ports.

        Returns the monotonic times between which that happened.
        """
        inside.generation += 1
        self._apply()
        at = time.monotonic()
        # "0 flow entries have been deleted" is an error to it, and would be one of the test's.
        self.namespace.run("conntrack", "-D", "-s", inside.network)
        return at, time.monotonic()

    def move(self, inside: Inside, host: str) -> None:
        """The host inside has another address, whose mappings are not those of the former one."""
        inside.host = host
        inside.generation += 1
        self._apply()

    def forget_after(self, seconds: int) -> None:
        """Mappings without traffic last so long from now on."""
        self.namespace.set(
            netfilter__nf_conntrack_udp_timeout=seconds,
            netfilter__nf_conntrack_udp_timeout_stream=seconds,
        )

    def mapping_count(self) -> int:
        """How many mappings there are, for UDP."""
        return len(self.namespace.run("conntrack", "-L", "-p", "udp").splitlines())

    def _apply(self) -> None:
        out = "\n".join(self._outwards(inside) for inside in self._insides)
        inwards = ""
        if self.kind is NatKind.FULL_CONE:
            inwards = "\n".join(self._inwards(inside) for inside in self._insides)
        # One transaction: no packet sees half of it.
        self.namespace.run(
            "nft",
            "-f",
            "-",
            text=f"""
            table ip lab
            delete table ip lab
            table ip lab {{
                chain outwards {{
                    type nat hook postrouting priority srcnat; policy accept;
                    {out}
                    oifname "wan" masquerade
                }}
                chain inwards {{
                    type nat hook prerouting priority dstnat; policy accept;
                    {inwards}
                }}
                chain forward {{
                    type filter hook forward priority filter; policy drop;
                    iifname "lan*" accept
                    ct state established,related accept
                    ct status dnat accept
                }}
                chain input {{
                    type filter hook input priority filter; policy drop;
                    iifname "lan*" accept
                    meta l4proto icmp accept
                }}
            }}
            """,
        )

    def _outwards(self, inside: Inside) -> str:
        ports = inside.outer_ports
        what = f'ip saddr {inside.network} oifname "wan" meta l4proto udp snat to {self.outer}'
        if self.kind is NatKind.SYMMETRIC:
            return f"{what}:{ports[0]}-{ports[-1]} fully-random"
        # The kernel picks a free port from a range, another one for each destination: a mapping
        # that is the same for all of them has to be written down.
        pairs = zip(LOCAL_PORTS, ports, strict=False)
        return f"{what} : udp sport map {{ {_shown(pairs)} }}"

    def _inwards(self, inside: Inside) -> str:
        pairs = zip(inside.outer_ports, LOCAL_PORTS, strict=False)
        what = f'iifname "wan" ip daddr {self.outer} meta l4proto udp dnat to {inside.host}'
        return f"{what} : udp dport map {{ {_shown(pairs)} }}"


def _shown(pairs: object) -> str:
    return ", ".join(f"{a} : {b}" for a, b in pairs)  # type: ignore[attr-defined]
