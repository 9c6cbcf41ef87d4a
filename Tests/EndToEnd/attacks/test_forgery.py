"""Cookies and tokens that are guessed, copied, old or another's are worth nothing."""

from __future__ import annotations

import hashlib
import hmac
import os
import random
import secrets
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from peers import Peer, exchange, registration
from relay_process import GuardedRelay, Relay
from test_version_two import cookie_for, keyed, speak

HOST_A, HOST_B, HOST_C = "127.0.0.2", "127.0.0.3", "127.0.0.4"
KEY_A, KEY_B, KEY_C = "000000000000000a", "000000000000000b", "000000000000000c"

GUESSES = 2_000
# Documentation/protocol.md: a cookie is good for two to four minutes.
COOKIE_SECONDS = 240

needs_time = pytest.mark.skipif(
    os.environ.get("QUIC_RELAY_LONG") != "1",
    reason="a cookie grows old in four minutes: QUIC_RELAY_LONG=1 waits for that",
)


def _expect_challenge(peer: Peer, line: bytes) -> None:
    """Nothing else may come, whatever the line asked for."""
    peer.send(line)
    answer = peer.receive()
    assert answer.startswith(b"CHL:") and len(answer) == 37, answer


def _keyed_pair(relay: Relay, session: uuid.UUID) -> tuple[Peer, Peer]:
    a, b = relay.peer(HOST_A), relay.peer(HOST_B)
    assert speak(a, session, KEY_A).startswith("ACK;addr=")
    assert speak(b, session, KEY_B).startswith("ACK;addr=")
    exchange(a, b, "paired")
    return a, b


def test_a_cookie_is_not_guessed(relay_ipv4: Relay) -> None:
    """Each guess gets a challenge or, beyond the limit of answers, nothing."""
    session = relay_ipv4.new_session()
    peer = relay_ipv4.peer(HOST_A)
    for _ in range(GUESSES):
        peer.send(keyed("REG", session, KEY_A, secrets.token_hex(16)))
    answers = peer.receive_all()
    assert answers and all(answer.startswith(b"CHL:") for answer in answers)
    assert len(set(answers)) == 1, "a guess changes the cookie"
    relay_ipv4.stop()
    assert not relay_ipv4.events("session_opened", session)


def test_a_cookie_is_good_at_its_own_address_only(relay_ipv4: Relay) -> None:
    session = relay_ipv4.new_session()
    owner, neighbour, stranger = (relay_ipv4.peer(host) for host in (HOST_A, HOST_A, HOST_B))
    cookie = cookie_for(owner, session, KEY_A)
    for thief in (neighbour, stranger):
        _expect_challenge(thief, keyed("REG", session, KEY_A, cookie))
    owner.send(keyed("REG", session, KEY_A, cookie))
    assert owner.receive().startswith(b"ACK;addr=")


@pytest.mark.parametrize("verb", ["REG", "BYE"])
def test_who_copies_a_peers_line_gets_a_challenge(relay_ipv4: Relay, verb: str) -> None:
    """From elsewhere: its cookie is good at the peer's own address only."""
    session = relay_ipv4.new_session()
    a, b = _keyed_pair(relay_ipv4, session)
    copied = keyed(verb, session, KEY_A, cookie_for(a, session, KEY_A))
    for host in (HOST_A, HOST_C):
        _expect_challenge(relay_ipv4.peer(host), copied)
    exchange(a, b, "undisturbed")
    relay_ipv4.stop()
    assert relay_ipv4.summary()["rebinds"] == "0"


def test_leaving_takes_the_peers_own_key(relay_ipv4: Relay) -> None:
    """Somebody with a cookie of its own, the session's id and a wrong key ends nothing."""
    session = relay_ipv4.new_session()
    a, b = _keyed_pair(relay_ipv4, session)
    stranger = relay_ipv4.peer(HOST_C)
    # Answered as ever, so that nobody learns which sessions exist.
    assert speak(stranger, session, KEY_C, "BYE") == "ACK\n"
    assert speak(stranger, relay_ipv4.new_session(), KEY_C, "BYE") == "ACK\n"
    exchange(a, b, "undisturbed")


def test_a_cookie_of_a_relay_before_is_worth_nothing(relay_ipv4: Relay) -> None:
    """Without --state-dir the secret went with it."""
    session = relay_ipv4.new_session()
    with Peer(relay_ipv4.address, HOST_A) as peer:
        line = keyed("REG", session, KEY_A, cookie_for(peer, session, KEY_A))
        relay_ipv4.kill()
        relay_ipv4.start_again()
        _expect_challenge(peer, line)


@needs_time
def test_an_old_cookie_is_worth_nothing(relay_ipv4: Relay) -> None:
    session = relay_ipv4.new_session()
    peer = relay_ipv4.peer(HOST_A)
    line = keyed("REG", session, KEY_A, cookie_for(peer, session, KEY_A))
    time.sleep(COOKIE_SECONDS + 1)
    _expect_challenge(peer, line)


