"""A relay is no reflector: who never asked for traffic gets little, and nothing is amplified."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from attacks.hostile import RELAY, Hostile, StartLabRelay, elsewhere, to
from peers import Address, Peer, registration

# Documentation/protocol.md, "Address validation".
ALLOWANCE_BYTES = 16 << 10
ALLOWANCE_BYTES_PER_SECOND = 64 << 10
SOURCE_ALLOWANCE_BYTES = 4 << 20
SOURCE_ALLOWANCE_BYTES_PER_SECOND = 1 << 20

FLOOD_SECONDS = 1.5
_PAYLOAD = bytes(1_200)
_ROUND = 32
_PAUSE_SECONDS = 0.002

MODES = pytest.mark.parametrize("mode", [(), ("--strict",)], ids=["default", "strict"])
WORKERS = pytest.mark.parametrize("workers", [1, 2], ids=["one worker", "two workers"])
VERSIONS = pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])


def flood(senders: Sequence[Peer], seconds: float = FLOOD_SECONDS) -> int:
    """Sends as much as the machine can for a while, from all of them in turns; the bytes."""
    sent = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for sender in senders:
            for _ in range(max(1, _ROUND // len(senders))):
                sender.send(_PAYLOAD)
                sent += len(_PAYLOAD)
        time.sleep(_PAUSE_SECONDS)
    return sent


@MODES
@WORKERS
@VERSIONS
def test_one_forged_registration_buys_the_allowance(
    hostile: Hostile,
    start_lab_relay: StartLabRelay,
    mode: tuple[str, ...],
    workers: int,
    version: int,
) -> None:
    """Its victim gets what PROTOCOL says, whatever the other peer of the session sends."""
    relay = start_lab_relay(*mode, "--workers", str(workers))
    tap, victim, session = hostile.tap(), elsewhere(0, version), hostile.new_session()
    hostile.spoofer().send(victim, RELAY[version], registration(session))
    accomplice = hostile.peer(hostile.accomplice, version)
    accomplice.register(session)
    sent = flood([accomplice])
    tap.settle(to(victim))
    got = tap.payload_bytes(to(victim))
    assert ALLOWANCE_BYTES - len(_PAYLOAD) < got, f"{got} bytes: was it no attack?"
    # And the acknowledgement.
    assert got <= ALLOWANCE_BYTES + ALLOWANCE_BYTES_PER_SECOND * tap.age_seconds + 4
    assert sent > 10 * got, "too little was sent for a flood"
    relay.stop()


@WORKERS
@VERSIONS
def test_many_forged_registrations_buy_a_source_no_more_than_its_own_limit(
    hostile: Hostile, start_lab_relay: StartLabRelay, workers: int, version: int
) -> None:
    """Every port of a victim, and every address of its IPv6 /64, in a session of its own."""
    relay = start_lab_relay("--workers", str(workers))
    tap, spoofer = hostile.tap(), hostile.spoofer()
    victims = [_neighbour(number, version) for number in range(_SESSIONS)]
    accomplices = []
    for number, victim in enumerate(victims):
        session = hostile.new_session()
        accomplices.append(hostile.peer(hostile.accomplice, version, 20_000 + number))
        accomplices[-1].register(session)
        spoofer.send(victim, RELAY[version], registration(session))
    flood(accomplices)
    tap.settle()
    got = tap.payload_bytes()
    answers = 4 * len(victims)
    assert got > SOURCE_ALLOWANCE_BYTES, (
        f"{got} bytes: the ports' own limits held, not the source's"
    )
    assert (
        got
        <= SOURCE_ALLOWANCE_BYTES + SOURCE_ALLOWANCE_BYTES_PER_SECOND * tap.age_seconds + answers
    )
    relay.stop()


# As many allowances as a source's own has room for, and half as many again.
_SESSIONS = 3 * SOURCE_ALLOWANCE_BYTES // ALLOWANCE_BYTES // 2


def _neighbour(number: int, version: int) -> Address:
    victim = elsewhere(0, version)
    if version == 4:
        return Address(victim.host, 5_000 + number)
    return Address(f"{victim.host.removesuffix('1')}{number + 1:x}", victim.port)
