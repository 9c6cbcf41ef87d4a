"""The wire contract at the seam, for every client of version 1 (Documentation/protocol.md)."""

from __future__ import annotations

import random
import socket
import struct
import uuid

import pytest

from peers import ACK, LARGEST_PAYLOAD_BYTES, exchange, registration
from relay_process import Relay, StartRelay

# Fixed, so that the cases below can be named; upper and lower case differ in it.
SESSION = uuid.UUID("1b4e28ba-2fa1-41d2-883f-0016d3cca427")
ID = str(SESSION)
HEX = SESSION.hex

NOT_ECT, ECT_1, ECT_0, CE = range(4)


def _id(old: str, new: str) -> bytes:
    """The registration line with one part of its session id replaced."""
    assert old in ID
    return registration(ID.replace(old, new, 1))


# Everything that is not exactly a registration is payload: QUIC's first byte may be an R.
LOOK_ALIKES = {
    "prefix-alone": b"REG:",
    "prefix-and-newline": b"REG:\n",
    "prefix-cut": b"REG",
    "one-character-short": registration(ID[:-1]),
    "one-character-long": registration(ID + "0"),
    "short-but-41-bytes": registration(ID[:-1], b"\r\n"),
    "not-hexadecimal": _id("1b4e", "gb4e"),
    # Each becomes a legal character when folded to lower case by `| 0x20`.
    "folds-to-a-digit": _id("1b4e", "\x11b4e"),
    "folds-to-a-dash": _id("-", "\r"),
    "high-bit-set": b"REG:" + bytes([ord(ID[0]) | 0x80]) + ID[1:].encode() + b"\n",
    "nul-inside": _id("41d2", "41\x002"),
    "space-inside": _id("41d2", "41 2"),
    "no-dashes": registration(HEX + HEX[:4]),
    "dash-too-late": registration(f"{HEX[:9]}-{HEX[9:12]}-{HEX[12:16]}-{HEX[16:20]}-{HEX[20:]}"),
    "dash-too-early": registration(f"{HEX[:7]}-{HEX[7:12]}-{HEX[12:16]}-{HEX[16:20]}-{HEX[20:]}"),
    "dash-doubled": _id("2fa1", "-fa1"),
    "underscores": registration(ID.replace("-", "_")),
    "braces": registration("{" + ID[1:-1] + "}"),
    "random-bytes": b"REG:" + random.Random(1).randbytes(36) + b"\n",
    "only-newlines": b"REG:" + b"\n" * 37,
    "trailing-space": registration(ID, b" "),
    "trailing-nul": registration(ID, b"\0"),
    "trailing-return": registration(ID, b"\r"),
    "trailing-space-newline": registration(ID, b" \n"),
    "two-newlines": registration(ID, b"\n\n"),
    "newline-return": registration(ID, b"\n\r"),
    "two-returns": registration(ID, b"\r\r\n"),
    "leading-space": b" " + registration(ID),
    "leading-space-41-bytes": b" " + registration(ID, b""),
    "leading-newline": b"\n" + registration(ID),
    "space-after-colon": registration(" " + ID),
    "lower-case-command": b"reg:" + registration(ID)[4:],
    "mixed-case-command": b"Reg:" + registration(ID)[4:],
    "other-separator": b"REG=" + registration(ID)[4:],
    "two-lines": registration(ID) * 2,
    "line-and-payload": registration(ID) + b"payload",
    "utf-16": registration(ID).decode().encode("utf-16-le"),
    "relay's-answer": ACK,
    # STUN is off by default, so a Binding request is payload like any other.
    "stun-binding": struct.pack("!HHI", 1, 0, 0x2112A442) + bytes(range(12)),
}

FORMS = {
    "canonical": registration(ID),
    "no-newline": registration(ID, b""),
    "return-newline": registration(ID, b"\r\n"),
    "upper-case": registration(ID.upper()),
    "upper-case-no-newline": registration(ID.upper(), b""),
    "mixed-case": registration(ID[:18].upper() + ID[18:]),
}


@pytest.mark.parametrize("line", FORMS.values(), ids=FORMS.keys())
def test_every_form_registers_for_the_same_session(relay: Relay, line: bytes) -> None:
    a, b = relay.peer(), relay.peer()
    a.register(SESSION)
    b.send(line)
    b.expect(ACK)
    exchange(a, b, "same session")
    b.expect_silence()


def test_registration_is_idempotent_and_never_forwarded(relay: Relay) -> None:
    session = relay.new_session()
    a, b = relay.pair(session=session)
    for round_number in range(5):
        for ending in (b"\n", b"", b"\r\n"):
            a.register(session, ending)
            b.register(str(session).upper(), ending)
        exchange(a, b, f"round {round_number}")
    a.expect_silence()
    b.expect_silence()


def test_lone_peer_is_acknowledged_each_time(relay: Relay) -> None:
    a = relay.peer()
    session = relay.new_session()
    for _ in range(5):
        a.register(session)
    a.send(b"payload for nobody")
    a.expect_silence()


@pytest.mark.parametrize("payload", LOOK_ALIKES.values(), ids=LOOK_ALIKES.keys())
def test_look_alike_between_peers_is_payload(relay: Relay, payload: bytes) -> None:
    a, b = relay.pair(session=SESSION)
    for sender, receiver in ((a, b), (b, a)):
        sender.send(payload)
        receiver.expect(payload)
    # Had a look-alike been answered, the answer would come before these.
    exchange(a, b, "after the look-alike")


