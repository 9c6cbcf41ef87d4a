"""What a wire does to the datagrams that it carries, from a seed."""

from __future__ import annotations

import dataclasses
import heapq
import json
import random
import struct
from typing import Self

_ETHERNET_BYTES = 14
_IPV4, _IPV6 = 0x0800, 0x86DD
_UDP = 17
_IPV6_HEADER_BYTES = 40
_UDP_HEADER_BYTES = 8


@dataclasses.dataclass(frozen=True)
class Impairments:
    """What may happen to a UDP datagram, independently each way. Everything else passes."""

    # Probabilities, 0 to 1.
    loss: float = 0.0
    duplication: float = 0.0
    corruption: float = 0.0
    # This part of the datagrams takes `reordering_seconds` longer than the others.
    reordering: float = 0.0
    reordering_seconds: float = 0.02
    # One way; the jitter is added, evenly distributed, and keeps the order.
    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    # 0 is no limit; what would wait longer than `queue_seconds` is dropped.
    bits_per_second: float = 0.0
    queue_seconds: float = 0.1
    # The longest IP packet, 0 for no limit; longer ones are dropped, with or without a word.
    mtu: int = 0
    tells_too_big: bool = False
    clears_ecn: bool = False

    def to_json(self) -> str:
        """For the command line of the wire's process."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The same back."""
        return cls(**json.loads(text))


@dataclasses.dataclass
class Counts:
    """What happened to the datagrams of one direction: each was carried or dropped for a reason."""

    # Copies included.
    given: int = 0
    carried: int = 0
    lost: int = 0
    duplicated: int = 0
    corrupted: int = 0
    reordered: int = 0
    queue_full: int = 0
    too_big: int = 0
    cleared: int = 0

    @property
    def taken(self) -> int:
        """How many came."""
        return self.carried + self.lost + self.queue_full + self.too_big

    @property
    def is_empty(self) -> bool:
        """Whether all that is to come out has come out."""
        return self.given == self.carried + self.duplicated


class Direction:
    """One direction of a wire: frames in, frames out later, in virtual time."""

    def __init__(self, impairments: Impairments, seed: str) -> None:
        """Equal seeds do equal things to equal frames."""
        self.counts = Counts()
        self._impairments = impairments
        self._rng = random.Random(seed)
        self._waiting: list[tuple[float, int, bytes]] = []
        self._number = 0
        # When what has been sent last is over, and when the last one in order is due.
        self._free_at = 0.0
        self._last_due = 0.0

    @property
    def next_due(self) -> float | None:
        """When the next frame is due."""
        return self._waiting[0][0] if self._waiting else None

    def take(self, frame: bytes, now: float) -> bytes | None:
        """Takes a frame. What it returns goes back to where the frame came from."""
        if not is_udp(frame):
            self._push(now, frame)
            return None
        settings, chance = self._impairments, self._rng.random
        if settings.mtu and len(frame) - _ETHERNET_BYTES > settings.mtu:
            self.counts.too_big += 1
            return too_big(frame, settings.mtu) if settings.tells_too_big else None
        if chance() < settings.loss:
            self.counts.lost += 1
            return None
        due = now
        if settings.bits_per_second:
            start = max(now, self._free_at)
            if start - now > settings.queue_seconds:
                self.counts.queue_full += 1
                return None
            due = self._free_at = start + 8 * len(frame) / settings.bits_per_second
        due += settings.delay_seconds + chance() * settings.jitter_seconds
        if settings.reordering and chance() < settings.reordering:
            self.counts.reordered += 1
            due += settings.reordering_seconds
        else:
            due = self._last_due = max(due, self._last_due)
        if settings.clears_ecn:
            frame = self._cleared(frame)
        if chance() < settings.corruption:
            self.counts.corrupted += 1
            frame = corrupted(frame, self._rng)
        self.counts.carried += 1
        self._push(due, frame)
        if chance() < settings.duplication:
            self.counts.duplicated += 1
            self._push(due, frame)
        return None

    def give(self, now: float) -> bytes | None:
        """The next frame that is due, if one is."""
        if self._waiting and self._waiting[0][0] <= now:
            frame = heapq.heappop(self._waiting)[2]
            self.counts.given += is_udp(frame)
            return frame
        return None

    def _push(self, due: float, frame: bytes) -> None:
        self._number += 1
        heapq.heappush(self._waiting, (due, self._number, frame))

    def _cleared(self, frame: bytes) -> bytes:
        result = without_ecn(frame)
        self.counts.cleared += result != frame
        return result


