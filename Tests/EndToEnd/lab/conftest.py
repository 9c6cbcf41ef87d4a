"""Fixtures of the laboratory, which is skipped, loudly, where namespaces cannot be had."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.internet import Internet
from lab.laboratory import Laboratory
from lab.namespaces import remove_leftovers, why_no_namespaces
from lab.results import RESULTS, Results
from relay_process import why_no_relay

# Whether everything is run that takes long.
IS_LONG = os.environ.get("QUIC_RELAY_LONG") == "1"

# A named figure for the summary and the note.
Figure = Callable[[str, str], None]
# What a passed cell shows: `seconds` of its transfer.
Outcome = Callable[[float], None]

_results = pytest.StashKey[Results]()
_outcome = pytest.StashKey[str]()
_laboratory = pytest.StashKey[Laboratory]()


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skips the test where there are none; removes what killed runs left behind.

    In CI there must be some: a skipped test there would be one that nobody misses.
    """
    missing = why_no_namespaces()
    if missing and os.environ.get("CI"):
        pytest.fail(missing, pytrace=False)
    if missing:
        pytest.skip(missing)
    for name in remove_leftovers():
        print(f"removed what a former run left behind: {name}")


@pytest.fixture
def internet(namespaces: None, tmp_path: Path) -> Iterator[Internet]:
    """A bridge with a relay's host; everything is removed after the test."""
    made = Internet(tmp_path)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def lab(
    internet: Internet, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Laboratory]:
    """A relay in that internet, and what the test starts besides."""
    missing = why_no_relay()
    if missing:
        pytest.fail(missing, pytrace=False)
    made = Laboratory(internet, tmp_path)
    request.node.stash[_laboratory] = made
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def outcome(request: pytest.FixtureRequest) -> Outcome:
    """Says what stands in the table if the test passes."""

    def tell(seconds: float) -> None:
        request.node.stash[_outcome] = f"{seconds:.1f} s"

    return tell


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Puts a figure into the summary and the results."""
    results = request.config.stash.setdefault(_results, Results())

    def tell(name: str, text: str) -> None:
        print(f"{name}: {text}")
        results.figures[name] = text

    return tell


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Puts the outcome of a cell into its table, and what programs printed beside a failure."""
    report = yield
    laboratory = item.stash.get(_laboratory, None)
    if report.failed and laboratory is not None:
        report.sections += [(f"output of {name}", text) for name, text in laboratory.outputs()]
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    for table in ("matrix", "impairments"):
        cell = parameters.get(f"{table}_cell")
        if cell is None:
            continue
        shown = getattr(item.config.stash.setdefault(_results, Results()), table)
        if report.failed:
            shown[cell.name] = "FAILED"
        elif report.skipped:
            shown[cell.name] = "skipped"
        elif report.when == "call":
            shown[cell.name] = item.stash[_outcome]
    return report


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Prints tables and figures."""
    results = config.stash.get(_results, Results())
    if results.is_empty():
        return
    terminalreporter.section("network laboratory")
    for table in results.tables():
        for line in table:
            terminalreporter.write_line(line)
    for name, text in results.figures.items():
        terminalreporter.write_line(f"{name}: {text}")
    # After printing, as it adds what was before.
    results.write()
    terminalreporter.write_line(f"also in {RESULTS}")
