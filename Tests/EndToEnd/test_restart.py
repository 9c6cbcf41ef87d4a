"""A relay that is killed, stopped or replaced in the midst of connections, which go on."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import Note
from couples import Stack
from dashboard import DashboardRelay
from peers import exchange, free_ports, ping_pong
from programs import Transfer, register_ports
from relay_process import relay_binary
from restarting import RestartingRelay
from waiting import wait_until

# A run of restarts takes minutes.
LONG = pytest.mark.skipif(
    os.environ.get("QUIC_RELAY_LONG") != "1", reason="takes minutes: QUIC_RELAY_LONG=1"
)

KINDS = ["kill", "stop", "hand-over"]

# Some seconds' worth each way, so that there is a midst.
SIZES = {"aioquic": 24 << 20, "quic-portal": 192 << 20}


@pytest.fixture
def restarting(tmp_path: Path, rng: random.Random) -> Iterator[RestartingRelay]:
    """A relay that can be restarted, with a state directory."""
    relay = RestartingRelay(tmp_path, rng, "--state-dir", str(tmp_path / "state"))
    with contextlib.closing(relay):
        yield relay


def _transfer(
    relay: RestartingRelay, stack: Stack, seed: int, directory: Path, byte_count: int
) -> Transfer:
    ports = free_ports(relay.address.host, 2)
    register_ports(relay, ports)
    more = ("--may-lose-close",) if stack.name == "quic-portal" else ()
    return Transfer(
        stack.program,
        (relay.address, relay.address),
        ports,
        seed,
        directory,
        *stack.options,
        *more,
        byte_count=byte_count,
    )


def _restart_during(
    relay: RestartingRelay, stack: Stack, seed: int, directory: Path, kind: str, times: int
) -> int:
    """Restarts the relay in the midst of a transfer; returns how often it was still running.

    What is transferred grows with the times, as what the relay wrote down is up to a second old.
    """
    hits = 0
    byte_count = SIZES[stack.name] * max(1, times // 2)
    with _transfer(relay, stack, seed, directory, byte_count) as transfer:
        for _ in range(times):
            target = relay.forwarded() + 3_000
            wait_until(
                lambda: relay.forwarded() >= target or not transfer.is_running(),
                "the transfer gets on",
            )
            if not transfer.is_running():
                break
            relay.restart(kind)
            hits += 1
        transfer.finish()
    return hits


@pytest.mark.parametrize("kind", KINDS)
def test_transfer_survives_a_restart(
    restarting: RestartingRelay, stack: Stack, seed: int, tmp_path: Path, kind: str, note: Note
) -> None:
    hits = _restart_during(restarting, stack, seed, tmp_path / "programs", kind, 1)
    assert hits == 1, "the transfer was over before the relay was restarted"
    assert restarting.event_count("sessions_restored") == 1
    note(f"{stack.name}: went on after {kind}")


@pytest.mark.parametrize("kind", KINDS)
def test_transfer_survives_several_restarts(
    restarting: RestartingRelay, aioquic: Stack, seed: int, tmp_path: Path, kind: str, note: Note
) -> None:
    hits = _restart_during(restarting, aioquic, seed, tmp_path / "programs", kind, 4)
    assert hits >= 2, "the transfer was over before the relay was restarted twice"
    note(f"{aioquic.name}: went on after {hits} × {kind}")


@LONG
@pytest.mark.parametrize("kind", KINDS)
def test_twenty_restarts_in_a_row(
    restarting: RestartingRelay, stack: Stack, seed: int, tmp_path: Path, kind: str, note: Note
) -> None:
    hits = 0
    for round_number in range(20):
        hits += _restart_during(
            restarting, stack, seed + round_number, tmp_path / f"programs-{round_number}", kind, 1
        )
    assert hits == 20
    note(f"{stack.name}: {hits} transfers, each with a {kind} in its midst")


def test_hand_over_loses_no_datagram(restarting: RestartingRelay, note: Note) -> None:
    a, b = restarting.pair()
    end = threading.Event()
    lost: list[int] = []
    rounds = 0

    def converse() -> None:
        nonlocal rounds
        while not end.is_set():
            payload = rounds.to_bytes(8, "big")
            a.send(payload)
            try:
                while b.receive(2.0) != payload:
                    pass
                b.send(payload)
                while a.receive(2.0) != payload:
                    pass
            except TimeoutError:
                lost.append(rounds)
            rounds += 1

    thread = threading.Thread(target=converse)
    thread.start()
    try:
        for _ in range(5):
            before = rounds
            restarting.restart("hand-over")
            wait_until(lambda: rounds > before + 500, "the peers converse")
    finally:
        end.set()
        thread.join()
    assert lost == []
    note(f"5 hand-overs during {rounds} round trips: no datagram lost")


def test_hand_over_needs_no_state_directory(tmp_path: Path, rng: random.Random) -> None:
    with contextlib.closing(RestartingRelay(tmp_path, rng)) as relay:
        a, b = relay.pair()
        relay.restart("hand-over")
        exchange(a, b, "after")
        relay.restart("hand-over")
        exchange(a, b, "after two")


def test_hand_overs_pile_up_no_descriptors(restarting: RestartingRelay) -> None:
    """What the old relay's libraries had open is nothing to the new one."""
    counts = []
    for number in range(3):
        restarting.restart("hand-over")
        # The old one ends when the new one forwards; not all that it opens is open by then.
        wait_until(lambda: restarting.event_count("listening") == number + 2, "the next one's line")
        counts.append(len(os.listdir(f"/proc/{restarting.process_id}/fd")))
    assert counts[0] == counts[1] == counts[2], counts


