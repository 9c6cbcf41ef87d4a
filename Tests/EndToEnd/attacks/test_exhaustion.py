"""Floods: what they cost the relay, and who is served in the midst of one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from attacks.hostile import RELAY, Hostile, StartLabRelay, elsewhere
from conftest import Note
from peers import ACK, Peer, exchange, ping_pong, registration
from relay_process import StartRelay
from sanitized import assert_memory_grew_less
from test_version_two import keyed
from waiting import wait_until

# Documentation/configuration.md: the defaults.
HALF_OPEN_LIMIT_PER_SOURCE = 1_024
_KEY = "00000000000000aa"

# What 20,000 registrations may make a relay for 1,000 sessions grow by, several times over.
MEMORY_WALL_BYTES = 16 << 20
_SESSION_LIMIT = 1_000
_FLOOD = 20_000
_ROUND_TRIPS = 200


def _memory(process: int) -> int:
    """A process's memory, in bytes."""
    status = Path(f"/proc/{process}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) << 10


@contextmanager
def _in_background(flood: Callable[[], None]) -> Iterator[threading.Thread]:
    """Runs a flood of known length meanwhile; what fails in it fails the test."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            flood()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield thread
    thread.join()
    assert not failures, failures


def _pair(hostile: Hostile) -> tuple[Peer, Peer]:
    session = hostile.new_session()
    a, b = (hostile.peer(site) for site in (hostile.accomplice, hostile.other))
    a.register(session)
    b.register(session)
    ping_pong(a, b)
    return a, b


def test_one_source_gets_its_share_of_waiting_sessions(
    hostile: Hostile, start_lab_relay: StartLabRelay
) -> None:
    """Ids at random from many ports of one address, as fast as they are taken."""
    relay = start_lab_relay("--registration-rate-per-ip", "1000000")
    victim = elsewhere(0)
    spoofer = hostile.spoofer()
    a, b = _pair(hostile)
    for port in range(1_024, 1_024 + 2 * HALF_OPEN_LIMIT_PER_SOURCE):
        source = type(victim)(victim.host, port)
        spoofer.send(source, RELAY[4], registration(hostile.new_session()))
    # What was said after all of them has been heard, so they have been, too.
    exchange(a, b, "after the flood")
    relay.stop()
    opened = len(relay.events("session_opened"))
    assert opened == 1 + HALF_OPEN_LIMIT_PER_SOURCE
    (stopped,) = relay.events("stopped")
    assert int(stopped.fields["dropped_half_open_limit"]) == HALF_OPEN_LIMIT_PER_SOURCE


def test_guessing_ids_is_slow(hostile: Hostile, start_lab_relay: StartLabRelay) -> None:
    """One source gets 4,000 tries at once and 1,000 a second: there are 2^122 ids to find."""
    relay = start_lab_relay()
    tap, spoofer, victim = hostile.tap(), hostile.spoofer(), elsewhere(0)
    for _ in range(_FLOOD):
        spoofer.send(victim, RELAY[4], registration(hostile.new_session()))
    tap.settle()
    relay.stop()
    (stopped,) = relay.events("stopped")
    # A relay that cannot look at all of them has those from strangers limited, too.
    reasons = ("registration_rate", "stranger_limit")
    refused = sum(int(stopped.fields.get(f"dropped_{reason}", 0)) for reason in reasons)
    assert _FLOOD - refused <= 4_000 + 1_000 * tap.age_seconds
    assert tap.count() <= 1_000 + 1_000 * tap.age_seconds, "acknowledgements"


@pytest.mark.parametrize("version", [4, 6], ids=["ipv4", "ipv6"])
def test_sources_without_number_take_no_ones_place(
    hostile: Hostile, start_lab_relay: StartLabRelay, version: int, note: Note
) -> None:
    """A table that overflows twenty times: a pair stays, others meet, and memory is as it was."""
    relay = start_lab_relay("--session-limit", str(_SESSION_LIMIT), "--log-level", "notice")
    a, b = _pair(hostile)
    before = _memory(relay.process_id)
    spoofer = hostile.spoofer()

    def flood() -> None:
        for number in range(_FLOOD):
            line = registration(hostile.new_session())
            spoofer.send(elsewhere(number, version), RELAY[version], line)

    met = 0
    with _in_background(flood) as flooding:
        for number in range(_ROUND_TRIPS):
            exchange(a, b, f"in the flood {number}")
        while flooding.is_alive():
            met += _met(hostile)
    met += _met(hostile)
    assert met > 0
    note(f"{met} pairs met during {_FLOOD} forged registrations over IPv{version}")
    assert_memory_grew_less(_memory(relay.process_id) - before, MEMORY_WALL_BYTES)
    exchange(a, b, "after the flood")
    relay.stop()


def _met(hostile: Hostile) -> bool:
    """Whether two that register one right after the other meet, each with one try."""
    session = hostile.new_session()
    pair = [hostile.peer(site) for site in (hostile.accomplice, hostile.other)]
    try:
        for peer in pair:
            peer.send(registration(session))
            if peer.receive(1.0) != ACK:
                return False
        pair[0].send(b"met")
        return pair[1].receive(1.0) == b"met"
    except TimeoutError:
        return False
    finally:
        for peer in pair:
            peer.close()


def test_version_2_keeps_nothing_of_who_has_not_proved_its_address(
    hostile: Hostile, start_lab_relay: StartLabRelay
) -> None:
    relay = start_lab_relay("--session-limit", str(_SESSION_LIMIT))
    a, b = _pair(hostile)
    before = _memory(relay.process_id)
    tap, spoofer = hostile.tap(), hostile.spoofer()
    for number in range(_FLOOD):
        spoofer.send(elsewhere(number), RELAY[4], keyed("REG", hostile.new_session(), _KEY))
    tap.wait_for(lambda seen: seen.payload.startswith(b"CHL:"), 1)
    exchange(a, b, "after the flood")
    assert_memory_grew_less(_memory(relay.process_id) - before, MEMORY_WALL_BYTES)
    relay.stop()
    assert len(relay.events("session_opened")) == 1


def test_a_third_party_keeps_no_place_by_its_own_refusals(
    hostile: Hostile, start_lab_relay: StartLabRelay
) -> None:
    """Who is refused leaves nothing: neither a session lives longer for it, nor a place is kept."""
    relay = start_lab_relay("--session-timeout-secs", "2", "--peer-grace-secs", "60")
    session = hostile.new_session()
    a, b = (hostile.peer(site) for site in (hostile.accomplice, hostile.other))
    a.register(session)
    b.register(session)
    third = hostile.peer(hostile.attacker)

    def ended() -> bool:
        third.send(registration(session))
        return bool(relay.events("session_ended"))

    wait_until(ended, "the session to end while somebody else tries to get in")
    relay.stop()


def test_pairs_hold_the_table_for_as_long_as_both_sides_pay_for_it(
    start_relay: StartRelay,
) -> None:
    """A paired session makes room for nobody: a trickle from both of its peers keeps its place."""
    relay = start_relay("--session-limit", "20", "--session-timeout-secs", "2")
    pairs = [relay.pair("127.0.0.2", "127.0.0.3") for _ in range(20)]
    newcomer, session = relay.peer("127.0.0.9"), relay.new_session()

    def trickle(sides: int) -> None:
        for pair in pairs:
            for peer in pair[:sides]:
                peer.send(b"trickle")

    until = time.monotonic() + 3 * 2
    while time.monotonic() < until:
        trickle(sides=2)
        newcomer.send(registration(session))
        newcomer.expect_silence(0.1)

    def gets_in() -> bool:
        trickle(sides=1)
        newcomer.send(registration(session))
        return ACK in newcomer.receive_all(0.1)

    wait_until(gets_in, "room, as one side of each pair is silent")
    relay.stop()
    assert int(relay.summary()["dropped_session_limit"]) > 0
