"""Whoever can forge a peer's address, or copy its datagrams: what that gains, and what it costs."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import pytest

from attacks.headers import long_header, short_header
from attacks.hostile import RELAY, Hostile, StartLabRelay, elsewhere, site_address, to
from attacks.spoofing import (
    ICMP_FRAGMENTATION_NEEDED,
    ICMP_PORT,
    ICMP_UNREACHABLE,
    ICMPV6_PORT,
    ICMPV6_TOO_BIG,
    ICMPV6_UNREACHABLE,
    icmp_error,
    udp_packet,
)
from lab.internet import Site
from peers import Address, Peer, exchange, ping_pong, registration
from test_version_two import keyed, speak
from waiting import wait_until

WORKERS = pytest.mark.parametrize("workers", ["1", "2"], ids=["one worker", "two workers"])
VERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])

KEY_A, KEY_B = "000000000000000a", "000000000000000b"
_FLOOD_DATAGRAMS = 400
_PAYLOAD = bytes(1_200)
# What a path of 1,500 bytes carries over IPv6.
_FULL_PAYLOAD = bytes(1_452)


def _own(site: Site, peer: Peer, version: int = 4) -> Address:
    """A peer's address, as everybody sees it."""
    return Address(site_address(site, version), peer.port)


def _pair(hostile: Hostile, version: int = 4) -> tuple[Peer, Peer, Address, Address]:
    """Two honest peers whose session is open, and their addresses."""
    session = hostile.new_session()
    a, b = (hostile.peer(site, version) for site in (hostile.accomplice, hostile.other))
    a.register(session)
    b.register(session)
    ping_pong(a, b)
    return a, b, _own(hostile.accomplice, a, version), _own(hostile.other, b, version)


@VERSIONS
def test_data_in_a_peers_name_reaches_its_partner_and_changes_nothing(
    hostile: Hostile, start_lab_relay: StartLabRelay, version: int
) -> None:
    """QUIC throws it away (RFC 9001 §5.3): a relay without keys cannot tell it from the peer's."""
    relay = start_lab_relay()
    a, b, address, _ = _pair(hostile, version)
    hostile.spoofer().send(address, RELAY[version], b"not from a")
    b.expect(b"not from a")
    exchange(a, b, "undisturbed")
    relay.stop()
    assert not relay.events("rebind")


def test_a_registration_in_a_peers_name_takes_it_out_of_its_session(
    hostile: Hostile, start_lab_relay: StartLabRelay
) -> None:
    """Rule 4, and no mistake: one address is in one session. The peer is back when it registers.

    Until then somebody else gets what it sends, which is encrypted for its partner.
    """
    start_lab_relay()
    session, other = hostile.new_session(), hostile.new_session()
    a, b = (hostile.peer(site) for site in (hostile.accomplice, hostile.other))
    for peer in (a, b):
        peer.register(session)
    ping_pong(a, b)
    thief = hostile.peer(hostile.attacker)
    thief.register(other)
    hostile.spoofer().send(_own(hostile.accomplice, a), RELAY[4], registration(other))
    a.expect(b"ACK\n")
    b.send(b"to nobody")
    a.expect_silence()
    a.send(b"for b")
    thief.expect(b"for b")
    a.register(session)
    exchange(a, b, "together again")
    thief.expect_silence()


def test_a_registration_in_the_name_of_a_peer_with_a_key_does_the_same(
    hostile: Hostile, start_lab_relay: StartLabRelay
) -> None:
    """Version 1 knows no cookies. Who wants none of this asks for tokens, or for --strict."""
    start_lab_relay()
    session = hostile.new_session()
    a, b = (hostile.peer(site) for site in (hostile.accomplice, hostile.other))
    speak(a, session, KEY_A)
    speak(b, session, KEY_B)
    exchange(a, b, "paired")
    spoofer, address = hostile.spoofer(), _own(hostile.accomplice, a)
    # Of its own version, without a cookie or with a wrong one, nothing happens but a challenge.
    for line in (
        keyed("REG", hostile.new_session(), KEY_B),
        keyed("REG", hostile.new_session(), KEY_B, secrets.token_hex(16)),
        keyed("BYE", session, KEY_A, secrets.token_hex(16)),
    ):
        spoofer.send(address, RELAY[4], line)
        assert a.receive().startswith(b"CHL:")
        exchange(a, b, "undisturbed")
    spoofer.send(address, RELAY[4], registration(hostile.new_session()))
    a.expect(b"ACK\n")
    b.send(b"to nobody")
    a.expect_silence()
    assert speak(a, session, KEY_A).startswith("ACK;addr=")
    exchange(a, b, "together again")


