"""Fixtures: a relay for each test, a printed seed, and lines for the summary."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from relay_process import Relay, StartRelay, why_no_relay

Note = Callable[[str], None]

_relays = pytest.StashKey[list[Relay]]()
_notes = pytest.StashKey[list[str]]()


@pytest.fixture
def seed() -> int:
    """The seed of this test's random choices; set END_TO_END_SEED to repeat a run."""
    chosen = os.environ.get("END_TO_END_SEED")
    value = int(chosen) if chosen else random.SystemRandom().getrandbits(32)
    print(f"END_TO_END_SEED={value}")
    return value


@pytest.fixture
def rng(seed: int) -> random.Random:
    """This test's random choices."""
    return random.Random(seed)


@pytest.fixture
def start_relay(
    request: pytest.FixtureRequest, tmp_path: Path, rng: random.Random
) -> Iterator[StartRelay]:
    """Starts a relay with extra arguments; all of a test's relays end with it."""
    missing = why_no_relay()
    if missing:
        pytest.fail(missing, pytrace=False)
    started: list[Relay] = []
    request.node.stash[_relays] = started

    def start(*arguments: str, host: str = "127.0.0.1") -> Relay:
        log = tmp_path / f"relay-{len(started)}.log"
        relay = Relay(host, list(arguments), log, rng)
        started.append(relay)
        return relay

    yield start
    errors = []
    for relay in started:
        try:
            relay.stop()
        except AssertionError as error:
            errors.append(str(error))
    assert not errors, "\n".join(errors)


@pytest.fixture(params=["127.0.0.1", "::1"], ids=["ipv4", "ipv6"])
def relay(request: pytest.FixtureRequest, start_relay: StartRelay) -> Relay:
    """A relay with default settings, once for each IP version."""
    return start_relay(host=request.param)


@pytest.fixture
def relay_ipv4(start_relay: StartRelay) -> Relay:
    """A relay on IPv4, whose many loopback addresses let peers live on different hosts."""
    return start_relay()


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Note:
    """Puts a line into the summary, where it is read even when all tests pass."""
    notes = request.config.stash.setdefault(_notes, [])

    def add(line: str) -> None:
        print(line)
        notes.append(line)

    return add


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shows what the relays printed beside a failure."""
    report = yield
    if report.failed:
        for relay in item.stash.get(_relays, []):
            report.sections.append((f"output of the relay, {relay.log.name}", relay.output()))
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Prints the noted lines."""
    notes = config.stash.get(_notes, [])
    if notes:
        terminalreporter.section("notes")
        for line in notes:
            terminalreporter.write_line(line)
