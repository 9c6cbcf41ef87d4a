"""Fixtures of the attack suite, which is skipped, loudly, where namespaces cannot be had."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from attacks.hostile import Hostile, StartLabRelay
from lab.conftest import namespaces as namespaces
from lab.internet import Internet
from lab.laboratory import LabRelay
from lab.namespaces import Namespace
from relay_process import why_no_relay

_started = pytest.StashKey[list[LabRelay]]()


@pytest.fixture(scope="package")
def _hostile_internet(
    namespaces: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Internet]:
    with contextlib.closing(Internet(tmp_path_factory.mktemp("hostile"))) as made:
        yield made


@pytest.fixture(scope="package")
def _hostile_network(_hostile_internet: Internet) -> Hostile:
    return Hostile(_hostile_internet)


@pytest.fixture
def hostile(_hostile_network: Hostile, rng: random.Random) -> Iterator[Hostile]:
    """A network with an attacker who forges sources; all tests share it, but not its sockets."""
    with _hostile_network.during(rng):
        yield _hostile_network


@pytest.fixture
def start_lab_relay(
    hostile: Hostile, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[StartLabRelay]:
    """Starts a relay in that network; it must run until the test's end."""
    missing = why_no_relay()
    if missing:
        pytest.fail(missing, pytrace=False)
    with contextlib.ExitStack() as running:
        started: list[LabRelay] = []
        request.node.stash[_started] = started

        def start(*arguments: str, host: Namespace | None = None) -> LabRelay:
            log = tmp_path / f"relay-{len(started)}.log"
            made = LabRelay(host or hostile.relay_host, log, *arguments)
            started.append(made)
            running.callback(made.stop)
            return made

        yield start


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Shows what relays printed beside a failure."""
    report = yield
    if report.failed:
        for relay in item.stash.get(_started, []):
            report.sections.append((f"output of {relay.log.name}", relay.output()[-20_000:]))
    return report