def test_what_comes_during_a_hand_over_waits(restarting: RestartingRelay) -> None:
    """Bursts in both directions: nothing is lost, doubled or in another order."""
    a, b = restarting.pair()
    sent = 0
    with restarting.handing_over():
        for sent in range(1, 2_001):
            a.send(sent.to_bytes(4, "big"))
            if sent % 20 == 0:
                time.sleep(0.001)
    for number in range(1, sent + 1):
        b.expect(number.to_bytes(4, "big"))
    b.expect_silence()


# What a new binary may be, and the reason that the old relay must give.
BAD_BINARIES = {
    "exits": ("echo 'no such luck' >&2; exit 3", "exited with 3: no such luck"),
    "crashes": ("kill -SEGV $$", "ended by SIGSEGV"),
    "closes": ("exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-; echo gone >&2; exit 0", "exited with 0"),
    "hangs": ("exec sleep 60", "did not get on in time"),
    "talks nonsense": ("printf X >&${channel}; exec sleep 60", "broke off"),
    "dies when prepared": ("printf P >&${channel}; exit 4", "exited with 4"),
    "hangs when prepared": ("printf P >&${channel}; exec sleep 60", "did not get on in time"),
}

# The numbers of the descriptors, from the variable: a shell redirects to numbers above 9 only so.
SHELL = """#!/bin/bash
for word in $QUICRELAY_HANDOVER; do case $word in channel=*) channel=${word#channel=};; esac; done
eval "exec 9>&$channel"; channel=9
"""


@pytest.mark.parametrize("case", BAD_BINARIES)
def test_the_old_relay_goes_on_when_the_new_one_fails(
    tmp_path: Path, rng: random.Random, case: str
) -> None:
    script, reason = BAD_BINARIES[case]
    binary = tmp_path / "relay"
    shutil.copy(relay_binary(), binary)
    arguments = ("--state-dir", str(tmp_path / "state"))
    with contextlib.closing(RestartingRelay(tmp_path, rng, *arguments, binary=binary)) as relay:
        a, b = relay.pair()
        process = relay.process_id
        # Another file under the same name: the one that runs stays as it is.
        replacement = tmp_path / "new"
        replacement.write_text(SHELL + script + "\n")
        replacement.chmod(0o755)
        replacement.rename(binary)
        relay.signal(signal.SIGUSR2)
        wait_until(lambda: relay.event_count("handover_failed") == 1, "the hand-over fails", 40)
        assert reason in relay.output(), relay.output()
        assert relay.process_id == process
        exchange(a, b, "afterwards")
        state = tmp_path / "state" / "sessions.state"
        written = state.stat().st_mtime_ns
        wait_until(
            lambda: (exchange(a, b, "once more"), state.stat().st_mtime_ns)[1] > written,
            "the state is written again",
        )
        # With a good one it works after all.
        shutil.copy(relay_binary(), tmp_path / "good")
        (tmp_path / "good").rename(binary)
        relay.restart("hand-over")
        exchange(a, b, "with the new one")


