"""The session log: one line of JSON for each session that ended, whatever becomes of the disk."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from couples import Stack, couple_apart
from peers import registration
from prometheus import scrape
from relay_log import short, shown
from relay_process import Relay, StartRelay, neutral_environment, relay_binary
from waiting import wait_until

Record = dict[str, Any]

# More than the registrations of one test.
QUICK = ("--registration-rate-per-ip", "1000000", "--half-open-limit-per-ip", "20000")
QUICK += ("--ack-rate-per-ip", "1000000")
MANY = 10_000
LIVING = 2_000
ROTATIONS = 10
# Room for some ten lines.
FILE_LIMIT_BYTES = 10_000
SMALL_DISK_KIB = 64
# More than there is room for beside the filler, fewer than fit without it: some 850 bytes each.
SMALL_DISK_SESSIONS = 50


def _records(*logs: Path) -> list[Record]:
    """Every record; each line must be whole."""
    text = "".join(log.read_text() for log in logs if log.exists())
    assert not text or text.endswith("\n"), "the file ends within a line"
    return [json.loads(line) for line in text.splitlines()]


def _end_sessions(relay: Relay, count: int) -> list[str]:
    """Begins sessions from one address, each of which ends the one before; their short ids."""
    peer = relay.peer()
    sessions = [relay.new_session() for _ in range(count + 1)]
    for session in sessions:
        peer.register(session)
    return [short(session) for session in sessions[:-1]]


def test_a_record_tells_what_the_session_was(start_relay: StartRelay, tmp_path: Path) -> None:
    log = tmp_path / "sessions.json"
    relay = start_relay("--session-log", str(log), "--session-timeout-secs", "1")
    session = relay.new_session()
    a, b = relay.pair(session=session)
    addresses = [peer.socket.getsockname() for peer in (a, b)]
    wait_until(lambda: any(r["session"] == short(session) for r in _records(log)), "the record")
    (record,) = [r for r in _records(log) if r["session"] == short(session)]
    assert record["reason"] == "idle"
    assert record["drops"] == dict.fromkeys(record["drops"], 0)
    assert (record["client"], record["version"], record["handshake_ms"]) == (None, None, None)
    assert (record["attempts"], record["rebinds"], record["phase"]) == (0, 0, "none")
    payloads = [b"ping-pong 0", b"ping-pong 1", b"ping-pong 2"]
    assert (record["a"]["datagrams"], record["b"]["datagrams"]) == (2, 1)
    assert record["a"]["bytes"] == len(payloads[0]) + len(payloads[2])
    for name, address in zip(("a", "b"), addresses, strict=True):
        assert record[name]["address"] == f"{address[0]}:{address[1]}"
        assert record[name]["validation"] == "data"
    start, end = (_seconds(record[name]) for name in ("start", "end"))
    assert abs((end - start) * 1_000 - record["duration_ms"]) < 50
    assert 1_000 <= record["duration_ms"]
    assert abs(end - time.time()) < 60
    assert log.stat().st_mode & 0o137 == 0
    (event,) = relay.events("session_ended", session)
    assert event.fields["reason"] == "idle"


def test_quic_is_in_the_record(
    start_relay: StartRelay, start_nat: Any, stack: Stack, seed: int, tmp_path: Path
) -> None:
    log = tmp_path / "sessions.json"
    relay = start_relay("--session-log", str(log), "--session-log-full-ids")
    couple = couple_apart(relay, start_nat)
    couple.transfer(stack, seed, tmp_path, byte_count=300_000).finish()
    relay.stop()
    (record,) = [r for r in _records(log) if r["session"] == str(couple.session)]
    assert record["reason"] == "relay_stopped"
    assert record["version"] == "v1"
    assert record["phase"] == "1rtt"
    assert record["attempts"] >= 1
    assert record["handshake_ms"] > 0
    assert record["client"] in ("A", "B")
    assert record["a"]["bytes"] + record["b"]["bytes"] > 300_000
    assert record["a"]["handshake_rtt_ms"] is not None
    assert record["b"]["handshake_rtt_ms"] is not None
    assert {record["a"]["address"], record["b"]["address"]} == {
        shown(couple.server.outer),
        shown(couple.client.outer),
    }


def test_ten_thousand_that_end_at_once_are_all_there(
    start_relay: StartRelay, tmp_path: Path
) -> None:
    log = tmp_path / "sessions.json"
    relay = start_relay("--session-log", str(log), "--log-level", "error", *QUICK)
    ended = _end_sessions(relay, MANY)
    wait_until(lambda: log.read_bytes().count(b"\n") >= MANY, "every record")
    found = [record["session"] for record in _records(log)]
    assert found == ended


def test_those_that_are_open_at_the_end_are_there(start_relay: StartRelay, tmp_path: Path) -> None:
    log = tmp_path / "sessions.json"
    relay = start_relay("--session-log", str(log), *QUICK)
    sessions = []
    for _ in range(LIVING):
        session = relay.new_session()
        relay.peer().send(registration(session))
        sessions.append(short(session))
    wait_until(lambda: relay.output().count(" session_opened ") > LIVING, "every session is open")
    relay.stop()
    records = _records(log)
    assert {record["reason"] for record in records} == {"relay_stopped"}
    # And the one that found out whether the relay answers.
    assert len(records) == LIVING + 1
    assert set(sessions) <= {record["session"] for record in records}


def test_those_that_live_on_are_not_there(start_relay: StartRelay, tmp_path: Path) -> None:
    log = tmp_path / "sessions.json"
    state = tmp_path / "state"
    relay = start_relay("--session-log", str(log), "--state-dir", str(state), *QUICK)
    ended = _end_sessions(relay, 5)
    relay.pair()
    relay.stop()
    assert [record["session"] for record in _records(log)] == ended
    assert {record["reason"] for record in _records(log)} == {"abandoned"}


def test_a_file_that_may_not_grow_costs_nothing(start_relay: StartRelay, tmp_path: Path) -> None:
    log = tmp_path / "sessions.json"
    relay = start_relay(
        "--session-log", str(log), "--log-level", "notice", "--metrics", "0", *QUICK
    )
    pid = relay.process.pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (FILE_LIMIT_BYTES, resource.RLIM_INFINITY))
    ended = _end_sessions(relay, 200)
    wait_until(lambda: relay.events("session_log_failed"), "the relay says that it cannot write")
    (failed,) = relay.events("session_log_failed")
    assert failed.fields["error"] == "File too large"
    assert FILE_LIMIT_BYTES - 2_000 < log.stat().st_size <= FILE_LIMIT_BYTES
    written = [record["session"] for record in _records(log)]
    assert written == ended[: len(written)]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    wait_until(lambda: len(_records(log)) >= len(ended), "it goes on")
    assert [record["session"] for record in _records(log)] == ended
    wait_until(lambda: scrape(relay)["quic_relay_session_records_written_total"] == 200, "counted")
    assert scrape(relay)["quic_relay_session_records_lost_total"] == 0
    wait_until(lambda: relay.events("session_log_resumed"), "the relay says that it goes on")
    assert len(relay.events("session_log_failed")) == 1


def test_what_is_lost_at_the_end_is_counted(start_relay: StartRelay, tmp_path: Path) -> None:
    log = tmp_path / "sessions.json"
    relay = start_relay("--session-log", str(log), "--log-level", "notice", *QUICK)
    resource.prlimit(relay.process.pid, resource.RLIMIT_FSIZE, (FILE_LIMIT_BYTES,) * 2)
    _end_sessions(relay, 100)
    wait_until(lambda: relay.events("session_log_failed"), "the relay says that it cannot write")
    summary = relay.summary()
    # 100 that ended, one that lives, and the one that found out whether the relay answers.
    assert int(summary["session_records_lost"]) == 102 - len(_records(log))


def test_a_full_disk_costs_nothing(tmp_path: Path, start_relay: StartRelay) -> None:
    with _small_disk(tmp_path) as disk:
        log = disk / "sessions.json"
        relay = start_relay("--session-log", str(log), "--log-level", "warning", *QUICK)
        filler = disk / "filler"
        filler.write_bytes(b"x" * (SMALL_DISK_KIB - 12) * 1024)
        ended = _end_sessions(relay, SMALL_DISK_SESSIONS)
        wait_until(lambda: relay.events("session_log_failed"), "the disk is full")
        assert relay.events("session_log_failed")[0].fields["error"] == "No space left on device"
        written = [record["session"] for record in _records(log)]
        assert written == ended[: len(written)]
        assert len(written) < len(ended)
        filler.unlink()
        wait_until(lambda: len(_records(log)) == len(ended), "it goes on")
        assert [record["session"] for record in _records(log)] == ended
        relay.stop()


def test_renaming_under_load_loses_no_line(start_relay: StartRelay, tmp_path: Path) -> None:
    log = tmp_path / "sessions.json"
    relay = start_relay("--session-log", str(log), "--log-level", "notice", *QUICK)
    ended: list[str] = []
    for number in range(ROTATIONS):
        ended += _end_sessions(relay, 25)
        log.rename(tmp_path / f"sessions.json.{number}")
        relay.process.send_signal(signal.SIGHUP)
        # Some end before the next file is there, some afterwards.
        ended += _end_sessions(relay, 25)
        wait_until(log.exists, "the relay makes the next file")
    wait_until(
        lambda: len(relay.events("session_log_reopened")) == ROTATIONS, "the log says so each time"
    )
    relay.stop()
    logs = [*(tmp_path / f"sessions.json.{number}" for number in range(ROTATIONS)), log]
    records = [r for r in _records(*logs) if r["reason"] != "relay_stopped"]
    assert [record["session"] for record in records] == ended


def test_copytruncate_under_load_tears_no_line(start_relay: StartRelay, tmp_path: Path) -> None:
    log = tmp_path / "sessions.json"
    relay = start_relay("--session-log", str(log), "--log-level", "error", *QUICK)
    for _ in range(20):
        _end_sessions(relay, 50)
        os.truncate(log, 0)
    last = _end_sessions(relay, 10)
    wait_until(lambda: {r["session"] for r in _records(log)} >= set(last), "the last ones")


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/no/such/folder/log", 73, "No such file or directory"),
        ("/", 73, "Is a directory"),
        ("/dev/null", 71, "which must be a regular file"),
    ],
)
def test_a_file_that_cannot_be_opened_is_named(path: str, status: int, reason: str) -> None:
    run = subprocess.run(
        [str(relay_binary()), "--no-tui", "--port", "0", "--session-log", path],
        capture_output=True,
        text=True,
        env=neutral_environment(),
        timeout=30,
        check=False,
    )
    assert run.returncode == status
    assert run.stderr.startswith(f"quic-relay: --session-log {path}")
    assert reason in run.stderr


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 64 KiB; skips where none may be mounted."""
    disk = folder / "disk"
    disk.mkdir()
    options = f"size={SMALL_DISK_KIB}k"
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
    if os.geteuid() != 0 or not mount or subprocess.run(command, check=False).returncode != 0:
        pytest.skip("only root may mount a small disk, so nothing is seen of a full one")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _seconds(timestamp: str) -> float:
    return datetime.datetime.fromisoformat(timestamp).timestamp()
