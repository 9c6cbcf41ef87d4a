"""A month's volume: told, and what happens beyond it."""

from __future__ import annotations

import datetime
import random
from pathlib import Path

import pytest

from peers import Peer, exchange, registration
from prometheus import scrape
from relay_process import Relay, StartRelay
from waiting import wait_until

BUDGET_BYTES = 1_000_000
# With their headers, IPv4 and UDP.
DATAGRAM_BYTES = 1_200
HEADER_BYTES = 28


def _relay(start_relay: StartRelay, *options: str) -> Relay:
    return start_relay("--metrics", "0", "--monthly-budget-bytes", "1M", *options)


def _spend(relay: Relay, sender: Peer, receiver: Peer, rng: random.Random, count: int) -> None:
    for _ in range(count):
        payload = rng.randbytes(DATAGRAM_BYTES - HEADER_BYTES)
        sender.send(payload)
        receiver.expect(payload)


def _used(relay: Relay) -> float:
    return scrape(relay)["quic_relay_budget_used_bytes"]


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("1M", 10**6), ("2Mi", 2 << 20), ("500G", 500 * 10**9), ("1Ti", 1 << 40), ("1234567", 1234567)],
)
def test_units(start_relay: StartRelay, text: str, bytes_: int) -> None:
    relay = start_relay("--metrics", "0", "--monthly-budget-bytes", text)
    wait_until(
        lambda: scrape(relay)["quic_relay_budget_limit_bytes"] == bytes_, f"{text} is {bytes_}"
    )


def test_what_is_sent_is_counted_as_it_is_billed(
    start_relay: StartRelay, rng: random.Random
) -> None:
    relay = _relay(start_relay)
    a, b = relay.pair()
    _spend(relay, a, b, rng, 100)
    # Three datagrams of 11 bytes paired them.
    forwarded = 103
    wait_until(
        lambda: scrape(relay)["quic_relay_datagrams_forwarded_total"] == forwarded, "all is counted"
    )
    now = scrape(relay)
    replied = now["quic_relay_datagrams_replied_total"]
    expected = 100 * DATAGRAM_BYTES + 3 * (11 + HEADER_BYTES) + replied * (4 + HEADER_BYTES)
    assert now["quic_relay_budget_used_bytes"] == expected
    assert now["quic_relay_egress_bytes_total"] == expected
    today = datetime.datetime.now(datetime.UTC)
    reset = datetime.datetime.fromtimestamp(
        now["quic_relay_budget_reset_time_seconds"], datetime.UTC
    )
    assert (reset.day, reset.hour, reset.minute, reset.second) == (1, 0, 0, 0)
    assert datetime.timedelta() < reset - today < datetime.timedelta(days=32)


def test_beyond_it_new_sessions_are_refused_in_silence(
    start_relay: StartRelay, rng: random.Random
) -> None:
    relay = _relay(start_relay, "--budget-action", "refuse-new")
    a, b = relay.pair()
    waiting = relay.new_session()
    relay.peer("127.0.0.5").register(waiting)
    _spend(relay, a, b, rng, BUDGET_BYTES // DATAGRAM_BYTES + 1)
    newcomer = relay.peer("127.0.0.4")
    newcomer.send(registration(relay.new_session()))
    newcomer.expect_silence()
    exchange(a, b, "a live session goes on")
    relay.peer("127.0.0.6").register(waiting)
    wait_until(lambda: relay.events("budget_reached"), "the log says so")
    wait_until(
        lambda: relay.events("budget_reached")[-1].fields["percent"] == "100", "all of it is told"
    )
    wait_until(
        lambda: scrape(relay)['quic_relay_datagrams_dropped_total{reason="budget"}'] == 1,
        "the refusal is counted",
    )
    (refused,) = relay.events("registration_refused")
    assert refused.fields["reason"] == "budget"


def test_by_default_it_only_warns(start_relay: StartRelay, rng: random.Random) -> None:
    relay = _relay(start_relay)
    a, b = relay.pair()
    _spend(relay, a, b, rng, BUDGET_BYTES // DATAGRAM_BYTES + 1)
    relay.pair("127.0.0.4", "127.0.0.5")
    wait_until(
        lambda: [e for e in relay.events("budget_reached") if e.fields["percent"] == "100"],
        "the log says so",
    )


def test_new_sessions_are_slow(start_relay: StartRelay, rng: random.Random) -> None:
    relay = _relay(
        start_relay, "--budget-action", "throttle-new", "--budget-throttle-bytes", "16384"
    )
    old = relay.pair()
    _spend(relay, *old, rng, BUDGET_BYTES // DATAGRAM_BYTES + 1)
    a, b = relay.pair("127.0.0.4", "127.0.0.5")
    payload = rng.randbytes(DATAGRAM_BYTES - HEADER_BYTES)
    for _ in range(100):
        a.send(payload)
    received = len(b.receive_all())
    # What may go at once, less what paired them, and what became available meanwhile.
    assert 16_384 // DATAGRAM_BYTES - 1 <= received < 60
    wait_until(
        lambda: scrape(relay)['quic_relay_datagrams_dropped_total{reason="throttled"}']
        == 100 - received,
        "the rest is counted",
    )
    _spend(relay, *old, rng, 50)


def test_a_restart_goes_on_counting(
    start_relay: StartRelay, rng: random.Random, tmp_path: Path
) -> None:
    state = ("--state-dir", str(tmp_path / "state"))
    first = _relay(start_relay, "--budget-action", "refuse-new", *state)
    a, b = first.pair()
    _spend(first, a, b, rng, BUDGET_BYTES // DATAGRAM_BYTES + 1)
    first.stop()
    # One that refuses new sessions would not answer the registration that shows that it runs.
    second = _relay(start_relay, "--budget-action", "warn", *state)
    wait_until(lambda: _used(second) > BUDGET_BYTES, "it knows what was sent before")
