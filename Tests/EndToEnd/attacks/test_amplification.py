"""What a forger of control traffic can have sent: never more than it sends itself."""

from __future__ import annotations

import random
import secrets
import uuid

import pytest

from attacks.hostile import RELAY, Hostile, StartLabRelay, elsewhere
from peers import registration
from test_version_two import keyed

# Documentation/protocol.md, "STUN": the only answers that are longer than what they answer.
STUN_GAIN = 2.2
STUN_REQUEST = bytes.fromhex("000100002112a442")

VERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
MODES = pytest.mark.parametrize(
    "mode",
    [(), ("--strict",), ("--stun",), ("--workers", "2")],
    ids=["default", "strict", "stun", "two workers"],
)

_SENDERS = 50
_KEY = "00000000000000aa"


def _forms(session: uuid.UUID, rng: random.Random) -> dict[str, bytes]:
    """Whatever is meant for the relay itself, and what only looks like it."""
    cookie, token = secrets.token_hex(16), f"exp=4102444800;mac={secrets.token_hex(32)}"
    return {
        "version 1": registration(session),
        "version 1 without an end": registration(session, b""),
        "version 2": keyed("REG", session, _KEY),
        "version 2 with a cookie": keyed("REG", session, _KEY, cookie),
        "version 2 with a token": f"REG:{session};peer={_KEY};{token}\n".encode(),
        "leaving": keyed("BYE", session, _KEY, cookie),
        "leaving without a cookie": keyed("BYE", session, _KEY),
        "no key": f"REG:{session};cookie={cookie}\n".encode(),
        "a key twice": f"REG:{session};peer={_KEY};peer={_KEY}\n".encode(),
        "attributes of no sense": f"REG:{session};{'x=y;' * 90}peer={_KEY}\n".encode(),
        "an answer": b"ACK\n",
        "a challenge": f"CHL:{cookie}\n".encode(),
        "nothing": b"",
        "noise": rng.randbytes(rng.randint(1, 1_400)),
    }


@MODES
@VERSIONS
def test_no_control_datagram_is_answered_with_more_than_it_has(
    hostile: Hostile,
    start_lab_relay: StartLabRelay,
    mode: tuple[str, ...],
    version: int,
    rng: random.Random,
) -> None:
    """Bytes out to forged addresses for each byte in: at most 1, for each form by itself."""
    start_lab_relay(*mode)
    tap, spoofer = hostile.tap(), hostile.spoofer()
    # Each form from addresses of its own, so that an earlier one changes nothing for it.
    first = 0
    for name, datagram in _forms(hostile.new_session(), rng).items():
        before, sent = tap.payload_bytes(), spoofer.sent_bytes
        victims = [elsewhere(number, version) for number in range(first, first + _SENDERS)]
        first += _SENDERS
        spoofer.send_all(victims, RELAY[version], datagram)
        tap.settle(quiet_seconds=0.1)
        out, given = tap.payload_bytes() - before, spoofer.sent_bytes - sent
        assert out <= given, f"{name}: {out} bytes for {given}"
    assert tap.payload_bytes() > 0, "nothing was answered: was it no attack?"


def test_an_answer_that_is_longer_than_its_question_is_limited_for_each_source(
    hostile: Hostile, start_lab_relay: StartLabRelay
) -> None:
    start_lab_relay("--stun", "--ack-rate-per-ip", "50")
    _expect_stun_limited(hostile, [0] * 3_000, limit=50)


def test_and_for_all_sources_together(hostile: Hostile, start_lab_relay: StartLabRelay) -> None:
    start_lab_relay("--stun", "--stun-rate", "100")
    _expect_stun_limited(hostile, list(range(3_000)), limit=100)


@VERSIONS
def test_without_the_option_a_question_is_not_answered(
    hostile: Hostile, start_lab_relay: StartLabRelay, version: int
) -> None:
    start_lab_relay()
    tap, spoofer = hostile.tap(), hostile.spoofer()
    spoofer.send(elsewhere(0, version), RELAY[version], *(_question() for _ in range(100)))
    tap.settle()
    assert tap.count() == 0


def _expect_stun_limited(hostile: Hostile, sources: list[int], limit: int) -> None:
    tap, spoofer = hostile.tap(), hostile.spoofer()
    for number in sources:
        spoofer.send(elsewhere(number), RELAY[4], _question())
    tap.settle()
    assert limit <= tap.count() <= limit + limit * tap.age_seconds
    # Less than 2.2 even if all of them had been answered, and far less as they were not.
    longest = max(len(each.payload) for each in tap.seen(lambda seen: True))
    assert longest <= STUN_GAIN * len(_question())
    assert tap.payload_bytes() <= spoofer.sent_bytes


def _question() -> bytes:
    return STUN_REQUEST + secrets.token_bytes(12)