@WORKERS
def test_a_strict_relay_leaves_an_address_to_the_peer_that_has_proved_it(
    hostile: Hostile, start_lab_relay: StartLabRelay, workers: str
) -> None:
    relay = start_lab_relay("--strict", "--workers", workers)
    session, awaited = hostile.new_session(), hostile.new_session()
    a, b = (hostile.peer(site) for site in (hostile.accomplice, hostile.other))
    speak(a, session, KEY_A)
    speak(b, session, KEY_B)
    exchange(a, b, "paired")
    thief = hostile.peer(hostile.attacker)
    thief.register(awaited)
    spoofer = hostile.spoofer()
    for peer, site in ((a, hostile.accomplice), (b, hostile.other)):
        for wanted in (hostile.new_session(), awaited):
            spoofer.send(_own(site, peer), RELAY[4], registration(wanted))
            # In silence: nobody is to learn by it who has proved what.
            peer.expect_silence()
            exchange(a, b, "undisturbed")
    thief.expect_silence()
    # In its own session the line means what it always did, and takes no key away.
    spoofer.send(_own(hostile.accomplice, a), RELAY[4], registration(session))
    a.expect(b"ACK\n")
    moved = hostile.peer(hostile.elsewhere)
    assert speak(moved, session, KEY_A).startswith("ACK;addr=")
    exchange(moved, b, "known by its key")
    relay.stop()
    refused = relay.events("registration_refused")
    assert [event.fields["reason"] for event in refused] == ["address_held"] * 4


@WORKERS
def test_a_strict_relay_keeps_nobody_from_its_own_address(
    hostile: Hostile, start_lab_relay: StartLabRelay, workers: str
) -> None:
    """A program that was killed is started anew at its port, for another session.

    By version 2 it is there at once; by version 1 when the one before it is not live any more.
    """
    grace = 2
    start_lab_relay("--strict", "--workers", workers, "--peer-grace-secs", str(grace))
    first, second, third = (hostile.new_session() for _ in range(3))
    a, b = (hostile.peer(site) for site in (hostile.accomplice, hostile.other))
    speak(a, first, KEY_A)
    speak(b, first, KEY_B)
    exchange(a, b, "paired")
    assert speak(a, second, "00000000000000cc").startswith("ACK;addr=")
    heard = time.monotonic()
    a.send(b"still there")
    # What is refused prolongs nothing, or it would never be taken.
    a.try_to_register(third, wall_seconds=60)
    assert time.monotonic() - heard >= grace
    b.register(third)
    ping_pong(a, b)


@pytest.mark.parametrize("mode", [(), ("--strict",)], ids=["default", "strict"])
def test_who_forges_both_a_registration_and_an_answer_gains_nothing_by_that(
    hostile: Hostile, start_lab_relay: StartLabRelay, mode: tuple[str, ...]
) -> None:
    """The victim seems to have shown that it receives, and gets all that the accomplice sends.

    That is as much as is sent, and not a byte more: whoever forges sources could send it directly.
    """
    start_lab_relay(*mode)
    tap, victim, session = hostile.tap(), elsewhere(0), hostile.new_session()
    spoofer = hostile.spoofer()
    spoofer.send(victim, RELAY[4], registration(session))
    accomplice = hostile.peer(hostile.accomplice)
    accomplice.register(session)
    # The accomplice makes up a connection ID, so that who speaks for the victim knows it, too.
    identifier = secrets.token_bytes(8)
    first = long_header(b"\1" * 8, identifier)
    accomplice.send(first)
    # The forged answer must not come before what it answers.
    tap.wait_for(to(victim), 2)
    spoofer.send(victim, RELAY[4], long_header(identifier, b"\2" * 8))
    accomplice.expect(long_header(identifier, b"\2" * 8))
    for _ in range(_FLOOD_DATAGRAMS):
        accomplice.send(_PAYLOAD)
        time.sleep(0.0005)
    tap.settle(to(victim))
    sent = len(first) + _FLOOD_DATAGRAMS * len(_PAYLOAD)
    assert tap.payload_bytes(to(victim)) == sent + len(b"ACK\n"), "all that was sent, and nothing else"


