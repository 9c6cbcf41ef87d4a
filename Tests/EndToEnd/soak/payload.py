"""Datagrams that say whose they are, some of which look like QUIC."""

from __future__ import annotations

import random
import struct
import zlib
from dataclasses import dataclass

# The end of each datagram: a mark, the couple, the side, a number, and a checksum of all before it.
_TRAILER = struct.Struct(">4sIBQ")
_MARK = b"SOAK"
_CHECKSUM_BYTES = 4
TRAILER_BYTES = _TRAILER.size + _CHECKSUM_BYTES

# What is between header and trailer is a part of this, so that making it costs little.
_FILLING = random.Random(0).randbytes(1 << 17)

_INITIAL, _HANDSHAKE = 0, 2
ID_BYTES = 8


@dataclass(frozen=True)
class Stamp:
    """Whose a datagram is."""

    couple: int
    side: int
    number: int


def stamped(stamp: Stamp, size: int, header: bytes = b"") -> bytes:
    """A datagram of this size, or the shortest that holds header and trailer."""
    filling = max(0, size - len(header) - TRAILER_BYTES)
    start = stamp.number & 0xFFFF
    body = header + _FILLING[start : start + filling]
    body += _TRAILER.pack(_MARK, stamp.couple, stamp.side, stamp.number)
    return body + zlib.crc32(body).to_bytes(_CHECKSUM_BYTES, "big")


def read_stamp(payload: bytes) -> Stamp | None:
    """Whose it is; nothing if it is none of ours. One that was changed on its way is a failure."""
    at = len(payload) - TRAILER_BYTES
    if at < 0 or payload[at : at + len(_MARK)] != _MARK:
        return None
    checksum = int.from_bytes(payload[-_CHECKSUM_BYTES:], "big")
    assert zlib.crc32(payload[:-_CHECKSUM_BYTES]) == checksum, f"changed: {payload[:60]!r}"
    _, couple, side, number = _TRAILER.unpack_from(payload, at)
    return Stamp(couple, side, number)


def long_header(is_initial: bool, destination: bytes, source: bytes, rest_bytes: int) -> bytes:
    """The header of an Initial or a Handshake of QUIC version 1 (RFC 9000, section 17.2)."""
    kind = _INITIAL if is_initial else _HANDSHAKE
    header = bytes([0xC1 | kind << 4]) + (1).to_bytes(4, "big")
    header += bytes([len(destination)]) + destination + bytes([len(source)]) + source
    if is_initial:
        header += b"\0"
    return header + (0x4000 | rest_bytes).to_bytes(2, "big")


def short_header(destination: bytes, spin: int) -> bytes:
    """The header of a 1-RTT packet (RFC 9000, section 17.3.1)."""
    return bytes([0x41 | spin << 5]) + destination