def is_udp(frame: bytes) -> bool:
    """Whether this is a UDP datagram in an Ethernet frame, in one piece."""
    kind = int.from_bytes(frame[12:14], "big")
    if kind == _IPV4:
        return frame[_ETHERNET_BYTES + 9] == _UDP
    return kind == _IPV6 and frame[_ETHERNET_BYTES + 6] == _UDP


def without_ecn(frame: bytes) -> bytes:
    """The same frame with the ECN bits 0 (RFC 3168 §5)."""
    changed = bytearray(frame)
    if int.from_bytes(frame[12:14], "big") == _IPV4:
        changed[_ETHERNET_BYTES + 1] &= 0xFC
        header = slice(_ETHERNET_BYTES, _ETHERNET_BYTES + 4 * (frame[_ETHERNET_BYTES] & 0xF))
        changed[_ETHERNET_BYTES + 10 : _ETHERNET_BYTES + 12] = bytes(2)
        checksum = internet_checksum(changed[header])
        changed[_ETHERNET_BYTES + 10 : _ETHERNET_BYTES + 12] = checksum.to_bytes(2, "big")
    else:
        # The traffic class lies across the first two bytes: version, class, flow label.
        changed[_ETHERNET_BYTES + 1] &= 0xCF
    return bytes(changed)


def corrupted(frame: bytes, rng: random.Random) -> bytes:
    """The same frame with one bit of the payload flipped, and a checksum that fits all the same.

    Otherwise the next kernel would drop it, and it would be one more loss.
    """
    udp = _udp_offset(frame)
    if len(frame) <= udp + _UDP_HEADER_BYTES:
        return frame
    changed = bytearray(frame)
    changed[rng.randrange(udp + _UDP_HEADER_BYTES, len(frame))] ^= 1 << rng.randrange(8)
    changed[udp + 6 : udp + 8] = bytes(2)
    checksum = internet_checksum(_pseudo_header(changed, udp) + changed[udp:]) or 0xFFFF
    changed[udp + 6 : udp + 8] = checksum.to_bytes(2, "big")
    return bytes(changed)


def too_big(frame: bytes, mtu: int) -> bytes:
    """What a router says that cannot forward this: ICMP type 3 code 4, or ICMPv6 type 2."""
    ethernet = frame[6:12] + frame[0:6] + frame[12:14]
    packet = frame[_ETHERNET_BYTES:]
    if int.from_bytes(frame[12:14], "big") == _IPV4:
        # RFC 1191 §4, RFC 792: the header and 8 bytes of the payload suffice.
        header_bytes = 4 * (packet[0] & 0xF)
        body = struct.pack("!HHHHH", 0x0304, 0, 0, mtu, 0)[:8] + packet[: header_bytes + 8]
        body = body[:2] + internet_checksum(body).to_bytes(2, "big") + body[4:]
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, 1, 0)
        head += packet[16:20] + packet[12:16]
        return ethernet + head[:10] + internet_checksum(head).to_bytes(2, "big") + head[12:] + body
    # RFC 4443 §3.2: as much of the packet as fits into the least MTU.
    quoted = packet[: 1_280 - _IPV6_HEADER_BYTES - 8]
    body = struct.pack("!HHI", 0x0200, 0, mtu) + quoted
    addresses = packet[24:40] + packet[8:24]
    pseudo = addresses + struct.pack("!II", len(body), 58)
    body = body[:2] + internet_checksum(pseudo + body).to_bytes(2, "big") + body[4:]
    return ethernet + struct.pack("!IHBB", 6 << 28, len(body), 58, 64) + addresses + body


def internet_checksum(data: bytes | bytearray) -> int:
    """The checksum of RFC 1071."""
    padded = bytes(data) + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _udp_offset(frame: bytes) -> int:
    if int.from_bytes(frame[12:14], "big") == _IPV4:
        return _ETHERNET_BYTES + 4 * (frame[_ETHERNET_BYTES] & 0xF)
    return _ETHERNET_BYTES + _IPV6_HEADER_BYTES


def _pseudo_header(frame: bytearray, udp: int) -> bytes:
    length = len(frame) - udp
    if int.from_bytes(frame[12:14], "big") == _IPV4:
        return bytes(frame[26:34]) + struct.pack("!HH", _UDP, length)
    return bytes(frame[22:54]) + struct.pack("!II", length, _UDP)
