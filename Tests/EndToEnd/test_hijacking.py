"""Somebody else on a peer's own public address wants the session: Documentation/protocol.md.

Attacks go on for 10 s, those with copies for 5 s. QUIC_RELAY_LONG=1 in the environment makes that
60 s and 30 s, which is what a release should have seen; the summary says what it was.
"""

from __future__ import annotations

import functools
import itertools
import os
import random
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from conftest import Note
from conversation import Conversation, Pings
from couples import (
    CLIENT_HOST,
    SERVER_HOST,
    Couple,
    Stack,
    StartNat,
    couple_apart,
    register_couple,
)
from nat import Flow, Mapping
from peers import Address
from relay_process import Relay
from waiting import wait_until

STRANGER_HOST = "127.0.0.9"

IS_LONG = os.environ.get("QUIC_RELAY_LONG") == "1"
ATTACK_SECONDS = 60.0 if IS_LONG else 10.0
COPY_SECONDS = ATTACK_SECONDS / 2

# Not a wait for something: the pace of the attack, some hundred datagrams a second.
_PACE_SECONDS = 0.002

_PORTS = 48
_SIZES = (0, 1, 4, 5, 8, 9, 20, 21, 22, 33, 41, 64, 256, 600, 1_199, 1_200, 1_252, 1_472, 9_000)

# QUIC version 1 and 2 (RFC 9000, RFC 9369), a draft, a reserved one, and that of negotiation.
_VERSIONS = (1, 0x6B3343CF, 0xFF00001D, 0x1A2A3A4A, 0)

_Attack = Callable[[random.Random], bytes]


class Hijacker:
    """Many sockets on one address, that speak to the relay and hope to hear something."""

    def __init__(self, relay: Address, host: str, rng: random.Random) -> None:
        """Opens the sockets."""
        self.received: list[bytes] = []
        self.sent = 0
        self._rng = rng
        self._sockets = []
        for _ in range(_PORTS):
            opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            opened.bind((host, 0))
            opened.connect((relay.host, relay.port))
            self._sockets.append(opened)

    def close(self) -> None:
        """Frees the ports."""
        for opened in self._sockets:
            opened.close()

    def send(self, datagrams: Sequence[bytes], from_first_port: bool = False) -> None:
        """Sends these from one of the ports, one right after the other."""
        opened = self._sockets[0] if from_first_port else self._rng.choice(self._sockets)
        for datagram in datagrams:
            opened.send(datagram)
        self.sent += len(datagrams)

    def listen(self) -> list[bytes]:
        """All that has come to any of the ports so far."""
        for opened in self._sockets:
            try:
                while True:
                    self.received.append(opened.recv(65_535, socket.MSG_DONTWAIT))
            except BlockingIOError:
                continue
        return self.received


HireHijacker = Callable[[Relay, str], Hijacker]


@pytest.fixture
def hire_hijacker(rng: random.Random) -> Iterator[HireHijacker]:
    """Lets somebody else live on an address."""
    hired: list[Hijacker] = []

    def hire(relay: Relay, host: str) -> Hijacker:
        hired.append(Hijacker(relay.address, host, rng))
        return hired[-1]

    yield hire
    for hijacker in hired:
        hijacker.close()


def _is_initial(datagram: bytes) -> bool:
    """Whether its first packet is an Initial (RFC 9000 §17.2.2, RFC 9369 §3.2)."""
    if len(datagram) < 7 or not datagram[0] & 0x80:
        return False
    version, kind = int.from_bytes(datagram[1:5], "big"), datagram[0] >> 4 & 3
    return (version, kind) in ((1, 0), (0x6B3343CF, 1))


def _is_short(datagram: bytes) -> bool:
    """Whether it is a short-header packet and no registration."""
    return len(datagram) > 20 and not datagram[0] & 0x80 and not datagram.startswith(b"REG:")


def _anything(rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice(_SIZES))


def _short_header(rng: random.Random) -> bytes:
    return bytes([0x40 | rng.getrandbits(6)]) + rng.randbytes(rng.randint(20, 1_300))


def _greased_short_header(rng: random.Random) -> bytes:
    # The fixed bit is 0 (RFC 9287).
    return bytes([rng.getrandbits(6)]) + rng.randbytes(rng.randint(20, 1_300))


def _long_header(rng: random.Random) -> bytes:
    first = bytes([0x80 | rng.getrandbits(7)])
    version = rng.choice(_VERSIONS).to_bytes(4, "big")
    ids = [rng.randbytes(rng.choice((0, 4, 8, 18, 20))) for _ in range(2)]
    named = b"".join(bytes([len(each)]) + each for each in ids)
    return first + version + named + rng.randbytes(rng.choice((4, 60, 1_170)))


