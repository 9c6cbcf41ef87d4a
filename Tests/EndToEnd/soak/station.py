"""One relay, all that is done to it, and what must be true of it afterwards."""

from __future__ import annotations

import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from peers import free_ports
from restarting import RestartingRelay
from waiting import WAIT_WALL_SECONDS, wait_until

from . import books
from .books import Entry
from .couple import Couple
from .ledger import Switchboard
from .operator import Operator
from .strangers import Strangers
from .vitals import Holdings, growth, holdings, resident_bytes

_COUPLES = 30
_STEP_SECONDS = 0.01
_FLOODED_SECONDS = 300.0
_SAMPLE_SECONDS = 1.0
_TIMEOUT_SECONDS = 15
# Half-open sessions of strangers fill this, so that all of the relay's tables are in use.
_SESSION_LIMIT = 150
# Nothing is under way any more when nothing came for so long.
_QUIET_SECONDS = 0.3
_SETTLED_SECONDS = 1.0

# So much of the whole time, and how the relay is restarted meanwhile.
PHASES = (
    ("steady", 0.4, ()),
    ("hand-overs", 0.15, ("hand-over",)),
    ("steady after hand-overs", 0.25, ()),
    ("restarts", 0.2, ("kill", "stop", "hand-over")),
)


@dataclass(frozen=True)
class Plan:
    """How long, how much, and with what dice."""

    seconds: float
    seed: int
    workers: int
    datagrams_per_second: float = 1_500.0


