"""`quic-relay probe` against relays and paths of all kinds: each verdict must be right."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from peers import Address, free_ports
from relay_process import Relay, StartRelay, neutral_environment, relay_binary
from waiting import wait_until
from wire import Wire

_WALL_SECONDS = 60.0
_QUICK = ("--seconds", "1", "--wait-ms", "200")


def _probe(address: Address, *options: str) -> tuple[int, str, str]:
    host = f"[{address.host}]" if ":" in address.host else address.host
    done = subprocess.run(
        [str(relay_binary()), "probe", f"{host}:{address.port}", *_QUICK, *options],
        env=neutral_environment(),
        capture_output=True,
        text=True,
        timeout=_WALL_SECONDS,
    )
    return done.returncode, done.stdout, done.stderr


def _findings(address: Address, *options: str) -> tuple[int, dict[str, Any]]:
    status, output, errors = _probe(address, "--json", *options)
    assert errors == ""
    report = json.loads(output)
    return status, {finding["subject"]: finding for finding in report["findings"]}


@contextlib.contextmanager
def _wire(relay: Relay, lets_pass: Callable[[bytes], bool]) -> Iterator[Address]:
    wire = Wire(relay.address, lets_pass)
    try:
        yield wire.address
    finally:
        wire.close()


def test_a_good_relay(relay: Relay) -> None:
    status, findings = _findings(relay.address, "--bandwidth", "2M")
    verdicts = {subject: finding["verdict"] for subject, finding in findings.items()}
    assert status == 0
    assert verdicts == {
        "reachability": "ok",
        "pairing": "ok",
        "forwarding": "ok",
        "sizes": "ok",
        "ecn": "ok",
        "loss": "ok",
        "throughput": "ok",
        "rebinding": "ok",
        "stun": "skip",
    }
    longest = 1_452 if ":" in relay.address.host else 1_472
    assert findings["sizes"]["figures"]["longest_payload_bytes"] == longest
    assert findings["ecn"]["figures"]["marks_kept"] == 3
    assert findings["loss"]["figures"]["sent"] == 25


def test_people_read_a_line_for_each(relay_ipv4: Relay) -> None:
    status, output, _ = _probe(relay_ipv4.address)
    assert status == 0
    lines = output.splitlines()
    assert lines[0].startswith(f"probe of 127.0.0.1:{relay_ipv4.address.port}")
    subjects = [line.split()[:2] for line in lines[1:] if not line.startswith(" ")]
    assert subjects[0] == ["reachability", "ok"]
    assert ["throughput", "skip"] in subjects
    assert len(subjects) == 9


def test_its_session_ends_nobody_elses(relay_ipv4: Relay) -> None:
    a, b = relay_ipv4.pair()
    assert _probe(relay_ipv4.address)[0] == 0
    a.send(b"still here")
    b.expect(b"still here")


def test_no_relay_on_the_machine() -> None:
    port = free_ports("127.0.0.1", 1)[0]
    status, findings = _findings(Address("127.0.0.1", port))
    assert status == 69
    assert findings["reachability"]["verdict"] == "fail"
    assert f"nothing listens on UDP port {port}" in findings["reachability"]["cause"]
    assert {finding["verdict"] for name, finding in findings.items() if name != "reachability"} == {
        "skip"
    }


def test_a_firewall_that_drops() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        status, findings = _findings(Address(*mute.getsockname()))
        registrations = 0
        mute.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while mute.recv(100).startswith(b"REG:"):
                registrations += 1
    assert status == 69
    assert "firewall" in findings["reachability"]["cause"]
    assert registrations == findings["reachability"]["figures"]["tries"] == 5


@pytest.mark.parametrize("limit", [1_300, 1_199])
def test_a_path_with_a_small_mtu(relay_ipv4: Relay, limit: int) -> None:
    with _wire(relay_ipv4, lambda payload: len(payload) <= limit) as address:
        status, findings = _findings(address)
    sizes = findings["sizes"]
    if limit == 1_300:
        assert status == 0
        assert sizes["verdict"] == "warn"
        assert sizes["finding"] == "1280 bytes pass, 1350 do not"
        assert "below 1500" in sizes["cause"]
        assert findings["loss"]["verdict"] == "ok"
    else:
        assert status == 1
        assert sizes["verdict"] == "fail"
        assert "RFC 9000" in sizes["cause"]


def test_a_path_that_clears_ecn_marks(relay_ipv4: Relay) -> None:
    with _wire(relay_ipv4, lambda payload: True) as address:
        status, findings = _findings(address)
    assert status == 0
    assert findings["ecn"]["verdict"] == "warn"
    assert "cleared" in findings["ecn"]["finding"]


def test_a_path_that_lets_control_pass_only(relay_ipv4: Relay) -> None:
    def is_control(payload: bytes) -> bool:
        return payload.startswith(b"REG:") or payload == b"ACK\n"

    with _wire(relay_ipv4, is_control) as address:
        status, findings = _findings(address)
    assert status == 1
    assert findings["forwarding"]["verdict"] == "fail"
    assert findings["sizes"]["finding"] == "not looked at, as forwarding fails"


def test_a_relay_that_drains(start_relay: StartRelay) -> None:
    relay = start_relay("--drain-secs", "60")
    a, b = relay.pair()
    relay.process.send_signal(signal.SIGTERM)
    wait_until(lambda: relay.events("drain_started"), "the relay drains")
    status, findings = _findings(relay.address)
    assert status == 69
    assert "a relay that drains" in findings["reachability"]["cause"]
    # Its live session goes on.
    a.send(b"still here")
    b.expect(b"still here")


def test_a_relay_that_takes_no_second_session(start_relay: StartRelay) -> None:
    """The limits of one source leave room for one registration."""
    relay = start_relay("--registration-rate-per-ip", "1", "--session-limit", "1")
    a, b = relay.pair()
    status, findings = _findings(relay.address)
    assert status == 69
    assert "is full" in findings["reachability"]["cause"]
    a.send(b"still here")
    b.expect(b"still here")


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["no-such-name.invalid"], 68, "no-such-name.invalid"),
        (["127.0.0.1:0"], 64, "with a port from 1 to 65535"),
        (["127.0.0.1", "--bandwidth", "1T"], 64, "from 10k to 10G bits a second"),
        (["127.0.0.1", "--rate", "0"], 64, "must be a number from 1 to 10000"),
        ([], 64, "host"),
    ],
)
def test_bad_words_are_one_line(arguments: list[str], status: int, complaint: str) -> None:
    done = subprocess.run(
        [str(relay_binary()), "probe", *arguments],
        env=neutral_environment(),
        capture_output=True,
        text=True,
        timeout=_WALL_SECONDS,
    )
    assert done.returncode == status
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
