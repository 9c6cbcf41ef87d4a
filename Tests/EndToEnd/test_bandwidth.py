"""Limits of bandwidth: what passes in some seconds by the relay's own clock."""

from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path
from typing import Any

import pytest

from commands import Commands
from flood import DATAGRAM_BYTES, HEADER_BYTES, Flood
from peers import Peer
from prometheus import scrape
from relay_process import Relay, StartRelay
from waiting import wait_until

RATE = 4_000_000
# A burst is 65,575 or 200,000 bytes: 1 % of what passes in so many seconds.
MEASURED_SECONDS = 5.0
TOLERANCE = 0.02


class Meter:
    """What a relay has forwarded since it was looked at, as it is on the wire."""

    def __init__(self, commands: Commands) -> None:
        """Begins to measure."""
        self._commands = commands
        self._before = self._totals()

    def seconds(self) -> float:
        """The time since then by the relay's clock."""
        return self._since(self._totals())

    def rate(self, other_bytes: int = 0) -> float:
        """Bytes a second since then, without so many that somebody else sent."""
        now = self._totals()
        return (self._wire(now) - self._wire(self._before) - other_bytes) / self._since(now)

    def _since(self, now: dict[str, Any]) -> float:
        return float(now["time_unix_us"] - self._before["time_unix_us"]) / 1e6

    def _totals(self) -> dict[str, Any]:
        totals: dict[str, Any] = self._commands.value("status")["totals"]
        return totals

    @staticmethod
    def _wire(totals: dict[str, Any]) -> int:
        return int(totals["forwarded_bytes"] + HEADER_BYTES * totals["forwarded_datagrams"])


def _relay(
    start_relay: StartRelay, directory: Path, *options: str
) -> tuple[Relay, Commands]:
    control = directory / "control.sock"
    relay = start_relay("--metrics", "0", "--control", str(control), *options)
    wait_until(control.exists, "the control socket")
    return relay, Commands(control)


def _send_modestly(meter: Meter, sender: Peer, receiver: Peer, rng: random.Random) -> int:
    """Some datagrams a second for as long as is measured, none of which is lost; their bytes."""
    count = 0
    while meter.seconds() < MEASURED_SECONDS:
        for _ in range(100):
            payload = rng.randbytes(DATAGRAM_BYTES - HEADER_BYTES)
            sender.send(payload)
            receiver.expect(payload)
            # Less than a sixth of the total, so that it is modest before the parts are made, too:
            # until then all six directions have the same.
            time.sleep(0.003)
        count += 100
    return count * DATAGRAM_BYTES


def _dropped(relay: Relay, reason: str) -> float:
    return scrape(relay)[f'quic_relay_datagrams_dropped_total{{reason="{reason}"}}']


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_direction_of_a_session_gets_its_rate(
    start_relay: StartRelay, rng: random.Random, tmp_path: Path, workers: str
) -> None:
    relay, commands = _relay(
        start_relay, tmp_path, "--session-rate", f"{RATE // 1_000_000}M", "--workers", workers
    )
    flooding, _ = relay.pair()
    modest = relay.pair("127.0.0.4", "127.0.0.5")
    with Flood(flooding):
        wait_until(lambda: _dropped(relay, "session_rate") > 0, "the flood is more than may pass")
        meter = Meter(commands)
        other_bytes = _send_modestly(meter, *modest, rng)
        assert meter.rate(other_bytes) == pytest.approx(RATE, rel=TOLERANCE)
        limited = [s for s in commands.values("sessions") if s.get("limited")]
    assert [set(s["dropped_datagrams"]) for s in limited] == [{"session_rate"}]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_all_together_get_the_total_and_modest_ones_their_part_of_it(
    start_relay: StartRelay, rng: random.Random, tmp_path: Path, workers: str
) -> None:
    relay, commands = _relay(
        start_relay, tmp_path, "--total-rate", f"{RATE // 1_000_000}M", "--workers", workers
    )
    modest = relay.pair("127.0.0.4", "127.0.0.5")
    with contextlib.ExitStack() as floods:
        for _ in range(2):
            flooding, _ = relay.pair()
            floods.enter_context(Flood(flooding))
        wait_until(lambda: _dropped(relay, "total_rate") > 0, "the floods are more than may pass")
        meter = Meter(commands)
        _send_modestly(meter, *modest, rng)
        assert meter.rate() == pytest.approx(RATE, rel=TOLERANCE)
        limited = [s for s in commands.values("sessions") if s.get("limited")]
    assert [set(s["dropped_datagrams"]) for s in limited] == [{"total_rate"}] * 2