class Station:
    """A relay under traffic."""

    def __init__(self, plan: Plan, directory: Path, note: Callable[[str], None]) -> None:
        """Starts the relay."""
        self._plan = plan
        self._note = note
        self._directory = directory
        self._rng = random.Random(plan.seed)
        self._control = directory / "control.sock"
        self._metrics_port = free_ports("127.0.0.1", 1)[0]
        self.counts: defaultdict[str, int] = defaultdict(int)
        self._relay = RestartingRelay(directory, self._rng, *self._options())
        self._switchboard = Switchboard(self._relay.address)
        self._couples: list[Couple] = []
        self._left: list[Couple] = []
        self._couple_count = 0
        self._strangers = Strangers(self._switchboard, self._rng, self.counts)
        self._operator = Operator(
            self._relay,
            self._control,
            self._metrics_port,
            lambda: [str(couple.session) for couple in self._couples],
            random.Random(plan.seed + 1),
            self.counts,
        )
        self._due = 0.0
        self._stepped_at = time.monotonic()
        # What was found, told at the end: a run of hours goes on.
        self._failures: list[str] = []

    def _options(self) -> list[str]:
        configuration = self._directory / "relay.toml"
        configuration.write_text(f"session-limit = {_SESSION_LIMIT}\n")
        return [
            *("--config", str(configuration), "--workers", str(self._plan.workers)),
            *("--state-dir", str(self._directory / "state"), "--stun", "--log-level", "notice"),
            *("--session-timeout-secs", str(_TIMEOUT_SECONDS)),
            *("--control", str(self._control), "--metrics", str(self._metrics_port)),
            *("--session-log", str(self._directory / "sessions.log")),
        ]

    def run(self) -> None:
        """Goes through all phases."""
        self._operator.await_service()
        for name, share, restarts in PHASES:
            self._go_through(name, share * self._plan.seconds, restarts)
        self._compare_dashboard()
        self._note(", ".join(f"{name} {count}" for name, count in sorted(self.counts.items())))
        assert not self._failures, "\n".join(self._failures)

    def close(self) -> None:
        """Ends all."""
        self._operator.end()
        self._switchboard.close_all()
        self._relay.close()

    # Phases

    def _go_through(self, name: str, seconds: float, restarts: tuple[str, ...]) -> None:
        before = self._enter()
        process = self._relay.process_id
        held = None if restarts else self._settled_holdings()
        # Where memory is not judged by 1 % its last pages may be touched whenever they are.
        if held and seconds >= _FLOODED_SECONDS:
            self._flood()
        samples: list[tuple[float, int]] = []
        end = time.monotonic() + seconds
        with self._operator.at_work(restarts, max(1.5, min(10.0, seconds / 6))):
            while (now := time.monotonic()) < end:
                self._step(now)
                self._operator.check()
                if held and (not samples or now - samples[-1][0] >= _SAMPLE_SECONDS):
                    samples.append((now, resident_bytes(process)))
        after = self._enter()
        lines = [f"{self._plan.workers} workers, {name}, {seconds:.0f} s"]
        # A relay that ends takes what waits in its socket with it; one that hands over does not.
        if set(restarts) <= {"hand-over"}:
            lines.append(self._judge_sums(before, after))
        if held:
            self._await_holdings(held)
            grown = growth(samples)
            lines += [str(grown), str(held)]
            if not grown.is_flat:
                self._failures.append(str(grown))
        self._note("; ".join(lines))

    def _flood(self) -> None:
        """Lets more of the longest datagrams wait for the relay than it takes at once. Otherwise the
        last of its buffers would be touched whenever the machine first holds it up for so long."""
        self._relay.signal(signal.SIGSTOP)
        try:
            self._strangers.flood()
        finally:
            self._relay.signal(signal.SIGCONT)

    def _judge_sums(self, before: Entry, after: Entry) -> str:
        unknown, lost = after.missing(before)
        sent = after.ledger.sent - before.ledger.sent
        if (unknown, lost) == (0, 0):
            return f"{sent} datagrams sent, all accounted for"
        failure = (
            f"{sent} datagrams sent, of which the relay knows nothing of {unknown}; "
            f"{lost} of its own never came: {before}, {after}"
        )
        self._failures.append(failure)
        return failure

    def _enter(self) -> Entry:
        """Waits until nothing is under way, and enters what both sides have counted by then.

        Totals are up to a second old; when two readings, and two ways of reading, agree, they are
        not, unless a second's traffic is missing, which the sums would show.
        """
        while self._switchboard.deliver(_QUIET_SECONDS):
            continue
        readings = [books.from_metrics(self._metrics_port)]

        def agree() -> bool:
            readings.append(books.from_metrics(self._metrics_port))
            readings[-1].check()
            self._switchboard.deliver(0)
            return readings[-1] == readings[-2] == books.from_control(self._control)

        wait_until(agree, "metrics and control socket to agree", WAIT_WALL_SECONDS)
        return Entry(self._switchboard.accounted, readings[-1])

    def _settled_holdings(self) -> Holdings:
        """What the relay holds when nobody is connected to it: what it has for a second."""
        held = [holdings(self._relay.process_id)]
        since = time.monotonic()

        def are_settled() -> bool:
            nonlocal since
            held.append(holdings(self._relay.process_id))
            if held[-1] != held[-2]:
                since = time.monotonic()
            return time.monotonic() - since > _SETTLED_SECONDS

        wait_until(are_settled, "the relay's descriptors to settle")
        return held[-1]

    def _await_holdings(self, before: Holdings) -> None:
        now = [before]

        def are_as_before() -> bool:
            now[0] = holdings(self._relay.process_id)
            return now[0] == before

        try:
            wait_until(are_as_before, "the relay's descriptors and threads")
        except AssertionError:
            raise AssertionError(f"{before} before, {now[0]} after") from None

    def _compare_dashboard(self) -> None:
        drops = books.from_metrics(self._metrics_port).drops
        books.await_drops_on_dashboard(self._control, self._directory / "dashboard", drops)

    # Traffic

    def _step(self, now: float) -> None:
        rng = self._rng
        self._due += (now - self._stepped_at) * self._plan.datagrams_per_second
        self._stepped_at = now
        # A machine that was busy elsewhere does not make up for all of it.
        self._due = min(self._due, self._plan.datagrams_per_second / 4)
        while len(self._couples) < _COUPLES:
            self._couple_count += 1
            self._couples.append(Couple(self._couple_count, self._switchboard, rng, self.counts))
        for couple in self._couples:
            couple.step(now)
        while self._due >= 1:
            self._due -= max(1, self._act(now))
        self._switchboard.deliver(_STEP_SECONDS)
        self._change_couples(now)

    def _act(self, now: float) -> int:
        rng = self._rng
        kind = rng.random()
        if kind < 0.03:
            return self._strangers.act()
        if kind < 0.032:
            return self._strangers.storm()
        couple = rng.choice(self._couples)
        if couple.is_paired and rng.random() < 0.005:
            couple.move()
        return couple.send(16)

    def _change_couples(self, now: float) -> None:
        for couple in [couple for couple in self._couples if now >= couple.ends_at]:
            couple.leave(now)
            self._couples.remove(couple)
            self._left.append(couple)
        self._left = [couple for couple in self._left if not couple.close(now)]
        self._strangers.close_former(now)


def say(line: str) -> None:
    """Prints at once, so that a run that is watched shows how far it is."""
    print(line, flush=True)