def _replay(captured: Sequence[bytes]) -> _Attack:
    return lambda rng: rng.choice(captured)


def _await_pings(couple: Couple) -> None:
    """Returns when some more pings have come to both."""
    for inward in (couple.server.inward, couple.client.inward):
        enough = inward.datagrams + 20
        wait_until(functools.partial(_has, inward, enough), "pings after the attack")


def _has(flow: Flow, datagrams: int) -> bool:
    return flow.datagrams >= datagrams


def _note_attack(note: Note, what: str, seconds: float, rest: str) -> None:
    hint = "" if IS_LONG else " (QUIC_RELAY_LONG=1 makes it six times as long)"
    note(f"hijacking, {what}, {seconds:g} s{hint}: {rest}")


def _gaps(both: tuple[Pings, Pings]) -> str:
    gaps = (f"{pings.longest_gap_seconds * 1_000:.0f} ms" for pings in both)
    return f"longest gaps of server and client {', '.join(gaps)}"


def _expect_undisturbed(
    relay: Relay,
    couple: Couple,
    conversation: Conversation,
    hijackers: Sequence[Hijacker],
) -> str:
    """Both peers have all that is theirs, and nobody else has anything. Says what there was."""
    _await_pings(couple)
    pings = conversation.finish()
    for hijacker in hijackers:
        assert not hijacker.listen(), f"{len(hijacker.received)} datagrams went to the hijacker"
    summary = relay.summary()
    assert not relay.events("rebind")
    assert summary["rebinds"] == "0"
    assert int(summary["dropped_unknown_source"]) > 0, "was there an attack at all?"
    return f"{sum(hijacker.sent for hijacker in hijackers)} datagrams, {_gaps(pings)}"


@pytest.mark.parametrize("addresses", ["one each", "one for both"])
def test_noise_and_replayed_initials_move_nobody(
    relay_ipv4: Relay,
    start_nat: StartNat,
    hire_hijacker: HireHijacker,
    aioquic: Stack,
    addresses: str,
    rng: random.Random,
    tmp_path: Path,
    note: Note,
) -> None:
    """10 s of attack on a live session; 60 s with QUIC_RELAY_LONG=1 in the environment."""
    if addresses == "one each":
        couple = couple_apart(relay_ipv4, start_nat)
        hosts = [SERVER_HOST, CLIENT_HOST]
    else:
        nat = start_nat(relay_ipv4, SERVER_HOST)
        couple = register_couple(relay_ipv4, nat.mapping(), nat.mapping())
        hosts = [SERVER_HOST]
    noise: list[_Attack] = [_anything, _short_header, _greased_short_header, _long_header]
    with couple.converse(aioquic, tmp_path) as conversation:
        captured = [
            [datagram for datagram in mapping.first_sent if _is_initial(datagram)]
            for mapping in (couple.server, couple.client)
        ]
        assert all(captured), "no Initials went by"
        # On an address of its own a peer's own Initials come back, else those of both.
        replays = [_replay(each) for each in captured]
        sets = [[replay] for replay in replays] if len(hosts) == 2 else [replays]
        hijackers = [hire_hijacker(relay_ipv4, host) for host in hosts]
        attackers = list(zip(hijackers, sets, strict=True))
        deadline = time.monotonic() + ATTACK_SECONDS
        while time.monotonic() < deadline:
            for hijacker, replayed in attackers:
                # Every other datagram is a replayed one: they are the ones that could work.
                hijacker.send([rng.choice(noise)(rng)])
                hijacker.send([rng.choice(replayed)(rng)])
            conversation.check_alive()
            time.sleep(_PACE_SECONDS)
        rest = _expect_undisturbed(relay_ipv4, couple, conversation, hijackers)
    _note_attack(note, f"noise and Initials, {addresses}", ATTACK_SECONDS, rest)


def _copy(
    attackers: Sequence[tuple[Mapping, Hijacker]],
    conversation: Conversation,
    burst: Callable[[Mapping], list[bytes]],
    from_first_port: bool = False,
) -> None:
    """Sends a burst of copies each time that a peer has sent something new."""
    copied: dict[int, bytes] = {}

    def copy(mapping: Mapping, hijacker: Hijacker) -> None:
        latest = mapping.latest_sent[-1]
        if _is_short(latest) and copied.get(id(mapping)) is not latest:
            copied[id(mapping)] = latest
            hijacker.send(burst(mapping), from_first_port)

    deadline = time.monotonic() + COPY_SECONDS
    for turn in itertools.count():
        if time.monotonic() >= deadline:
            return
        for mapping, hijacker in attackers:
            # The peer itself must be heard before each burst, and not while it is being sent: two
            # single copies would otherwise become one burst of two now and then.
            mapping.between_datagrams(functools.partial(copy, mapping, hijacker))
        if turn % 100 == 0:
            conversation.check_alive()
        time.sleep(_PACE_SECONDS)