def test_reasons_are_told_behind_a_cookie_only(relay_ipv4: Relay) -> None:
    """To a full session: a third one learns that it is full, unless it may be somebody else."""
    session = relay_ipv4.new_session()
    a, b = _keyed_pair(relay_ipv4, session)
    third = relay_ipv4.peer(HOST_C)
    third.send(registration(session))
    third.expect_silence()
    _expect_challenge(third, keyed("REG", session, KEY_C, secrets.token_hex(16)))
    exchange(a, b, "both live")
    assert speak(third, session, KEY_C) == "ERR:full\n"


# Tokens


def _mac(secret: bytes, session: uuid.UUID, expiry: int) -> str:
    """Documentation/protocol.md, "Tokens"."""
    message = f"quic-relay v2|{session}|{expiry}".encode()
    return hmac.new(secret, message, hashlib.sha256).hexdigest()


Mint = Callable[[bytes, uuid.UUID, uuid.UUID], tuple[int, str]]


def _later() -> int:
    return int(time.time()) + 3_600


def _guessed(secret: bytes, session: uuid.UUID, other: uuid.UUID) -> tuple[int, str]:
    return _later(), secrets.token_hex(32)


def _of_another_secret(secret: bytes, session: uuid.UUID, other: uuid.UUID) -> tuple[int, str]:
    return (expiry := _later()), _mac(secret[::-1] + b"x", session, expiry)


def _of_another_session(secret: bytes, session: uuid.UUID, other: uuid.UUID) -> tuple[int, str]:
    return (expiry := _later()), _mac(secret, other, expiry)


def _expired(secret: bytes, session: uuid.UUID, other: uuid.UUID) -> tuple[int, str]:
    return (expiry := int(time.time()) - 1), _mac(secret, session, expiry)


def _prolonged(secret: bytes, session: uuid.UUID, other: uuid.UUID) -> tuple[int, str]:
    expiry = int(time.time()) - 1
    return expiry + 3_600, _mac(secret, session, expiry)


def _one_bit_off(secret: bytes, session: uuid.UUID, other: uuid.UUID) -> tuple[int, str]:
    mac = bytearray.fromhex(_mac(secret, session, expiry := _later()))
    mac[-1] ^= 1
    return expiry, mac.hex()


def _registration(session: uuid.UUID, cookie: str | None, token: tuple[int, str] | None) -> bytes:
    shown = f";exp={token[0]};mac={token[1]}" if token else ""
    shown += f";cookie={cookie}" if cookie else ""
    return f"REG:{session};peer={KEY_A}{shown}\n".encode("ascii")


@pytest.mark.parametrize(
    "mint",
    [_guessed, _of_another_secret, _of_another_session, _expired, _prolonged, _one_bit_off],
    ids=lambda mint: mint.__name__.strip("_"),
)
def test_a_token_that_is_not_good_opens_nothing(
    guarded: GuardedRelay, secret_file: Path, mint: Mint
) -> None:
    session = guarded.new_session()
    secret = secret_file.read_text().strip().encode()
    token = mint(secret, session, guarded.new_session())
    peer = guarded.peer(HOST_A)
    # Before the address is proved nobody learns whether a token is good.
    _expect_challenge(peer, _registration(session, None, token))
    cookie = cookie_for(peer, session, KEY_A)
    peer.send(_registration(session, cookie, token))
    assert peer.receive() == b"ERR:auth\n"
    peer.send(_registration(session, cookie, None))
    assert peer.receive() == b"ERR:auth\n"
    good = _later()
    peer.send(_registration(session, cookie, (good, _mac(secret, session, good))))
    assert peer.receive().startswith(b"ACK;addr=")
    guarded.stop()
    assert len(guarded.events("session_opened")) == 1


def test_a_flood_without_cookies_leaves_nothing_behind(
    guarded: GuardedRelay, rng: random.Random
) -> None:
    """Lines of both versions from many ports: not one session, and answers up to the limit."""
    peers = [guarded.peer(HOST_A) for _ in range(20)]
    for number in range(GUESSES):
        session = guarded.new_session()
        sender = peers[number % len(peers)]
        sender.send(registration(session))
        sender.send(keyed("REG", session, f"{rng.getrandbits(64) | 1:016x}"))
    for peer in peers:
        assert all(answer.startswith(b"CHL:") for answer in peer.receive_all(0.1))
    summary = guarded.summary()
    assert not guarded.events("session_opened")
    # A relay that cannot look at all of them does not take them all out of its buffer.
    reasons = ("unauthorized", "stranger_limit", "receive_buffer_full")
    dropped = [int(summary.get(f"dropped_{reason}", 0)) for reason in reasons]
    assert dropped[0] > 0 and sum(dropped) >= GUESSES
