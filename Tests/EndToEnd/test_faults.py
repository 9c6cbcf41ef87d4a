"""System calls that fail in the midst of things: the relay lives on and every datagram is counted."""

from __future__ import annotations

import errno
import json
import random
import socket
import time
from pathlib import Path

import pytest

import faults as fault_names
from commands import Commands
from faults import Faults
from peers import ACK, Peer, exchange, registration
from prometheus import ask, metrics_address, scrape
from relay_process import Relay, StartRelay
from waiting import wait_until

PAYLOAD_BYTES = 300
# Idle, a relay looks for work ten times a second; what fails at once is tried again after 10 ms.
IDLE_SECONDS = 1.0
MOST_IDLE_CALLS = 400


def _dropped(counters: dict[str, float]) -> dict[str, int]:
    prefix = "quic_relay_datagrams_dropped_total{"
    return {
        name.removeprefix(prefix).split('"')[1]: int(value)
        for name, value in counters.items()
        if name.startswith(prefix) and value
    }


def _counters(relay: Relay, least: int) -> dict[str, float]:
    """Once it is told that so many came: each is forwarded, answered, or dropped for a reason."""
    total = "quic_relay_datagrams_{}_total"
    received = total.format("received")
    wait_until(lambda: scrape(relay)[received] >= least, "all that was sent is told")
    now = scrape(relay)
    accounted = now[total.format("forwarded")] + now[total.format("replied")]
    assert now[received] == accounted + sum(_dropped(now).values()), now
    return now


def _send_many(sender: Peer, rng: random.Random, count: int) -> list[bytes]:
    payloads = [number.to_bytes(4) + rng.randbytes(PAYLOAD_BYTES) for number in range(count)]
    for payload in payloads:
        sender.send(payload)
    return payloads


def _is_part(received: list[bytes], sent: list[bytes]) -> bool:
    """Whether what came is some of what was sent, unchanged and in order."""
    rest = iter(sent)
    return all(payload in rest for payload in received)


SEND_ERRORS = [
    (errno.EAGAIN, "send_buffer_full"),
    (errno.ENOBUFS, "send_buffer_full"),
    (errno.ENOMEM, "send_buffer_full"),
    (errno.EMSGSIZE, "too_big"),
    (errno.EPERM, "unreachable"),
    (errno.EINVAL, "unreachable"),
    (errno.ECONNREFUSED, "unreachable"),
    (errno.ENETUNREACH, "unreachable"),
    (errno.EHOSTUNREACH, "unreachable"),
    (errno.EIO, "unreachable"),
]


@pytest.mark.parametrize(
    ("error", "reason"), SEND_ERRORS, ids=[fault_names.name(error) for error, _ in SEND_ERRORS]
)
def test_what_cannot_be_sent_is_counted_by_its_reason(
    start_relay: StartRelay, faults: Faults, rng: random.Random, error: int, reason: str
) -> None:
    relay = start_relay("--metrics", "0", variables=faults.environment)
    a, b = relay.pair()
    faults.fail("send", error, chance=0.5)
    sent = _send_many(a, rng, 500)
    received = b.receive_all()
    faults.heal("send")
    assert _is_part(received, sent)
    counters = _counters(relay, len(sent))
    lost = len(sent) - len(received)
    # A train that is refused for being one is sent again in single datagrams.
    assert lost > 0 and _dropped(counters) == {reason: lost}
    exchange(a, b, "afterwards")
    # Nothing was told of single datagrams, and nobody was given up.
    assert len(relay.output().splitlines()) < 40
    assert not relay.events("session_ended")


def test_interrupted_calls_lose_nothing(
    start_relay: StartRelay, faults: Faults, rng: random.Random
) -> None:
    relay = start_relay("--metrics", "0", variables=faults.environment)
    a, b = relay.pair()
    for call in ("receive", "send", "wait", "accept", "write", "read", "open"):
        faults.fail(call, errno.EINTR, chance=0.5)
    # One by one, so that there are many calls, and then as fast as they come.
    for number in range(50):
        exchange(a, b, f"number {number}")
    for payload in _send_many(a, rng, 500):
        b.expect(payload)
    counters = _counters(relay, 500)
    assert sum(_dropped(counters).values()) == 0
    assert faults.faults("receive") > 10 and faults.faults("send") > 10
    assert faults.faults("wait") > 0