def _one(mapping: Mapping) -> list[bytes]:
    return [mapping.latest_sent[-1]]


def _same_twice(mapping: Mapping) -> list[bytes]:
    return [mapping.latest_sent[-1]] * 2


def _last_two(mapping: Mapping) -> list[bytes]:
    return [mapping.latest_sent[-2], mapping.latest_sent[-1]]


@pytest.mark.parametrize("where", ["the peers' addresses", "another address"])
def test_copies_of_what_a_live_peer_sends_move_nobody(
    relay_ipv4: Relay,
    start_nat: StartNat,
    hire_hijacker: HireHijacker,
    aioquic: Stack,
    where: str,
    tmp_path: Path,
    note: Note,
) -> None:
    """5 s of attack on a live session; 30 s with QUIC_RELAY_LONG=1 in the environment."""
    couple = couple_apart(relay_ipv4, start_nat)
    is_near = where == "the peers' addresses"
    hosts = (SERVER_HOST, CLIENT_HOST) if is_near else (STRANGER_HOST, STRANGER_HOST)
    with couple.converse(aioquic, tmp_path) as conversation:
        hijackers = [hire_hijacker(relay_ipv4, host) for host in hosts]
        attackers = list(zip((couple.server, couple.client), hijackers, strict=True))
        _copy(attackers, conversation, _one)
        # The copies name a peer, so they may have been forwarded; this one can only be dropped.
        hijackers[0].send([b"\x40nobody"])
        rest = _expect_undisturbed(relay_ipv4, couple, conversation, hijackers)
    _note_attack(note, f"copies from {where}", COPY_SECONDS, rest)


@pytest.mark.parametrize("ports", ["one port", "many ports"])
@pytest.mark.parametrize("burst", [_same_twice, _last_two], ids=["same twice", "last two"])
def test_bursts_of_copies_of_what_a_live_peer_sends_move_it_once_and_back(
    relay_ipv4: Relay,
    start_nat: StartNat,
    hire_hijacker: HireHijacker,
    aioquic: Stack,
    burst: Callable[[Mapping], list[bytes]],
    ports: str,
    tmp_path: Path,
    note: Note,
) -> None:
    """5 s of attack on a live session; 30 s with QUIC_RELAY_LONG=1 in the environment.

    Two copies with nothing from the peer between them look like a peer whose NAT gave it a new
    mapping this moment: the relay believes them, but only once. When the peer is heard at its old
    address it has it back, for as long as the attack goes on.
    """
    couple = couple_apart(relay_ipv4, start_nat)
    with couple.converse(aioquic, tmp_path) as conversation:
        hijacker = hire_hijacker(relay_ipv4, CLIENT_HOST)
        _copy([(couple.client, hijacker)], conversation, burst, ports == "one port")
        during = len(hijacker.listen())
        _await_pings(couple)
        after = len(hijacker.listen())
        _await_pings(couple)
        in_peace = len(hijacker.listen())
        pings = conversation.finish()
    rebindings = relay_ipv4.summary()["rebinds"]
    events = relay_ipv4.events("rebind", couple.session)
    name = burst.__name__.strip("_").replace("_", " ")
    _note_attack(
        note,
        f"two copies at a time, {name}, from {ports}",
        COPY_SECONDS,
        f"{hijacker.sent} copies, {len(events)} events, {rebindings} rebindings, "
        f"{during} datagrams for the client went to the hijacker and {after - during} more "
        f"afterwards, {couple.client.inward.datagrams} to the client, {_gaps(pings)}",
    )
    # From many ports a second burst may seem to be the next move of a NAT that makes several in a
    # row, as long as nothing has come from the peer's own address since the first.
    returns = [event.fields.get("reverted") == "yes" for event in events]
    assert not any(returns[:-1]), "the peer was moved again after it had come back"
    assert all(returns[-1:]), "the peer did not come back"
    assert int(rebindings) == len(events) <= (2 if ports == "one port" else 3)
    assert in_peace == after, "the hijacker still gets what is the client's"
