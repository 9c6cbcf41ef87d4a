"""What a relay says of itself: metrics, control socket and dashboard, which must agree."""

from __future__ import annotations

import http.client
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from commands import Commands
from dashboard import DashboardRelay
from dashboard_screen import Screen
from prometheus import HTTP_WALL_SECONDS, samples

from .ledger import Ledger

_DROPPED = "quic_relay_datagrams_dropped_total"
_LABEL = re.compile(r'"(.*)"')
# A row of the dashboard's screen of drops: the reason and the total, such as 207, 1.93K or 28.1K.
_DROP_ROW = re.compile(r"^(?P<reason>[a-z_]+) +(?P<total>[\d.]+)(?P<unit>[KMG]?) ", re.MULTILINE)
_UNITS = {"": 1, "K": 1_000, "M": 1_000_000, "G": 1_000_000_000}
_DROP_ROWS_LIMIT = 60


@dataclass(frozen=True)
class Reading:
    """Counters of a relay at one moment."""

    received: int
    forwarded: int
    replied: int
    drops: dict[str, int]
    paired: int
    waiting: int

    @property
    def dropped(self) -> int:
        """All drops."""
        return sum(self.drops.values())

    def check(self) -> None:
        """Each datagram has one verdict."""
        verdicts = self.forwarded + self.replied + self.dropped
        assert self.received == verdicts, f"{self.received} received, {verdicts} verdicts: {self}"


def from_metrics(port: int) -> Reading:
    """What the metrics say."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=HTTP_WALL_SECONDS)
    try:
        connection.request("GET", "/metrics")
        values = samples(connection.getresponse().read().decode())
    finally:
        connection.close()
    return Reading(
        received=int(values["quic_relay_datagrams_received_total"]),
        forwarded=int(values["quic_relay_datagrams_forwarded_total"]),
        replied=int(values["quic_relay_datagrams_replied_total"]),
        drops={
            match[1]: int(value)
            for name, value in values.items()
            if name.startswith(_DROPPED) and (match := _LABEL.search(name))
        },
        paired=int(values['quic_relay_sessions{state="paired"}']),
        waiting=int(values['quic_relay_sessions{state="waiting"}']),
    )


def from_control(control: Path) -> Reading:
    """What `quic-relay status --json` says."""
    totals = Commands(control).value("status")["totals"]
    return Reading(
        received=totals["received_datagrams"],
        forwarded=totals["forwarded_datagrams"],
        replied=totals["replied_datagrams"],
        drops={reason: drop["datagrams"] for reason, drop in totals["drops"].items()},
        paired=totals["sessions_paired"],
        waiting=totals["sessions_waiting"],
    )


def await_drops_on_dashboard(control: Path, directory: Path, drops: Mapping[str, int]) -> None:
    """Waits until the dashboard's screen of drops shows these numbers, and no others.

    The terminal draws a row after the other, so that the first screen need not have all of them.
    """
    directory.mkdir()
    command = ("attach", "--control", str(control))
    dashboard = DashboardRelay(
        directory, random.Random(0), command=command, columns=160, rows=_DROP_ROWS_LIMIT
    )

    def shows_them(screen: Screen) -> bool:
        rows = {row["reason"]: row for row in _DROP_ROW.finditer(screen.body)}
        return rows.keys() == drops.keys() and all(
            _stands_for(row, drops[reason]) for reason, row in rows.items()
        )

    try:
        dashboard.wait_for_dashboard()
        dashboard.press("4")
        dashboard.wait(shows_them, f"the drops that the metrics tell of: {drops}")
    finally:
        dashboard.end()


def _stands_for(row: re.Match[str], drops: int) -> bool:
    """Whether this is the number, which the dashboard rounds where it is long."""
    unit = _UNITS[row["unit"]]
    decimals = len(row["total"].partition(".")[2])
    # Half of the last digit, and what a computer makes of it.
    return abs(float(row["total"]) * unit - drops) <= 0.501 * unit / 10.0**decimals


@dataclass(frozen=True)
class Entry:
    """What both sides had counted at a moment at which nothing was under way."""

    ledger: Ledger
    reading: Reading

    def missing(self, earlier: Entry) -> tuple[int, int]:
        """How many of those sent since then the relay knows nothing of; how many of its own never
        came. Both are 0 where nothing is lost."""
        ours, theirs = self.ledger, self.reading
        sent = ours.sent - earlier.ledger.sent
        came = ours.received + ours.overflowed
        came -= earlier.ledger.received + earlier.ledger.overflowed
        received = theirs.received - earlier.reading.received
        passed = theirs.forwarded + theirs.replied
        passed -= earlier.reading.forwarded + earlier.reading.replied
        return sent - received, passed - came