@pytest.mark.parametrize("call", ["receive", "send"])
def test_short_batches_lose_nothing(
    start_relay: StartRelay, faults: Faults, rng: random.Random, call: str
) -> None:
    relay = start_relay("--metrics", "0", variables=faults.environment)
    a, b = relay.pair()
    faults.set(call, 1)
    for payload in _send_many(a, rng, 300):
        b.expect(payload)
    assert sum(_dropped(_counters(relay, 300)).values()) == 0


@pytest.mark.parametrize(
    "error",
    [errno.ENOMEM, errno.ENOBUFS, errno.ECONNREFUSED, errno.EIO, errno.ENETDOWN],
    ids=fault_names.name,
)
def test_a_receive_that_fails_is_told_once_and_is_no_busy_loop(
    start_relay: StartRelay, faults: Faults, rng: random.Random, error: int
) -> None:
    relay = start_relay("--metrics", "0", variables=faults.environment)
    a, b = relay.pair()
    faults.fail("receive", error)
    wait_until(lambda: faults.faults("receive") > 0, "the relay tries to receive")
    before, start = faults.calls("receive"), time.monotonic()
    sent = _send_many(a, rng, 50)
    time.sleep(IDLE_SECONDS)
    # 100 a second for each worker, whatever waits.
    rate = (faults.calls("receive") - before) / (time.monotonic() - start)
    assert rate < MOST_IDLE_CALLS, f"{rate} calls a second"
    faults.heal("receive")
    for payload in sent:
        b.expect(payload)
    _counters(relay, len(sent))
    wait_until(lambda: relay.events("receive_failed"), "it is told")
    told = relay.events("receive_failed")
    assert len(told) <= 12, told
    exchange(a, b, "afterwards")


def test_datagrams_whose_control_messages_were_cut_are_dropped_and_counted(
    start_relay: StartRelay, faults: Faults, rng: random.Random
) -> None:
    relay = start_relay("--metrics", "0", variables=faults.environment)
    a, b = relay.pair()
    faults.fail("cut", errno.EIO, chance=0.2)
    sent = _send_many(a, rng, 300)
    received = b.receive_all()
    faults.heal("cut")
    assert _is_part(received, sent)
    counters = _counters(relay, len(sent))
    assert _dropped(counters) == {"truncated": len(sent) - len(received)} != {"truncated": 0}
    exchange(a, b, "afterwards")


@pytest.mark.parametrize("error", [errno.EIO, errno.EINVAL], ids=fault_names.name)
def test_trains_that_are_refused_in_midst_are_sent_singly(
    start_relay: StartRelay, faults: Faults, rng: random.Random, error: int
) -> None:
    relay = start_relay("--metrics", "0", variables=faults.environment)
    a, b = relay.pair()

    def train() -> None:
        segments = [rng.randbytes(PAYLOAD_BYTES) for _ in range(8)]
        a.send_train(b"".join(segments), PAYLOAD_BYTES)
        for segment in segments:
            b.expect(segment)

    train()
    faults.fail("send", error, only="train")
    for _ in range(40):
        train()
    # Given up after so many in a row, and told once.
    assert 0 < faults.faults("send") <= 16 * 4
    wait_until(lambda: relay.events("offload_disabled"), "it is told")
    assert len(relay.events("offload_disabled")) <= 4
    faults.heal("send")
    train()
    assert sum(_dropped(_counters(relay, 41 * 8)).values()) == 0


@pytest.mark.parametrize("option", [socket.SO_RCVBUF, 33], ids=["RCVBUF", "RCVBUFFORCE"])
def test_a_receive_buffer_that_cannot_be_set_is_told(
    start_relay: StartRelay, faults: Faults, option: int
) -> None:
    faults.fail("setoption", errno.EPERM)
    faults.set("setoption", option)
    relay = start_relay(variables=faults.environment)
    a, b = relay.pair()
    exchange(a, b, "all the same")
    assert faults.faults("setoption") > 0 or option == socket.SO_RCVBUF


def test_an_option_that_forwarding_needs_ends_the_start(
    start_relay: StartRelay, faults: Faults
) -> None:
    faults.fail("setoption", errno.ENOPROTOOPT)
    faults.set("setoption", 13)  # IP_RECVTOS
    with pytest.raises(AssertionError, match="IP_RECVTOS.*Protocol not available"):
        start_relay(variables=faults.environment)


