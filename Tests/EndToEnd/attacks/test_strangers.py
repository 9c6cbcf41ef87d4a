"""Who knows a session's id, sits behind the same NAT, or claims somebody else's connection ID."""

from __future__ import annotations

import pytest

from attacks.headers import long_header, short_header
from peers import Peer, exchange, ping_pong, registration
from relay_process import Relay
from test_version_two import speak

HOST_A, HOST_B, HOST_C = "127.0.0.2", "127.0.0.3", "127.0.0.4"
KEY_A, KEY_B = "000000000000000a", "000000000000000b"

_ID_A, _ID_B = b"peer-A's", b"peer-B's"
# More than can be told apart, and more than one of them on the victim's own IP address.
CLAIMANTS = [HOST_A, HOST_A, *(f"127.0.1.{number}" for number in range(1, 9))]


def test_a_neighbour_that_knows_the_id_gets_a_peers_place_until_that_registers(
    relay_ipv4: Relay,
) -> None:
    """Rule 3a, and no mistake: it looks like a NAT that has mapped the peer anew."""
    session = relay_ipv4.new_session()
    a, b = relay_ipv4.pair(HOST_A, HOST_B, session=session)
    neighbour = relay_ipv4.peer(HOST_A)
    neighbour.register(session)
    b.send(b"to whom?")
    neighbour.expect(b"to whom?")
    a.register(session)
    exchange(a, b, "back")
    neighbour.expect_silence()


def test_a_peer_with_a_key_keeps_its_place_from_its_neighbours(relay_ipv4: Relay) -> None:
    session = relay_ipv4.new_session()
    a, b = relay_ipv4.peer(HOST_A), relay_ipv4.peer(HOST_B)
    speak(a, session, KEY_A)
    speak(b, session, KEY_B)
    exchange(a, b, "paired")
    for host in (HOST_A, HOST_B, HOST_C):
        thief = relay_ipv4.peer(host)
        thief.send(registration(session))
        thief.expect_silence()
        exchange(a, b, f"not for {host}")
        assert speak(thief, session, "00000000000000cc") == "ERR:full\n"
    relay_ipv4.stop()
    summary = relay_ipv4.summary()
    assert summary["rebinds"] == "0"
    assert not relay_ipv4.events("peer_replaced")


def _greet(a: Peer, b: Peer, id_a: bytes, id_b: bytes) -> None:
    """Two peers tell each other how they are addressed."""
    first = long_header(b"\0" * 8, id_a)
    a.send(first)
    b.expect(first)
    answer = long_header(id_a, id_b)
    b.send(answer)
    a.expect(answer)


@pytest.mark.parametrize("claimants", [1, len(CLAIMANTS)], ids=["one", "many"])
def test_connection_ids_that_others_claim_cost_only_what_they_prove(
    relay_ipv4: Relay, claimants: int
) -> None:
    """An attacker with sessions of its own gives out the IDs of a live connection as its own.

    Nothing is sent to it and nothing of it is taken for the peer's. If many claim an ID it says
    nothing any more: a peer that moves then has to register, as all do where there is no ID.
    """
    session = relay_ipv4.new_session()
    a, b = relay_ipv4.pair(HOST_A, HOST_B, session=session)
    _greet(a, b, _ID_A, _ID_B)
    others: list[Peer] = []
    for host in CLAIMANTS[-claimants:]:
        pair = relay_ipv4.peer(host), relay_ipv4.peer("127.0.2.1")
        theirs = relay_ipv4.new_session()
        for peer in pair:
            peer.register(theirs)
        ping_pong(*pair)
        _greet(*pair, _ID_A, _ID_B)
        others += pair
    for number in range(20):
        for sender, receiver, identifier in ((a, b, _ID_B), (b, a, _ID_A)):
            datagram = short_header(identifier, b"%d" % number)
            sender.send(datagram)
            receiver.expect(datagram)
    moved = relay_ipv4.peer(HOST_A)
    moved.register(session)
    exchange(moved, b, "moved")
    for other in others:
        other.expect_silence(0.01)