def test_look_alike_from_an_unbound_source_gets_no_reply(relay: Relay) -> None:
    stranger = relay.peer()
    for name, payload in LOOK_ALIKES.items():
        stranger.send(payload)
        try:
            stranger.expect_silence(0.02)
        except AssertionError as error:
            raise AssertionError(f"look-alike {name}: {error}") from None
    stranger.expect_silence()
    stranger.register(SESSION)
    stranger.expect_silence()


def test_look_alike_from_an_unbound_source_reaches_nobody(relay_ipv4: Relay) -> None:
    a, b = relay_ipv4.pair(session=SESSION)
    stranger = relay_ipv4.peer("127.0.0.4")
    for payload in LOOK_ALIKES.values():
        stranger.send(payload)
    stranger.expect_silence()
    exchange(a, b, "undisturbed")


def test_every_size_arrives_whole_and_once(relay: Relay, rng: random.Random) -> None:
    a, b = relay.pair()
    sizes = [*range(1_473), 9_000, 16_384, LARGEST_PAYLOAD_BYTES[relay.address.family]]
    for size in sizes:
        for sender, receiver in ((a, b), (b, a)):
            payload = rng.randbytes(size)
            sender.send(payload)
            receiver.expect(payload)
    # A second copy of a datagram would have come instead of the next one, or comes now.
    a.expect_silence()
    b.expect_silence()


def test_datagram_too_big_for_the_path_is_dropped_whole(start_relay: StartRelay) -> None:
    # The sender may fragment (65,507 + 48 bytes of headers on an MTU of 65,536), the relay not.
    a, b = start_relay(host="::1").pair()
    a.send(bytes(LARGEST_PAYLOAD_BYTES[socket.AF_INET]))
    b.expect_silence()
    exchange(a, b, "after the drop")


def test_mixed_sizes_in_one_burst_arrive_in_order(relay: Relay, rng: random.Random) -> None:
    a, b = relay.pair()
    for _ in range(20):
        # Few sizes, so that runs of equal sizes occur, empty datagrams and shorter ends among them.
        sizes = rng.choices((0, 1, 700, 1_199, 1_200, 1_472), k=32)
        bursts = [[rng.randbytes(size) for size in sizes] for _ in range(2)]
        for from_a, from_b in zip(*bursts, strict=True):
            a.send(from_a)
            b.send(from_b)
        for from_a, from_b in zip(*bursts, strict=True):
            b.expect(from_a)
            a.expect(from_b)


@pytest.mark.parametrize("last_bytes", [1_200, 700, 1])
def test_train_arrives_as_its_datagrams_in_order(
    relay: Relay, rng: random.Random, last_bytes: int
) -> None:
    a, b = relay.pair()
    for sender, receiver in ((a, b), (b, a)):
        datagrams = [rng.randbytes(1_200) for _ in range(9)] + [rng.randbytes(last_bytes)]
        sender.send_train(b"".join(datagrams), 1_200)
        for datagram in datagrams:
            receiver.expect(datagram)
    exchange(a, b, "after the trains")


def test_trains_of_both_peers_at_once_stay_apart(relay: Relay, rng: random.Random) -> None:
    pairs = [relay.pair() for _ in range(3)]
    ways = [way for a, b in pairs for way in ((a, b), (b, a))]
    trains = [[rng.randbytes(1_000) for _ in range(10)] for _ in ways]
    for (sender, _), train in zip(ways, trains, strict=True):
        sender.send_train(b"".join(train), 1_000)
    for (_, receiver), train in zip(ways, trains, strict=True):
        for datagram in train:
            receiver.expect(datagram)


@pytest.mark.parametrize(
    "mark", [NOT_ECT, ECT_0, ECT_1, CE], ids=["not-ect", "ect-0", "ect-1", "ce"]
)
def test_ecn_mark_is_carried(relay: Relay, mark: int) -> None:
    a, b = relay.pair()
    for sender, receiver in ((a, b), (b, a)):
        # As a socket option, the way QUIC stacks without ancillary data set it.
        if relay.address.family == socket.AF_INET6:
            sender.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, mark)
        else:
            sender.socket.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, mark)
        sender.send(b"marked")
        assert receiver.receive_marked() == (b"marked", mark)


def test_each_datagram_of_a_burst_keeps_its_own_ecn_mark(relay: Relay, rng: random.Random) -> None:
    a, b = relay.pair()
    # Equal sizes: a relay that builds trains must not give one mark to all.
    burst = [(rng.randbytes(1_200), rng.randrange(4)) for _ in range(32)]
    for payload, mark in burst:
        a.send(payload, ecn=mark)
    for number, (payload, mark) in enumerate(burst):
        received, received_mark = b.receive_marked()
        assert received == payload, f"datagram {number} is another"
        assert received_mark == mark, f"datagram {number}"


def test_answer_to_a_marked_registration_is_plain(relay: Relay) -> None:
    a = relay.peer()
    a.send(registration(relay.new_session()), ecn=ECT_0)
    assert a.receive() == ACK


def test_deployed_client_meets_its_partner(relay: Relay) -> None:
    session = relay.new_session()
    server, client = relay.peer(), relay.peer()
    server.register(session)
    # Nobody is there yet: the punch goes nowhere, and nothing comes back.
    server.send(b"punch")
    server.expect_silence()
    client.register(session)
    client.send(b"punch")
    server.expect(b"punch")
    for _ in range(5):
        server.send(b"punch-ack")
        client.expect(b"punch-ack")
    # The deployed client repeats its registration every 3 s from a socket that never reads.
    for _ in range(3):
        client.send(registration(session))
    for _ in range(3):
        client.expect(ACK)
    exchange(client, server, "QUIC")
