"""Clocks that jump: the time of day is set, or the machine's clock makes a leap."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from faults import Faults
from peers import Peer, exchange, ping_pong
from prometheus import scrape
from relay_process import GuardedRelay, Relay, StartRelay
from test_agent_tokens import mint
from test_version_two import cookie_for, keyed, speak
from waiting import wait_until

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND
YEAR = 8_766 * HOUR
KEYS = ("000000000000000a", "000000000000000b")

JUMPS = pytest.mark.parametrize(
    "jump", [HOUR, -HOUR, 10 * YEAR, -10 * YEAR], ids=["+1h", "-1h", "+10y", "-10y"]
)


def _keyed_pair(relay: Relay) -> tuple[Peer, Peer]:
    session = relay.new_session()
    a, b = relay.peer(), relay.peer()
    for peer, key in zip((a, b), KEYS, strict=True):
        # A cookie that a leap of the clock came after is answered with another one.
        answers = iter(lambda: speak(peer, session, key), "")  # noqa: B023
        assert any(answer.startswith("ACK;addr=") for answer in itertools.islice(answers, 3))
    ping_pong(a, b)
    return a, b


@JUMPS
def test_sessions_and_cookies_do_not_live_by_the_time_of_day(
    start_relay: StartRelay, faults: Faults, jump: int
) -> None:
    relay = start_relay("--metrics", "0", variables=faults.environment)
    a, b = _keyed_pair(relay)
    other, session = relay.peer(), relay.new_session()
    cookie = cookie_for(other, session, KEYS[0])
    faults.set("realtime", jump)
    exchange(a, b, "after the jump")
    other.send(keyed("REG", session, KEYS[0], cookie))
    assert other.receive().startswith(b"ACK;addr="), "the cookie is still good"
    # The relay sees its own seconds pass, whatever the time of day.
    before = scrape(relay)["quic_relay_events_total"]
    relay.pair()
    wait_until(lambda: scrape(relay)["quic_relay_events_total"] > before, "totals go on")
    faults.set("realtime", 0)
    exchange(a, b, "after the way back")
    assert not relay.events("session_ended")


def _written(file: Path) -> int:
    return file.stat().st_mtime_ns if file.exists() else 0


@JUMPS
def test_a_state_file_is_as_old_as_the_machine_says(
    start_relay: StartRelay, faults: Faults, tmp_path: Path, jump: int
) -> None:
    state = tmp_path / "state" / "sessions.state"
    relay = start_relay("--state-dir", str(state.parent), variables=faults.environment)
    with Peer(relay.address, "127.0.0.2") as a, Peer(relay.address, "127.0.0.3") as b:
        session = relay.new_session()
        a.register(session)
        b.register(session)
        ping_pong(a, b)
        # One may be under way that was begun before.
        for _ in range(2):
            written = _written(state)
            exchange(a, b, "to be written down")
            wait_until(lambda: _written(state) != written, "it is written down")  # noqa: B023
        relay.kill()
        faults.set("realtime", jump)
        relay.start_again()
        exchange(a, b, "from the file")
    wait_until(lambda: relay.events("sessions_restored"), "it is told")
    (restored,) = relay.events("sessions_restored")
    assert int(restored.fields["age_ms"]) < 60_000


def test_sessions_end_together_when_the_machines_clock_leaps(
    start_relay: StartRelay, faults: Faults
) -> None:
    """As a virtual machine's may when it was stopped; nothing traps, and service begins anew."""
    relay = start_relay("--metrics", "0", variables=faults.environment)
    a, b = _keyed_pair(relay)
    for years in (0, 1, 11):
        faults.set("monotonic", years * YEAR + HOUR)
        wait_until(
            lambda: scrape(relay)['quic_relay_sessions{state="paired"}'] == 0, "all have ended"
        )
        a, b = _keyed_pair(relay)
        exchange(a, b, "anew")
    counters = scrape(relay)
    assert counters["quic_relay_report_age_seconds"] < 60


@JUMPS
def test_a_token_is_good_until_its_time_of_day(
    rng: random.Random, faults: Faults, secret_file: Path, tmp_path: Path, jump: int
) -> None:
    arguments = ["--auth-secret-file", str(secret_file)]
    relay = GuardedRelay("127.0.0.1", arguments, tmp_path / "relay.log", rng, faults.environment)
    try:
        ids = [relay.new_session() for _ in range(3)]
        tokens = [mint(secret_file, session, ttl="30m") for session in ids]

        def answer(number: int) -> bytes:
            peer, session = relay.peer(), ids[number]
            cookie = cookie_for(peer, session, KEYS[0])
            line = keyed("REG", session, KEYS[0], cookie)[:-1]
            peer.send(line + f";{tokens[number]}\n".encode())
            return peer.receive()

        assert answer(0).startswith(b"ACK;addr=")
        faults.set("realtime", jump)
        assert answer(1).startswith(b"ERR:auth\n" if jump > 0 else b"ACK;addr=")
        # Who is registered stays so when the token expires.
        assert answer(0).startswith(b"ACK;addr=")
        faults.set("realtime", 0)
        assert answer(2).startswith(b"ACK;addr=")
    finally:
        relay.stop()


@pytest.mark.parametrize("jump", [40 * 24 * HOUR, 10 * YEAR], ids=["+40d", "+10y"])
def test_a_month_ends_by_the_time_of_day(
    start_relay: StartRelay, faults: Faults, tmp_path: Path, jump: int
) -> None:
    used = "quic_relay_budget_used_bytes"
    options = ("--metrics", "0", "--monthly-budget-bytes", "1G")
    relay = start_relay(*options, variables=faults.environment)
    a, b = relay.pair()
    for _ in range(50):
        a.send(bytes(1_000))
        b.expect(bytes(1_000))
    wait_until(lambda: scrape(relay)[used] > 50_000, "it is counted")
    before = scrape(relay)[used]
    # Backwards nothing is forgotten.
    faults.set("realtime", -jump)
    exchange(a, b, "in another month")
    wait_until(lambda: scrape(relay)[used] > before, "it is counted")
    # Forwards it is a new month.
    faults.set("realtime", jump)
    exchange(a, b, "in another month")
    wait_until(lambda: scrape(relay)[used] < before, "it begins anew")
    faults.set("realtime", 0)
    exchange(a, b, "and back")
    assert not relay.events("session_ended")