@pytest.mark.parametrize(
    "error", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM], ids=fault_names.name
)
def test_clients_that_cannot_be_accepted_come_in_later(
    start_relay: StartRelay, faults: Faults, tmp_path: Path, error: int
) -> None:
    relay = start_relay(
        "--metrics", "0", "--control", str(tmp_path / "control"), variables=faults.environment
    )
    a, b = relay.pair()
    address = metrics_address(relay)
    Commands(tmp_path / "control").value("status")
    faults.fail("accept", error)
    with socket.create_connection(address), socket.socket(socket.AF_UNIX) as control:
        control.connect(str(tmp_path / "control"))
        wait_until(lambda: faults.faults("accept") > 1, "both are tried")
        waits, accepts, start = faults.calls("wait"), faults.calls("accept"), time.monotonic()
        exchange(a, b, "meanwhile")
        time.sleep(IDLE_SECONDS)
        seconds = time.monotonic() - start
        assert (faults.calls("accept") - accepts) / seconds < MOST_IDLE_CALLS
        assert (faults.calls("wait") - waits) / seconds < MOST_IDLE_CALLS
    faults.heal("accept")
    assert ask(relay, "/healthz")[0] == 200
    Commands(tmp_path / "control").value("status")


# MARK: Files

FILE_FAULTS = [
    ("write", errno.ENOSPC),
    ("write", errno.EIO),
    ("write", errno.EDQUOT),
    ("open", errno.EMFILE),
    ("open", errno.ENOSPC),
    ("open", errno.EROFS),
]
FILE_FAULT_IDS = [f"{call}-{fault_names.name(error)}" for call, error in FILE_FAULTS]


def _sessions(tmp_path: Path) -> int:
    """Sessions in the state file, by its length."""
    return (tmp_path / "state" / "sessions.state").stat().st_size


@pytest.mark.parametrize(
    ("call", "error"),
    [*FILE_FAULTS, ("rename", errno.EIO)],
    ids=[*FILE_FAULT_IDS, "rename-EIO"],
)
def test_a_state_file_that_cannot_be_written_is_told_once_and_written_later(
    start_relay: StartRelay, faults: Faults, tmp_path: Path, call: str, error: int
) -> None:
    state = tmp_path / "state" / "sessions.state"
    relay = start_relay("--state-dir", str(tmp_path / "state"), variables=faults.environment)
    wait_until(state.exists, "the first one is written")
    good = state.read_bytes()
    faults.fail(call, error, only="sessions.state")
    a, b = relay.pair()
    wait_until(lambda: faults.faults(call) >= 3, "it is tried again and again")
    assert state.read_bytes()[:16] == good[:16], "the former one is still there"
    wait_until(lambda: relay.events("state_not_written"), "it is told")
    assert len(relay.events("state_not_written")) == 1
    assert not state.with_name("sessions.state.new").exists()
    exchange(a, b, "meanwhile")
    faults.heal(call)
    wait_until(lambda: relay.events("state_written"), "it is told that it works again")
    assert len(state.read_bytes()) > len(good), "with both sessions"
    # What was written is good: another relay goes on with it.
    relay.kill()
    relay.start_again()
    wait_until(lambda: relay.events("sessions_restored"), "it is told")


@pytest.mark.parametrize(("call", "error"), FILE_FAULTS, ids=FILE_FAULT_IDS)
def test_records_that_cannot_be_written_are_kept_and_told_once(
    start_relay: StartRelay, faults: Faults, tmp_path: Path, call: str, error: int
) -> None:
    log, control = tmp_path / "sessions.log", tmp_path / "control"
    relay = start_relay(
        *("--metrics", "0", "--session-log", str(log), "--control", str(control)),
        variables=faults.environment,
    )
    ids = [relay.new_session() for _ in range(20)]
    for number, session in enumerate(ids):
        relay.peer(f"127.0.1.{number + 1}").register(session)
    faults.fail(call, error, only="sessions.log")
    if call == "open":
        log.rename(log.with_suffix(".old"))
        relay.process.send_signal(1)
    Commands(control).run("evict", *map(str, ids), "--yes")
    written = "quic_relay_session_records_written_total"
    if call == "write":
        wait_until(lambda: relay.events("session_log_failed"), "it is told")
        wait_until(lambda: faults.faults("write") >= 3, "it is tried again")
        before, start = faults.calls("write"), time.monotonic()
        time.sleep(IDLE_SECONDS)
        assert (faults.calls("write") - before) / (time.monotonic() - start) < 20
        assert len(relay.events("session_log_failed")) == 1
        assert scrape(relay)[written] == 0
    faults.heal(call)
    wait_until(lambda: scrape(relay)[written] >= 20, "all are written")
    assert scrape(relay)["quic_relay_session_records_lost_total"] == 0


