"""The commands for scripts, on a relay that real peers use."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import Commands, TerminalCommand, environment
from peers import Peer, exchange, registration
from relay_process import Relay, StartRelay, relay_binary
from waiting import wait_until

HOST_A, HOST_B, HOST_C, HOST_D = "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"
FIRST = "0d5a2f0e-6c1b-4d7e-9f39-5a1c37ad5b10"
# It begins like the first.
SECOND = "0d5a2f0f-6c1b-4d7e-9f39-5a1c37ad5b10"
THIRD = "bbbbbbbb-0000-4000-8000-000000000003"

Serve = Callable[..., tuple[Relay, Commands]]


@pytest.fixture
def serve(start_relay: StartRelay, tmp_path: Path) -> Serve:
    """Starts a relay with a control socket, and hands out the commands on it."""

    def start(*arguments: str) -> tuple[Relay, Commands]:
        control = tmp_path / "control.sock"
        relay = start_relay("--control", str(control), *arguments)
        wait_until(control.exists, "the control socket")
        return relay, Commands(control)

    return start


def _pair(relay: Relay, session: str, *hosts: str) -> tuple[Peer, Peer]:
    """Two peers that have exchanged 5 datagrams of 100 bytes each way."""
    a, b = (relay.peer(host) for host in hosts)
    for peer in (a, b):
        peer.register(session)
    for number in range(5):
        for sender, receiver in ((a, b), (b, a)):
            payload = bytes([number]) * 100
            sender.send(payload)
            receiver.expect(payload)
    return a, b


def test_status_tells_what_was_sent(serve: Serve) -> None:
    relay, commands = serve("--log-level", "notice", "--session-limit", "50")
    _pair(relay, FIRST, HOST_A, HOST_B)
    stranger = relay.peer(HOST_D)
    for _ in range(3):
        stranger.send(b"nobody's")
    status = commands.value("status")
    assert status["pid"] == relay.process.pid
    assert status["socket"]["address"] == f"127.0.0.1:{relay.address.port}"
    totals = status["totals"]
    # The fixture's own registration waits in a session of its own.
    assert (totals["sessions_paired"], totals["sessions_waiting"]) == (1, 1)
    assert totals["forwarded_datagrams"] == 10
    assert totals["forwarded_bytes"] == 1_000
    assert totals["drops"]["unknown_source"]["datagrams"] == 3
    assert totals["log_level"] == "notice"
    assert totals["session_limit"] == 50
    lines = commands.lines("status")
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    address = f"127.0.0.1:{relay.address.port}"
    assert lines[0].startswith(f"relay      {address}  version ")
    assert lines[0].endswith(f"  pid {relay.process.pid}")
    assert re.match(r"state +serving  up \S+  log notice  offload on  receive buffer ", lines[1])
    assert re.search(r"^sessions +paired 1  waiting 1  evicted 0  limit 50$", text, re.M)
    assert re.search(r"^forwarded +10 +1000 ", text, re.M)
    assert re.search(r"^ +3  unknown_source$", text, re.M)
    assert "\x1b" not in text
    assert commands.lines("status", "--once")[0].split()[:2] == lines[0].split()[:2]


def test_status_tells_what_was_taken_over(serve: Serve, tmp_path: Path) -> None:
    """From the relay before, which has left two sessions."""
    state = ("--state-dir", str(tmp_path / "state"))
    (tmp_path / "state").mkdir()
    before, commands = serve(*state)
    assert commands.value("status")["restored_sessions"] == 0
    for _ in range(2):
        before.pair("127.0.0.2", "127.0.0.3")
    sessions = commands.value("status")["totals"]["sessions_paired"]
    waiting = commands.value("status")["totals"]["sessions_waiting"]
    assert sessions == 2
    before.stop()
    _, commands = serve(*state)
    assert commands.value("status")["restored_sessions"] == sessions + waiting
    assert f"went on with {sessions + waiting} sessions" in "\n".join(commands.lines("status"))


def test_sessions_can_be_read_by_programs(serve: Serve) -> None:
    relay, commands = serve()
    a, b = _pair(relay, FIRST, HOST_A, HOST_B)
    _pair(relay, SECOND, HOST_C, HOST_D)
    sessions = {session["id"]: session for session in commands.values("sessions")}
    assert len(sessions) == 3
    session = sessions[FIRST]
    assert session["state"] == "paired"
    assert session["a"]["address"] == f"{HOST_A}:{a.port}"
    assert session["b"]["address"] == f"{HOST_B}:{b.port}"
    assert session["a"]["sent_datagrams"] == session["b"]["sent_datagrams"] == 5
    assert session["a"]["sent_bytes"] == 500
    # In a pipe: columns without blanks in them, ids in full.
    header, *rows = commands.lines("sessions", "--sort", "id")
    names = header.split()
    assert names[:3] == ["ID", "A", "B"]
    cells = [dict(zip(names, row.split(), strict=True)) for row in rows]
    assert [cell["ID"] for cell in cells] == sorted(sessions)
    (row,) = (cell for cell in cells if cell["ID"] == FIRST)
    assert row["A"] == f"{HOST_A}:{a.port}"
    assert row["BYTES"] == "1000"


def test_sessions_are_sorted_and_filtered(serve: Serve) -> None:
    relay, commands = serve()
    _pair(relay, FIRST, HOST_A, HOST_B)
    a, b = _pair(relay, SECOND, HOST_C, HOST_D)
    exchange(a, b, "more")

    def ids(*words: str) -> list[str]:
        return [session["id"] for session in commands.values("sessions", *words)]

    assert ids("--sort", "bytes:desc", "--limit", "2") == [SECOND, FIRST]
    assert ids("--sort=bytes:asc", "--filter", "state:paired") == [FIRST, SECOND]
    assert ids("--filter", f"peer:{HOST_C}") == [SECOND]
    assert ids("--limit", "0") == []
    assert commands.run("sessions", "--filter", "why:mute", code=1).stdout.count("\n") == 1
    assert commands.values("sessions", "--filter", "why:mute", code=1) == []
    for words, allowed in (
        (("--sort", "size"), "rate-ab"),
        (("--sort", "id:down"), ":desc"),
        (("--filter", "why:nothing"), "not_quic"),
        (("--limit=-1",), "0 to"),
        (("--window", "3"), "2, 10 or 60"),
    ):
        assert allowed in commands.run("sessions", *words, code=64).stderr


@pytest.mark.parametrize("columns", [40, 80, 120, 200])
def test_sessions_fit_the_terminal(serve: Serve, columns: int) -> None:
    relay, commands = serve()
    _pair(relay, FIRST, HOST_A, HOST_B)
    command = TerminalCommand(commands.arguments("sessions"), columns)
    code, lines = command.end()
    assert code == 0
    plain = [re.sub(r"\x1b\[\d+m", "", line) for line in lines]
    assert all(len(line) <= columns for line in plain)
    assert plain[0].startswith("SESSION")
    assert any(line.startswith(FIRST[:8]) for line in plain)
    assert FIRST not in command.text
    assert plain[-1] == "2 sessions"
    assert ("PEER A" in plain[0]) == (columns >= 80)
    # What runs in a part of a terminal is told how wide that is, as watch(1) does.
    for line in commands.lines("sessions", COLUMNS=str(columns)):
        assert len(line) <= columns


def test_colours_only_where_somebody_sees_them(serve: Serve) -> None:
    _, commands = serve()
    words = commands.arguments("status")
    assert "\x1b[32mserving" in TerminalCommand(words, 80).end()[1][1]
    assert "\x1b" not in "".join(TerminalCommand(words, 80, NO_COLOR="1").end()[1])
    assert "\x1b" not in commands.run("status").stdout
    ascii_only = TerminalCommand(commands.arguments("sessions"), 120, LC_ALL="C")
    assert all(line.isascii() for line in ascii_only.end()[1])


def test_events_are_the_logs_lines(serve: Serve) -> None:
    relay, commands = serve()
    _pair(relay, FIRST, HOST_A, HOST_B)
    wait_until(lambda: relay.events("session_paired", FIRST), "the log's line")
    lines = commands.lines("events")
    (logged,) = (line for line in relay.output().splitlines() if "session_paired" in line)
    (told,) = (line for line in lines if "session_paired" in line)
    # The log's time is when the line was written, the event's when it happened.
    assert told.split(" ", 1)[1] == logged.split(" ", 1)[1]
    assert abs(_seconds(told) - _seconds(logged)) < 60
    values = commands.values("events", "--session", FIRST[:8])
    assert [value["event"] for value in values] == ["session_opened", "session_paired"]
    assert {value["session"] for value in values} == {FIRST}
    assert commands.lines("events", "--limit", "1") == [lines[-1]]
    assert commands.lines("events", "--since", "1h") == lines
    assert commands.lines("events", "--since", "2000-01-01T00:00:00Z") == lines
    assert commands.run("events", "--since", "2200-01-01T00:00", code=1).stdout == ""
    assert commands.lines("events", "--level", "error") == []
    debug = commands.values("events", "--level", "debug")
    assert "peer_validated" in {value["event"] for value in debug}
    assert "10m" in commands.run("events", "--since", "yesterday", code=64).stderr


def _seconds(line: str) -> float:
    hours, minutes, seconds = line[11:23].split(":")
    return int(hours) * 3_600 + int(minutes) * 60 + float(seconds)


def test_followed_events_come_and_end_with_the_relay(serve: Serve) -> None:
    relay, commands = serve()
    _pair(relay, FIRST, HOST_A, HOST_B)
    with subprocess.Popen(
        commands.arguments("events", "--follow", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        names = []
        while "session_paired" not in names:
            names.append(json.loads(following.stdout.readline())["event"])
        relay.peer(HOST_C).register(THIRD)
        event = json.loads(following.stdout.readline())
        assert (event["event"], event["session"]) == ("session_opened", THIRD)
        relay.kill()
        assert following.stderr.read().startswith("quic-relay: ")
        assert following.wait(60) == 69


def test_evicted_sessions_are_refused_and_come_back(serve: Serve) -> None:
    relay, commands = serve()
    a, b = _pair(relay, FIRST, HOST_A, HOST_B)
    _pair(relay, SECOND, HOST_C, HOST_D)
    refused = commands.run("evict", FIRST, code=64)
    assert "--yes" in refused.stderr
    several = commands.run("evict", FIRST[:4], "--yes", code=64)
    assert FIRST in several.stderr
    assert SECOND in several.stderr
    assert "no session" in commands.run("evict", "ffff", "--yes", code=1).stderr
    exchange(a, b, "still there")
    assert commands.lines("evict", FIRST[:8], "--yes") == [f"evicted {FIRST}"]
    a.send(b"dropped")
    b.expect_silence()
    a.send(registration(FIRST))
    a.expect_silence()
    (evicted,) = (s for s in commands.values("sessions", "--evicted") if s["state"] == "evicted")
    assert evicted["id"] == FIRST
    assert FIRST not in commands.run("sessions").stdout
    assert commands.run("evict", FIRST, "--yes", code=1)
    (outcome,) = commands.values("undo-evict", FIRST[:8])
    assert outcome == {"done": True, "id": FIRST, "session": FIRST}
    exchange(a, b, "restored")
    assert "no evicted session" in commands.run("undo-evict", FIRST, code=1).stderr


def test_all_sessions_of_a_peer_are_evicted(serve: Serve) -> None:
    relay, commands = serve()
    _pair(relay, FIRST, HOST_A, HOST_B)
    _pair(relay, SECOND, HOST_A, HOST_C)
    # An address that the other one begins.
    _pair(relay, THIRD, "127.0.0.20", HOST_D)
    assert commands.run("evict", "--peer", "127.0.0.99", "--yes", code=1).stdout == ""
    outcomes = commands.values("evict", "--peer", HOST_A, "--yes")
    assert {outcome["id"] for outcome in outcomes} == {FIRST, SECOND}
    assert all(outcome["done"] for outcome in outcomes)
    (left,) = commands.values("sessions", "--filter", "state:paired")
    assert left["id"] == THIRD
    for words in ((), ("--peer", "127.0.0"), ("xyz",), (FIRST, "--peer", HOST_A)):
        commands.run("evict", *words, "--yes", code=64)


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("yes", 0), ("n", 1), ("", 1)])
def test_eviction_asks_on_a_terminal(serve: Serve, answer: str, code: int) -> None:
    relay, commands = serve()
    a, _ = _pair(relay, FIRST, HOST_A, HOST_B)
    command = TerminalCommand(commands.arguments("evict", FIRST[:8]), 80)
    command.read_until("Evict this session? [y/N] ")
    assert FIRST in command.text
    assert f"{HOST_A}:{a.port}" in command.text
    command.type(answer + "\n")
    ended, lines = command.end()
    assert ended == code
    assert (f"evicted {FIRST}" in lines) == (code == 0)
    assert ("nothing was evicted" in lines) == (code == 1)
    assert len(commands.values("sessions", "--filter", "state:paired", code=code ^ 1)) == code


def test_the_log_level_changes_for_a_while(serve: Serve) -> None:
    relay, commands = serve()
    assert commands.lines("log-level") == ["info"]
    assert commands.value("log-level") == {"log_level": "info"}
    assert commands.value("log-level", "debug") == {"from": "info", "to": "debug"}
    assert commands.lines("log-level") == ["debug"]
    assert commands.lines("log-level", "trace", "--for", "1") == [
        "log level trace, for 1 s, before debug"
    ]
    wait_until(lambda: len(relay.events("log_level_changed")) == 3, "the level before")
    assert commands.lines("log-level") == ["debug"]
    assert "error, warning" in commands.run("log-level", "loud", code=64).stderr
    commands.run("log-level", "--for", "3", code=64)


def test_a_draining_relay_goes_on(serve: Serve) -> None:
    relay, commands = serve()
    a, b = _pair(relay, FIRST, HOST_A, HOST_B)
    # The fixture's own registration waits, too.
    assert commands.lines("drain") == ["draining: 2 sessions go on"]
    assert commands.value("drain")["state"] == "draining"
    newcomer = relay.peer(HOST_C)
    newcomer.send(registration(SECOND))
    newcomer.expect_silence()
    exchange(a, b, "while draining")
    assert "no new sessions" in commands.lines("status")[-1]


def test_reload_says_what_came_of_it(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    file.write_text("session-timeout-secs = 300\n")
    _, commands = serve("--config", str(file))
    file.write_text("session-timeout-secs = 200\nsession-limit = 7\n")
    assert commands.lines("reload") == [
        "notice setting_changed setting=session-timeout-secs from=300 to=200",
        "warning setting_needs_restart setting=session-limit from=10000 to=7",
        f"notice configuration_reloaded changed=1 file={file} need_restart=1",
    ]
    limits = commands.value("status")["limits"]
    assert (limits["session-timeout-secs"], limits["session-limit"]) == (200, 10_000)
    file.write_text("session-timeout-secs = 0\n")
    (line,) = commands.values("reload", code=78)
    assert line["event"] == "configuration_refused"
    assert f"{file}:1: " in line["fields"]["reason"]
    assert commands.value("status")["limits"]["session-timeout-secs"] == 200


def test_a_socket_for_looking_takes_no_commands(start_relay: StartRelay, tmp_path: Path) -> None:
    read_only = tmp_path / "look.sock"
    control = tmp_path / "control.sock"
    relay = start_relay("--control", str(control), "--control-read-only", str(read_only))
    wait_until(read_only.exists, "the socket")
    _pair(relay, FIRST, HOST_A, HOST_B)
    commands = Commands(read_only)
    assert commands.value("status")["totals"]["sessions_paired"] == 1
    assert len(commands.values("sessions")) == 2
    for words in (
        ("evict", FIRST[:8], "--yes"),
        ("undo-evict", FIRST),
        ("log-level", "debug"),
        ("drain",),
        ("reload",),
    ):
        assert "looking only" in commands.run(*words, code=77).stderr
    assert commands.lines("log-level") == ["info"]


ALL_COMMANDS = [
    ("status",),
    ("sessions",),
    ("events", "--follow"),
    ("evict", FIRST, "--yes"),
    ("undo-evict", FIRST),
    ("log-level",),
    ("drain",),
    ("reload",),
]


@pytest.mark.parametrize("words", ALL_COMMANDS)
def test_without_a_relay_there_is_a_line_and_a_code(tmp_path: Path, words: tuple[str, ...]) -> None:
    commands = Commands(tmp_path / "none.sock")
    for more in ((), ("--json",)):
        result = commands.run(*words, *more, code=69)
        assert result.stdout == ""
        assert result.stderr.count("\n") == 1
        assert str(commands.control) in result.stderr


@pytest.mark.parametrize("words", ALL_COMMANDS)
def test_a_relay_that_goes_away_is_noticed(serve: Serve, words: tuple[str, ...]) -> None:
    relay, commands = serve()
    _pair(relay, FIRST, HOST_A, HOST_B)
    # Stopped, it takes connections and answers nothing.
    relay.process.send_signal(signal.SIGSTOP)
    with subprocess.Popen(
        commands.arguments(*words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as waiting:
        wait_until(lambda: _is_connected(waiting.pid), "the connection")
        relay.kill()
        output, errors = waiting.communicate(timeout=60)
        assert waiting.returncode == 69
        assert output == ""
        assert errors.startswith("quic-relay: ")
        assert errors.count("\n") == 1


def _is_connected(process: int) -> bool:
    folder = f"/proc/{process}/fd"
    try:
        return any(os.readlink(f"{folder}/{n}").startswith("socket:") for n in os.listdir(folder))
    except FileNotFoundError:
        return False


def test_commands_stand_well_in_pipelines(serve: Serve) -> None:
    relay, commands = serve()
    peers = [relay.peer(HOST_A) for _ in range(600)]
    for number, peer in enumerate(peers):
        peer.register(f"{number:08x}-0000-4000-8000-000000000000")
    script = " ".join(f"'{word}'" for word in commands.arguments("sessions"))
    for pipeline, expected in (
        (f"{script} | head -n 3 | wc -l", "3"),
        (f"{script} --json | head -n 1 | wc -l", "1"),
        (f"{script} --json | wc -l", "601"),
        (f"set -o pipefail; {script} | head -n 1 > /dev/null; echo $?", "0"),
        (f"{script} > /dev/full; echo $?", "74"),
    ):
        result = subprocess.run(
            ["bash", "-c", pipeline],
            capture_output=True,
            text=True,
            env=environment(),
            timeout=60,
            check=False,
        )
        assert result.stdout.split() == [expected], f"{pipeline}: {result}"


def test_a_slow_reader_gets_everything(serve: Serve) -> None:
    relay, commands = serve()
    peers = [relay.peer(HOST_A) for _ in range(400)]
    for number, peer in enumerate(peers):
        peer.register(f"{number:08x}-0000-4000-8000-000000000000")
    reading, writing = os.pipe()
    with subprocess.Popen(
        commands.arguments("sessions", "--json"), stdout=writing, env=environment()
    ) as command:
        os.close(writing)
        # It waits for us, with a pipe that is full, for as long as it takes.
        wait_until(lambda: _state(command.pid) == "S", "it to wait")
        relay.peer(HOST_B).register(FIRST)
        with os.fdopen(reading) as lines:
            assert len([json.loads(line) for line in lines]) == 401
        assert command.wait(60) == 0


def _state(process: int) -> str:
    return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_the_only_relay_here_is_found(tmp_path: Path, start_relay: StartRelay) -> None:
    if any(Path("/run/quic-relay").glob("control*.sock")):
        pytest.skip("this machine has relays of its own")
    runtime = tmp_path / "runtime"
    (runtime / "quic-relay").mkdir(parents=True)
    start_relay("--control", str(runtime / "quic-relay" / "control.sock"))
    result = subprocess.run(
        [str(relay_binary()), "status", "--json"],
        capture_output=True,
        text=True,
        env=environment(XDG_RUNTIME_DIR=str(runtime)),
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result
    assert json.loads(result.stdout)["totals"]["state"] == "serving"


def test_ids_are_completed(serve: Serve) -> None:
    relay, commands = serve()
    _pair(relay, FIRST, HOST_A, HOST_B)
    _pair(relay, THIRD, HOST_C, HOST_D)

    def completions(command: str, word: str) -> list[str]:
        # What the scripts that the program generates for shells run.
        result = subprocess.run(
            [str(relay_binary()), "---completion", command, "--", "positional@0", "2", "0"]
            + ["quic-relay", command, word],
            capture_output=True,
            text=True,
            env=environment(QUIC_RELAY_CONTROL=str(commands.control)),
            timeout=60,
            check=False,
        )
        return result.stdout.split()

    assert {FIRST, THIRD} <= set(completions("evict", ""))
    assert completions("undo-evict", "") == []
    commands.run("evict", FIRST, "--yes")
    assert completions("undo-evict", "") == [FIRST]
    assert FIRST not in completions("evict", "")


def test_many_commands_at_once_do_no_harm(serve: Serve) -> None:
    relay, commands = serve()
    a, b = _pair(relay, FIRST, HOST_A, HOST_B)
    failures: list[BaseException] = []

    def look() -> None:
        try:
            for _ in range(5):
                commands.value("status")
                commands.values("sessions")
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(200):
        exchange(a, b, f"meanwhile {number}")
    for thread in threads:
        thread.join(120)
    assert not failures
