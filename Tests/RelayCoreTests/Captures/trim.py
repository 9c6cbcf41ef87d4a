#!/usr/bin/env python3
"""Makes test fixtures from captures of real QUIC connections through a relay.

    trim.py IN.pcap IN.facts.jsonl OUTDIR

writes OUTDIR/IN.pcap and OUTDIR/IN.facts. The same input gives the same bytes.

IN.pcap: little-endian, microseconds, Ethernet, IPv4, UDP, recorded at the relay, both ways.
IN.facts.jsonl: what somebody who is not us found out about each flow, a JSON object a line.

Of the capture we keep what a relay decides upon: the datagrams from the peers to the relay, all of
them, in order, each with its time and its headers.

- Datagrams that start with a QUIC long header are kept whole, so that the packets coalesced in
  them can be walked by their lengths. Nothing in them is changed.
- Registrations are kept whole, since only the whole of one is one.
- Of all others the first 32 bytes of payload are kept. All that stands in the clear in a short
  header is among the first 21 (RFC 9000 §17.3.1): a byte of flags and up to 20 of connection ID.
  The lengths in the record, in IP and in UDP stay what they were.

Of the facts we keep those that can be seen without keys in what we kept. We compute none.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

KEPT_PAYLOAD_BYTES = 32

FILE_HEADER = struct.Struct("<IHHiIII")
RECORD_HEADER = struct.Struct("<IIII")
MICROSECONDS_MAGIC = 0xA1B2C3D4
LINKTYPE_ETHERNET = 1
ETHERNET_BYTES = 14
ETHERTYPE_IPV4 = b"\x08\x00"
UDP_BYTES = 8
PROTOCOL_UDP = 17

VERDICTS = {
    "SPINS (1 edge per RTT)": "spins",
    "constant 0": "constant",
    "random/grease": "random",
}

FACTS_COMMENT = """\
# What is known about the connection in {name}.pcap,
# found out independently of the relay in the capture as it was before it was trimmed.
# A flow is what came from one address of a peer; a line says one thing of the flow above it:
#   flow ADDRESS         where the datagrams came from
#   datagrams N          without registrations, and so is all that follows
#   registrations N
#   role client|server   not there if no long header tells
#   versions V ...       of long headers other than Retry
#   packets TYPE N       QUIC packets, coalesced ones too; a datagram's zeros to its end are none
#   ids D S N            long headers with D bytes of destination and S of source connection ID
#   greased N            short headers, coalesced ones too, whose fixed bit is 0
#   first_us TYPES T     the first datagram that holds these packets in this order and no others
#   ecn MARK N           datagrams with this ECN field (RFC 3168)
#   spin VERDICT         spins, constant or random; this and what follows is about datagrams that
#                        start with a short header, in order of arrival
#   edges N              those whose spin bit is not that of the one before
#   edge_gap_us T        the median time from edge to edge, the longer of the middle two if they
#                        are two; not there without edges
# _us: microseconds, rounded to 100; times are those since the first record.
"""


class Record(NamedTuple):
    """A record of a capture, and what its headers say."""

    seconds: int
    microseconds: int
    original_length: int
    frame: bytes
    payload_offset: int
    source: str
    destination: str

    @property
    def payload(self) -> bytes:
        return self.frame[self.payload_offset :]


def records(capture: bytes) -> Iterator[Record]:
    """The records of a capture; one that is not IPv4 and UDP, and whole, is an error."""
    magic, _, _, _, _, _, link_type = FILE_HEADER.unpack_from(capture)
    assert magic == MICROSECONDS_MAGIC and link_type == LINKTYPE_ETHERNET, "another kind of pcap"
    offset = FILE_HEADER.size
    while offset < len(capture):
        seconds, microseconds, length, original = RECORD_HEADER.unpack_from(capture, offset)
        offset += RECORD_HEADER.size
        frame = capture[offset : offset + length]
        offset += length
        assert len(frame) == length == original, "a record is cut"
        assert frame[12:14] == ETHERTYPE_IPV4, "a frame is not IPv4"
        udp = ETHERNET_BYTES + (frame[14] & 0x0F) * 4
        assert frame[23] == PROTOCOL_UDP, "a packet is not UDP"
        source_port, destination_port, udp_length = struct.unpack_from(">HHH", frame, udp)
        assert udp + udp_length == length, "a frame is not exactly one datagram"
        yield Record(
            seconds,
            microseconds,
            original,
            frame,
            udp + UDP_BYTES,
            f"{dotted(frame[26:30])}:{source_port}",
            f"{dotted(frame[30:34])}:{destination_port}",
        )


def dotted(address: bytes) -> str:
    """An IPv4 address as text."""
    return ".".join(str(octet) for octet in address)


def kept_length(payload: bytes) -> int:
    """How many bytes of a datagram's payload a fixture keeps."""
    has_long_header = payload[:1] >= b"\x80"
    if has_long_header or payload.startswith(b"REG:"):
        return len(payload)
    return min(len(payload), KEPT_PAYLOAD_BYTES)


def trimmed(capture: bytes, flows: set[str]) -> bytes:
    """The capture without what the relay sent, and without payload that nobody reads."""
    trimmed = bytearray(capture[: FILE_HEADER.size])
    relay = None
    for record in records(capture):
        # Nothing can come before a registration: the relay is where the first datagram goes.
        relay = relay or record.destination
        if record.destination != relay:
            assert record.source == relay, f"neither from nor to the relay: {record.source}"
            continue
        assert record.source in flows, f"no facts about {record.source}"
        frame = record.frame[: record.payload_offset + kept_length(record.payload)]
        trimmed += RECORD_HEADER.pack(
            record.seconds, record.microseconds, len(frame), record.original_length
        )
        trimmed += frame
    return bytes(trimmed)


def fact_lines(facts: dict) -> Iterator[str]:
    """The lines about one flow."""
    yield f"flow {facts['flow']}"
    yield f"datagrams {facts['n']}"
    yield f"registrations {facts['reg']}"
    if "role" in facts:
        yield f"role {facts['role']}"
    if "version" in facts:
        yield f"versions {facts['version'].replace(',', ' ')}"
    for packet_type, count in facts["types"].items():
        yield f"packets {packet_type} {count}"
    for lengths, count in facts["cid"].items():
        destination, source = lengths.removeprefix("dcid").split("/scid")
        yield f"ids {destination} {source} {count}"
    yield f"greased {facts['fixed0']}"
    for types, seconds in facts["first"].items():
        yield f"first_us {types} {int(seconds * 1_000_000)}"
    for mark, count in facts["ecn"].items():
        yield f"ecn {mark} {count}"
    spin = facts["spin"]
    yield f"spin {VERDICTS[spin['verdict']]}"
    yield f"edges {spin['edges']}"
    if spin["median_edge_gap_ms"] is not None:
        yield f"edge_gap_us {int(spin['median_edge_gap_ms'] * 1_000)}"


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    capture_path, facts_path, folder = map(Path, sys.argv[1:])
    # Decimal: 0.5586 s are 558600 µs and not one less.
    lines = facts_path.read_text().splitlines()
    facts = [json.loads(line, parse_float=Decimal) for line in lines]
    capture = trimmed(capture_path.read_bytes(), {flow["flow"] for flow in facts})
    name = capture_path.stem
    text = FACTS_COMMENT.format(name=name)
    for flow in facts:
        text += "\n" + "".join(f"{line}\n" for line in fact_lines(flow))
    (folder / f"{name}.pcap").write_bytes(capture)
    (folder / f"{name}.facts").write_text(text)


if __name__ == "__main__":
    main()
