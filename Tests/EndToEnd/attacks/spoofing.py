"""Datagrams with somebody else's source address, and what they look like on the wire."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Sequence

from lab.namespaces import Namespace
from peers import Address

# linux/if_ether.h; the socket module does not name them all.
ETH_P_ALL = 0x0003
ETH_P_IP = 0x0800
ETH_P_IPV6 = 0x86DD

ICMP_UNREACHABLE, ICMP_PORT, ICMP_FRAGMENTATION_NEEDED = 3, 3, 4
ICMPV6_UNREACHABLE, ICMPV6_PORT, ICMPV6_TOO_BIG = 1, 4, 2


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip_packet(
    source: str, destination: str, protocol: int, payload: bytes, hops: int = 64
) -> bytes:
    """An IP packet of either version with this payload."""
    ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    if ":" in destination:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, hops) + ends + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0x4000, hops, protocol, 0)
    return head[:10] + struct.pack("!H", checksum(head + ends)) + ends + payload


def udp_packet(source: Address, destination: Address, payload: bytes, hops: int = 64) -> bytes:
    """An IP packet with one UDP datagram."""
    length = 8 + len(payload)
    head = struct.pack("!HHHH", source.port, destination.port, length, 0)
    summed = _pseudo_header(source.host, destination.host, socket.IPPROTO_UDP, length)
    # A sum of 0 would say that there is none (RFC 768).
    total = checksum(summed + head + payload) or 0xFFFF
    datagram = head[:6] + struct.pack("!H", total) + payload
    return ip_packet(source.host, destination.host, socket.IPPROTO_UDP, datagram, hops)


def icmp_error(reporter: str, kind: int, code: int, rest: int, about: bytes, victim: str) -> bytes:
    """An error message to `victim` about a packet that it seems to have sent (RFC 792, RFC 4443)."""
    quoted = about[:548]
    body = struct.pack("!BBHI", kind, code, 0, rest) + quoted
    if ":" not in victim:
        body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
        return ip_packet(reporter, victim, socket.IPPROTO_ICMP, body)
    summed = _pseudo_header(reporter, victim, socket.IPPROTO_ICMPV6, len(body))
    body = body[:2] + struct.pack("!H", checksum(summed + body)) + body[4:]
    return ip_packet(reporter, victim, socket.IPPROTO_ICMPV6, body)


def _pseudo_header(source: str, destination: str, protocol: int, length: int) -> bytes:
    ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    if ":" in destination:
        return ends + struct.pack("!II", length, protocol)
    return ends + struct.pack("!BBH", 0, protocol, length)


class Spoofer:
    """A host that puts packets with any source address onto its link."""

    def __init__(self, host: Namespace, link: str, hardware: bytes) -> None:
        """Sends from `host` to the neighbour with that hardware address."""
        self._hardware = hardware
        self.sent_bytes = 0
        with host.inside():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM)
        self._link = link
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)

    def close(self) -> None:
        """Frees the socket."""
        self._socket.close()

    def send_packet(self, packet: bytes) -> None:
        """Sends an IP packet as it is."""
        kind = ETH_P_IPV6 if packet[0] >> 4 == 6 else ETH_P_IP
        self._socket.sendto(packet, (self._link, kind, 0, 0, self._hardware))

    def send(self, source: Address, relay: Address, *payloads: bytes) -> None:
        """Sends UDP datagrams that seem to come from `source`; their payloads are counted."""
        for payload in payloads:
            self.send_packet(udp_packet(source, relay, payload))
            self.sent_bytes += len(payload)

    def send_all(self, sources: Sequence[Address], relay: Address, payload: bytes) -> None:
        """Sends the same datagram from each of these."""
        for source in sources:
            self.send(source, relay, payload)
