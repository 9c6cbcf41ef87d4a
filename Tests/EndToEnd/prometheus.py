"""Reads a relay's metrics, and finds Debian's Prometheus to have them judged."""

from __future__ import annotations

import http.client
import re
import subprocess
from pathlib import Path

import pytest

from relay_process import REPOSITORY, Relay
from waiting import wait_until

# Walls against hanging; all of this is done in milliseconds.
HTTP_WALL_SECONDS = 20.0
TOOL_WALL_SECONDS = 60.0
UNPACK_WALL_SECONDS = 300.0

_SAMPLE = re.compile(r"(?P<name>[a-z_0-9]+)(\{(?P<labels>[^}]*)\})? (?P<value>\S+)")


def metrics_address(relay: Relay) -> tuple[str, int]:
    """Where a relay that was started with `--metrics` serves them."""
    wait_until(lambda: relay.events("metrics_served"), "the relay says where metrics are")
    (event,) = relay.events("metrics_served")
    host, _, port = event.fields["address"].rpartition(":")
    return host.strip("[]"), int(port)


def ask(relay: Relay, path: str, method: str = "GET") -> tuple[int, str, str]:
    """Status, content type and body of an answer."""
    connection = http.client.HTTPConnection(*metrics_address(relay), timeout=HTTP_WALL_SECONDS)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type", ""), response.read().decode()
    finally:
        connection.close()


def scrape(relay: Relay) -> dict[str, float]:
    """Every sample by its name with labels, as in `name{label="value"}`."""
    status, _, body = ask(relay, "/metrics")
    assert status == 200, body
    return samples(body)


def samples(body: str) -> dict[str, float]:
    """Every sample of a text; each line that is no comment must be one."""
    lines = [line for line in body.splitlines() if not line.startswith("#")]
    found: dict[str, float] = {}
    for line in lines:
        match = _SAMPLE.fullmatch(line)
        assert match, f"no sample: {line!r}"
        found[line.rpartition(" ")[0]] = float(match["value"])
    return found


def prometheus_program(name: str) -> Path:
    """A program of Debian's package, which is unpacked and not installed; skips without it."""
    folder = REPOSITORY / ".build" / "prometheus"
    unpacked = subprocess.run(
        [REPOSITORY / ".ci" / "unpack-package", "prometheus", folder],
        capture_output=True,
        text=True,
        timeout=UNPACK_WALL_SECONDS,
        check=False,
    )
    if unpacked.returncode != 0:
        pytest.skip(f"no {name}, so nobody checks the metrics: {unpacked.stderr.strip()}")
    return folder / "usr" / "bin" / name


def promtool(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """What promtool says."""
    return subprocess.run(
        [prometheus_program("promtool"), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=TOOL_WALL_SECONDS,
        check=False,
    )