def test_who_moves_its_own_peer_to_a_victim_gains_nothing_by_that(
    hostile: Hostile, start_lab_relay: StartLabRelay
) -> None:
    """Two forged datagrams with the right connection ID, after the peer fell silent.

    The victim gets what the other peer sends, and again not a byte more than that.
    """
    relay = start_lab_relay("--strict")
    tap, victim, session = hostile.tap(), elsewhere(0), hostile.new_session()
    a, b = (hostile.peer(site) for site in (hostile.accomplice, hostile.other))
    speak(a, session, KEY_A)
    speak(b, session, KEY_B)
    ids = secrets.token_bytes(8), secrets.token_bytes(8)
    for sender, receiver, header in (
        (a, b, long_header(bytes(8), ids[0])),
        (b, a, long_header(ids[0], ids[1])),
    ):
        sender.send(header)
        receiver.expect(header)
    spoofer = hostile.spoofer()

    def has_moved() -> bool:
        spoofer.send(victim, RELAY[4], short_header(ids[0], b"not from b"))
        return bool(relay.events("rebind"))

    wait_until(has_moved, "the relay to be taken in")
    for _ in range(_FLOOD_DATAGRAMS):
        a.send(_PAYLOAD)
        time.sleep(0.0005)
    tap.settle(to(victim))
    assert tap.payload_bytes(to(victim)) == _FLOOD_DATAGRAMS * len(_PAYLOAD)
    relay.stop()


# Errors that nobody reported


@VERSIONS
def test_forged_errors_change_neither_size_nor_destination(
    hostile: Hostile, start_lab_relay: StartLabRelay, version: int
) -> None:
    """Port unreachable and a path MTU of next to nothing, about datagrams that the relay sends."""
    relay = start_lab_relay()
    a, b, address_a, address_b = _pair(hostile, version)
    spoofer, before = hostile.spoofer(), _errors_taken(hostile, version)
    for victim in (address_a, address_b):
        about = udp_packet(RELAY[version], victim, _PAYLOAD)
        for reporter in (victim.host, elsewhere(0, version).host):
            for kind, code, rest in _ERRORS[version]:
                error = icmp_error(reporter, kind, code, rest, about, RELAY[version].host)
                spoofer.send_packet(error)
    sent = 2 * 2 * len(_ERRORS[version])
    wait_until(
        lambda: _errors_taken(hostile, version) - before >= sent, "the system takes the errors"
    )
    # Nor does what comes after them find the socket in a state of error.
    for _ in range(20):
        for sender, receiver in ((a, b), (b, a)):
            sender.send(_FULL_PAYLOAD)
            receiver.expect(_FULL_PAYLOAD)
    relay.stop()
    (stopped,) = relay.events("stopped")
    dropped = {name: n for name, n in stopped.fields.items() if name.startswith("dropped_")}
    assert not dropped


_ERRORS = {
    4: [
        (ICMP_UNREACHABLE, ICMP_PORT, 0),
        (ICMP_UNREACHABLE, ICMP_FRAGMENTATION_NEEDED, 68),
        (ICMP_UNREACHABLE, ICMP_FRAGMENTATION_NEEDED, 0),
    ],
    6: [(ICMPV6_UNREACHABLE, ICMPV6_PORT, 0), (ICMPV6_TOO_BIG, 0, 68), (ICMPV6_TOO_BIG, 0, 1_280)],
}


def _errors_taken(hostile: Hostile, version: int) -> int:
    """How many such errors the relay's system has believed so far (snmp(7))."""
    with hostile.relay_host.inside():
        if version == 4:
            lines = Path("/proc/thread-self/net/snmp").read_text().splitlines()
            names, values = (line.split() for line in lines if line.startswith("Icmp:"))
            return int(values[names.index("InDestUnreachs")])
        text = Path("/proc/thread-self/net/snmp6").read_text()
    counts = dict(line.split() for line in text.splitlines())
    return int(counts["Icmp6InDestUnreachs"]) + int(counts["Icmp6InPktTooBigs"])
