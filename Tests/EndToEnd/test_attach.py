"""A dashboard attached to a relay in another process: what differs from one in the same process.

Everything else that a dashboard does is tested both ways (the fixture `dashboard`).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from dashboard import DashboardRelay, StartDashboard
from peers import exchange
from relay_log import parse, short
from relay_process import neutral_environment, relay_binary
from tmux import Tmux
from waiting import wait_until

HOST_A, HOST_B = "127.0.0.2", "127.0.0.3"
EX_USAGE, EX_UNAVAILABLE, EX_NOPERM = 64, 69, 77


def test_header_says_that_it_is_attached(attached_dashboard: DashboardRelay) -> None:
    screen = attached_dashboard.screen()
    assert screen.rows[0].text.startswith(
        f"attached to 127.0.0.1:{attached_dashboard.address.port} "
    )


@pytest.mark.parametrize("key", ["q", "C-c"])
def test_leaving_leaves_the_relay(attached_dashboard: DashboardRelay, key: str) -> None:
    _, a, b = attached_dashboard.show(HOST_A, HOST_B)
    attached_dashboard.press(key)
    assert attached_dashboard.wait_for_end() == 0
    exchange(a, b, "goes on")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_the_dashboard_alone(
    attached_dashboard: DashboardRelay, number: signal.Signals
) -> None:
    _, a, b = attached_dashboard.show(HOST_A, HOST_B)
    attached_dashboard.signal(number)
    assert attached_dashboard.wait_for_end() == 0
    exchange(a, b, "goes on")


def test_relay_outlives_the_terminal(attached_dashboard: DashboardRelay) -> None:
    _, a, b = attached_dashboard.show(HOST_A, HOST_B)
    attached_dashboard.terminal.hang_up()
    wait_until(lambda: not attached_dashboard.is_running(), "the end of the dashboard")
    exchange(a, b, "goes on")


def test_suspending_and_going_on(start_dashboard: StartDashboard) -> None:
    dashboard = start_dashboard(attached=True, direct=True)
    dashboard.wait_for_dashboard()
    session, a, b = dashboard.show(HOST_A, HOST_B)
    for _ in range(2):
        dashboard.press("C-z")
        dashboard.wait(lambda s: "Stopped" in s, "the shell's word about it")
        exchange(a, b, "meanwhile")
        dashboard.type("clear; fg")
        dashboard.press("Enter")
        dashboard.wait(lambda s: s.has_dashboard and s.has(session), "the dashboard again")
    dashboard.press("Enter")
    dashboard.wait(lambda s: s.detail == short(session), "the detail")


def test_relay_that_is_killed_and_started_again(attached_dashboard: DashboardRelay) -> None:
    relay = attached_dashboard.headless
    assert relay
    session, *_ = attached_dashboard.show(HOST_A, HOST_B)
    attached_dashboard.press("/")
    attached_dashboard.type("127.0.0")
    attached_dashboard.press("Enter")
    before = attached_dashboard.wait(lambda s: "filter 127.0.0" in s, "the filter")
    relay.kill()
    gone = attached_dashboard.wait_for_text("relay gone", "reconnecting")
    # What was seen last stays.
    assert gone.sessions == before.sessions == [short(session)]
    attached_dashboard.wait(lambda s: re.search("relay gone [1-9]", s.header), "its age")
    attached_dashboard.press("x")
    attached_dashboard.wait(lambda s: s.dialog, "the question")
    attached_dashboard.press("y")
    attached_dashboard.wait(lambda s: "no more commands" in s.message, "that it cannot be")
    relay.start_again()
    back = attached_dashboard.wait_for_text("started anew")
    assert "relay gone" not in back
    again, *_ = attached_dashboard.show("127.0.0.4", "127.0.0.5")
    screen = attached_dashboard.wait(lambda s: "filter 127.0.0" in s, "the filter, which stays")
    assert screen.has(again) and not screen.has(session)
    # The events of both are there, in order.
    attached_dashboard.press("3")
    attached_dashboard.wait(
        lambda s: s.row_with(short(session)) and s.row_with(short(again)), "events of both"
    )


def test_relay_that_does_not_answer(attached_dashboard: DashboardRelay) -> None:
    relay = attached_dashboard.headless
    assert relay
    relay.process.send_signal(signal.SIGSTOP)
    try:
        attached_dashboard.wait_for_text("relay silent")
        attached_dashboard.press("?")
        attached_dashboard.wait_for_text("Keys on the screen")
    finally:
        relay.process.send_signal(signal.SIGCONT)
    attached_dashboard.wait(lambda s: "relay silent" not in s, "the relay again")


def test_two_with_views_of_their_own(
    attached_dashboard: DashboardRelay, tmp_path: Path
) -> None:
    relay = attached_dashboard.headless
    assert relay
    session, a, b = attached_dashboard.show(HOST_A, HOST_B)
    other = attached_dashboard.new_session()
    attached_dashboard.peer("127.0.9.9").register(other)
    directory = tmp_path / "second"
    directory.mkdir()
    second = Tmux(directory, 100, 30)
    try:
        second.type(f"TERM=screen-256color {relay_binary()} attach --control {relay.control}")
        second.press("Enter")
        wait_until(lambda: "attached to" in second.capture().text, "the second dashboard")
        attached_dashboard.wait_for_sessions(session, other)
        second.press("/")
        second.type("127.0.9")
        second.press("Enter")
        wait_until(
            lambda: (
                short(other) in second.capture().text and short(session) not in second.capture().text
            ),
            "one session in the second",
        )
        attached_dashboard.press("Space")
        paused = attached_dashboard.wait(lambda s: s.badge, "the badge")
        # What one does, the other sees.
        second.press("x")
        wait_until(lambda: "Evict session" in second.capture().text, "the question")
        second.press("y")
        wait_until(lambda: "evicted" in second.capture().text, "the eviction")
        assert attached_dashboard.screen().sessions == paused.sessions
        attached_dashboard.press("Space")
        attached_dashboard.wait(lambda s: s.sessions == [short(session)], "the other one alone")
        exchange(a, b, "undisturbed")
    finally:
        second.end()


def test_rows_of_a_paused_picture_while_another_looks(
    start_dashboard: StartDashboard, tmp_path: Path
) -> None:
    dashboard = start_dashboard(attached=True, rows=16)
    dashboard.wait_for_dashboard()
    relay = dashboard.headless
    assert relay
    for _ in range(60):
        dashboard.peer(HOST_A).register(dashboard.new_session())
    dashboard.wait(lambda s: s.count("waiting") == 60 and s.sessions, "all sessions")
    directory = tmp_path / "second"
    directory.mkdir()
    second = Tmux(directory, 100, 30)
    try:
        second.type(f"TERM=screen-256color {relay_binary()} attach --control {relay.control}")
        second.press("Enter")
        wait_until(lambda: "60 " in second.capture().text, "the second dashboard")
        dashboard.press("Space")
        dashboard.wait(lambda s: s.badge, "the badge")
        dashboard.press("G")
        last = dashboard.wait(lambda s: "60 of 60" in s and s.selected, "the last row")
        assert last.selected == last.sessions[-1]
    finally:
        second.end()


@pytest.mark.parametrize("is_socket", [False, True], ids=["option", "socket"])
def test_looking_only(start_dashboard: StartDashboard, is_socket: bool) -> None:
    if is_socket:
        dashboard = start_dashboard(attached=True, read_only_socket=True)
    else:
        dashboard = start_dashboard(attached=True, options=["--read-only"])
    dashboard.wait_for_dashboard()
    session, a, b = dashboard.show(HOST_A, HOST_B)
    assert "Evict" not in dashboard.screen().keys
    assert "Detail" in dashboard.screen().keys
    for key in ("x", "u", "l", "L"):
        dashboard.press("Escape")
        dashboard.press(key)
        screen = dashboard.wait(lambda s: "read only" in s.message, "that it looks only")
        assert not screen.dialog
        # The next key's message must be another one.
        dashboard.press("b")
        dashboard.press("s")
        dashboard.wait(lambda s: "read only" not in s.message, "no message")
    exchange(a, b, "undisturbed")
    assert dashboard.headless
    names = [event.name for event in parse(dashboard.headless.log.read_text())]
    assert "log_level_changed" not in names


# Where there is nothing to attach to


def _attach(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(relay_binary()), "attach", *arguments],
        env=neutral_environment() | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_a_terminal_it_says_so() -> None:
    done = _attach("--control", "/nonexistent")
    assert done.returncode == EX_USAGE
    assert done.stdout == ""
    assert done.stderr == "quic-relay: no dashboard: standard output is not a terminal\n"


def test_without_a_relay_it_says_so(start_dashboard: StartDashboard, tmp_path: Path) -> None:
    path = tmp_path / "none.sock"
    dashboard = start_dashboard(command=["attach", "--control", str(path)])
    assert dashboard.wait_for_end() == EX_UNAVAILABLE
    assert f"no relay at {path}" in dashboard.screen().text.replace("\n", "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_is_told_so(attached_dashboard: DashboardRelay) -> None:
    relay = attached_dashboard.headless
    assert relay
    done = subprocess.run(
        [str(relay_binary()), "attach", "--control", relay.control],
        env=neutral_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        user=65534,
    )
    assert done.returncode in (EX_USAGE, EX_NOPERM)
