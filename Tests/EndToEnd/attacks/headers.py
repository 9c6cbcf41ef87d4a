"""QUIC packets as a relay sees them: nothing but their headers means anything."""

from __future__ import annotations


def long_header(destination: bytes, source: bytes) -> bytes:
    """An Initial of version 1 with these connection IDs (RFC 8999 §5.1, RFC 9000 §17.2.2)."""
    head = b"\xc0" + (1).to_bytes(4, "big")
    ids = b"".join(bytes([len(each)]) + each for each in (destination, source))
    body = bytes(1_100)
    return head + ids + b"\0" + (0x4000 | len(body)).to_bytes(2, "big") + body


def short_header(destination: bytes, rest: bytes) -> bytes:
    """A 1-RTT packet to this connection ID (RFC 9000 §17.3.1), no shorter than one can be."""
    return b"\x40" + destination + rest + bytes(21)