def test_a_relay_that_ends_by_signal_during_a_hand_over_obeys(
    tmp_path: Path, rng: random.Random
) -> None:
    binary = tmp_path / "relay"
    shutil.copy(relay_binary(), binary)
    with contextlib.closing(RestartingRelay(tmp_path, rng, binary=binary)) as relay:
        (tmp_path / "new").write_text("#!/bin/sh\nexec sleep 60\n")
        (tmp_path / "new").chmod(0o755)
        (tmp_path / "new").rename(binary)
        relay.signal(signal.SIGUSR2)
        wait_until(lambda: relay.event_count("handover_started") == 1, "the hand-over begins")
        relay.signal(signal.SIGTERM)
        assert relay.wait() == 0
        assert relay.event_count("handover_failed") == 1


def test_a_dashboard_is_not_handed_over(dashboard: DashboardRelay) -> None:
    """A terminal has one owner: it says so, and goes on."""
    process = dashboard.pid
    dashboard.signal(signal.SIGUSR2)
    dashboard.wait_for_text("no hand-over (SIGUSR2)")
    assert dashboard.pid == process and dashboard.is_running()


# The state directory


def test_the_state_is_a_secret(restarting: RestartingRelay, tmp_path: Path) -> None:
    restarting.pair()
    state = tmp_path / "state" / "sessions.state"
    wait_until(state.exists, "the state is written")
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.parent.stat().st_mode) == 0o700


def test_two_relays_on_one_directory(restarting: RestartingRelay, tmp_path: Path) -> None:
    status, output = restarting.try_another("--state-dir", str(tmp_path / "state"))
    assert status == 69
    assert f"in use by another relay (process {restarting.process_id})" in output
    assert len(output.strip().splitlines()) == 1


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda state: b"", "not a relay's state"),
    "text": (lambda state: b"hello " * 100, "not a relay's state"),
    "cut short": (lambda state: state[:-1], "bytes instead of"),
    "a flipped bit": (lambda state: state[:-9] + bytes([state[-9] ^ 1]) + state[-8:], "checksum"),
    "a foreign version": (lambda state: state[:8] + b"\x07" + state[9:], "format version 7"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_cannot_be_used_is_kept_aside(
    restarting: RestartingRelay, tmp_path: Path, damage: str
) -> None:
    change, reason = DAMAGES[damage]
    restarting.pair()
    restarting.end()
    state = tmp_path / "state" / "sessions.state"
    damaged = change(state.read_bytes())
    state.write_bytes(damaged)
    restarting.begin()
    # It answers before it has said everything.
    wait_until(lambda: restarting.event_count("state_ignored"), "it says what it does without")
    (line,) = [line for line in restarting.output().splitlines() if "state_ignored" in line]
    assert "warning" in line and str(state) in line and reason in line
    assert (tmp_path / "state" / "sessions.state.bad-1").read_bytes() == damaged
    assert restarting.event_count("sessions_restored") == 0
    ping_pong(*restarting.pair())


def test_a_full_disk_is_told_once_and_survived(
    tmp_path: Path, rng: random.Random
) -> None:
    """A directory under the name of the file to write stands for a disk that takes nothing."""
    state = tmp_path / "state"
    with contextlib.closing(RestartingRelay(tmp_path, rng, "--state-dir", str(state))) as relay:
        a, b = relay.pair()
        (state / "sessions.state.new").mkdir()
        (state / "sessions.state.new" / "in the way").touch()
        for _ in range(3):
            written = relay.event_count("state_not_written")
            exchange(a, b, "meanwhile")
            wait_until(
                lambda: (exchange(a, b, "more"), relay.event_count("state_not_written"))[1] == 1,
                "it is told",
            )
            assert written <= 1
        (state / "sessions.state.new" / "in the way").unlink()
        (state / "sessions.state.new").rmdir()
        wait_until(
            lambda: (exchange(a, b, "again"), relay.event_count("state_written"))[1] == 1,
            "it works again",
        )
        assert relay.event_count("state_not_written") == 1
        relay.restart("kill")
        exchange(a, b, "after all")