@pytest.mark.parametrize(
    ("call", "error"),
    [*FILE_FAULTS, ("rename", errno.EIO), ("sync", errno.EIO)],
    ids=[*FILE_FAULT_IDS, "rename-EIO", "sync-EIO"],
)
def test_a_budget_that_cannot_be_saved_is_told_once_and_saved_at_the_end(
    start_relay: StartRelay, faults: Faults, tmp_path: Path, call: str, error: int
) -> None:
    budget = tmp_path / "state" / "budget.json"
    options = ("--state-dir", str(tmp_path / "state"), "--monthly-budget-bytes", "1G")
    relay = start_relay(*options, variables=faults.environment)
    faults.fail(call, error, only="budget.json")
    relay.pair()
    wait_until(lambda: relay.events("budget_not_saved"), "it is told")
    # What was saved before, if anything was, is whole; and saved again at the end.
    if budget.exists():
        json.loads(budget.read_bytes())
        budget.unlink()
    faults.heal(call)
    relay.stop()
    json.loads(budget.read_bytes())
    assert len(relay.events("budget_not_saved")) == 1


@pytest.mark.parametrize("error", [errno.EMFILE, errno.EIO, errno.ENOMEM], ids=fault_names.name)
def test_a_month_that_cannot_be_read_is_not_forgotten(
    start_relay: StartRelay, faults: Faults, tmp_path: Path, error: int
) -> None:
    budget = tmp_path / "state" / "budget.json"
    options = ("--state-dir", str(tmp_path / "state"), "--monthly-budget-bytes", "1G")
    relay = start_relay(*options)
    relay.pair()
    relay.stop()
    kept = budget.read_bytes()
    faults.fail("open", error, only="budget.json")
    with pytest.raises(AssertionError, match="budget.json"):
        start_relay(*options, variables=faults.environment)
    assert budget.read_bytes() == kept
    assert not budget.with_name("budget.json.unusable").exists()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=fault_names.name)
def test_a_log_that_cannot_be_written_holds_nothing_up(
    start_relay: StartRelay, faults: Faults, rng: random.Random, error: int
) -> None:
    relay = start_relay("--log-level", "debug", variables=faults.environment)
    a, b = relay.pair()
    faults.fail("write", error, only="standard output")
    for number in range(30):
        relay.peer(f"127.0.1.{number + 1}").register(relay.new_session())
    for payload in _send_many(a, rng, 100):
        b.expect(payload)
    wait_until(lambda: faults.faults("write") >= 30, "lines were lost")
    faults.heal("write")
    attempts = faults.faults("write")
    relay.peer("127.0.2.1").register(relay.new_session())
    wait_until(lambda: relay.events("log_lines_lost"), "it is told how many are missing")
    (told,) = relay.events("log_lines_lost")
    # One for each line, and before all but the first one for telling that there were others.
    assert attempts == 2 * int(told.fields["count"]) - 1


def test_everything_at_once(
    start_relay: StartRelay, faults: Faults, rng: random.Random, tmp_path: Path
) -> None:
    """Calls that fail at random for a while, and a relay that is as good as new afterwards."""
    options = ("--state-dir", str(tmp_path / "state"), "--session-log", str(tmp_path / "log"))
    relay = start_relay("--metrics", "0", *options, variables=faults.environment)
    a, b = relay.pair()
    errors = [errno.EAGAIN, errno.ENOBUFS, errno.EPERM, errno.EINVAL, errno.ENOMEM, errno.EINTR]
    calls = ["receive", "cut", "send", "wait", "accept", "open", "read", "write", "rename"]
    sent, received = [], []
    for _ in range(60):
        call = rng.choice(calls)
        if call == "receive":
            error = rng.choice([errno.EAGAIN, errno.EINTR, errno.ENOMEM])
        else:
            error = rng.choice(errors)
        files = call in ("open", "read", "write", "rename")
        faults.fail(call, error, chance=rng.random(), only=str(tmp_path) if files else "")
        sent += _send_many(a, rng, 20)
        received += b.receive_all(0.02)
        if rng.random() < 0.3:
            faults.heal(rng.choice(calls))
    for call in calls:
        faults.heal(call)
    received += b.receive_all()
    assert set(received) <= set(sent)
    for payload in _send_many(a, rng, 200):
        b.expect(payload)
    _counters(relay, len(sent))
    assert relay.process.poll() is None
    newcomer = relay.peer("127.0.0.9")
    newcomer.send(registration(relay.new_session()))
    newcomer.expect(ACK)
