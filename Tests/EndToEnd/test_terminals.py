"""Terminals of all kinds and sizes, and what is left of them when the dashboard is gone."""

from __future__ import annotations

import re
import signal
import uuid
from collections.abc import Callable

import pytest

from dashboard import DashboardRelay, StartDashboard
from dashboard_screen import Screen
from peers import Peer, exchange, registration
from relay_log import short
from waiting import wait_until

HOST_A, HOST_B = "127.0.0.2", "127.0.0.3"


@pytest.fixture
def dashboard(own_dashboard: DashboardRelay) -> DashboardRelay:
    """One process is enough for terminals; test_attach.py has what differs with two."""
    return own_dashboard


# Sizes


def test_each_size_shows_what_it_has_room_for(dashboard: DashboardRelay) -> None:
    session, a, b = dashboard.show(HOST_A, HOST_B)
    complete = dashboard.screen().titles
    assert len(complete) == 12
    for columns, rows in ((100, 30), (80, 24), (60, 15), (40, 8)):
        screen = _resize(dashboard, columns, rows, lambda s: s.keys and s.has(session))
        # Columns go by their importance, and none of those that are left is cut.
        assert set(screen.titles) < set(complete), (columns, rows)
        assert "SESSION" in screen.titles
        assert screen.selected == short(session)
        assert not re.search("[…~]", screen.heading)
        if columns >= 60:
            assert {"WHY", "A→B", "B→A"} <= set(screen.titles)
        if columns >= 80:
            assert "Quit" in screen.keys and "Help" in screen.keys
    for columns, rows in ((39, 7), (30, 8), (120, 3), (10, 2)):
        _resize(dashboard, columns, rows, lambda s: _has_one_line(s, "1+0 "))
    # The last place of a screen cannot be filled on every terminal; nothing else may stand there.
    _resize(dashboard, 1, 1, lambda s: s.text in ("", "1"))
    exchange(a, b, "while nothing is seen")
    for columns, rows in ((80, 24), (300, 80), (120, 35)):
        screen = _resize(dashboard, columns, rows, lambda s: s.keys and s.has(session))
        assert screen.header.startswith("quic-relay 127.0.0.1")
        assert screen.keys
    assert screen.titles == complete


def test_dashboard_starts_on_the_smallest_terminal(start_dashboard: StartDashboard) -> None:
    dashboard = start_dashboard()
    dashboard.terminal.resize(1, 1)
    _open_as_soon_as_it_answers(dashboard)
    _resize(dashboard, 120, 35, lambda s: s.keys and s.has_dashboard)


def test_each_screen_follows_the_size(dashboard: DashboardRelay) -> None:
    session, *_ = dashboard.show(HOST_A, HOST_B)
    for key, mark in (
        ("2", "Peer A"),
        ("3", "session_opened"),
        ("4", "unknown_source"),
        ("?", "Keys"),
    ):
        dashboard.press(key)
        dashboard.wait_for_text(mark)
        _resize(dashboard, 40, 8, lambda s: s.keys and s.has_dashboard)
        _resize(dashboard, 30, 5, lambda s: _has_one_line(s, "1+0 "))
        _resize(dashboard, 120, 35, lambda s: s.keys and mark in s)
    # A question is there on a small screen, too.
    dashboard.press("1")
    dashboard.wait_for_sessions(session)
    dashboard.press("x")
    dashboard.wait(lambda s: s.dialog, "the question")
    screen = _resize(dashboard, 60, 15, lambda s: s.dialog)
    assert "Cancel" in screen.dialog
    _resize(dashboard, 1, 1, lambda s: s.text in ("", "1"))
    dashboard.press("Enter")
    screen = _resize(dashboard, 120, 35, lambda s: s.keys and s.has(session))
    assert not screen.dialog


def test_repainting_mends_a_screen_that_was_scribbled_on(dashboard: DashboardRelay) -> None:
    session, *_ = dashboard.show(HOST_A, HOST_B)
    dashboard.terminal.scribble("\x1b[5;1HSCRIBBLE\x1b[20;50HSCRIBBLE")
    dashboard.wait_for_text("SCRIBBLE")
    dashboard.press("C-l")
    dashboard.wait(lambda s: "SCRIBBLE" not in s and s.has(session), "the screen without it")


# Types, colours, encodings


@pytest.mark.parametrize("type", ["vt220", "linux", "xterm-256color", "screen-256color"])
def test_type_of_terminal(start_dashboard: StartDashboard, type: str) -> None:
    dashboard = start_dashboard(environment={"TERM": type})
    dashboard.wait_for_dashboard()
    session, a, _b = dashboard.show(HOST_A, HOST_B)
    dashboard.show(HOST_A, HOST_B)
    dashboard.press("g")
    ids = dashboard.screen().sessions
    dashboard.press("Down")
    screen = dashboard.wait(lambda s: s.selected == ids[1], "the second session selected")
    assert screen.cell(session, "PEER A") == f"{HOST_A}:{a.port}"
    assert screen.sorted_by
    dashboard.press("x")
    dashboard.wait(lambda s: "Cancel" in s.dialog, "the question")
    dashboard.press("Enter")
    dashboard.wait(lambda s: not s.dialog and s.has(session), "the table again")
    dashboard.press("q")
    dashboard.wait_for_text("Stop now")
    dashboard.press("s")
    assert dashboard.wait_for_end() == 0
    _check_restored(dashboard, status=0)


@pytest.mark.parametrize("settings", [{}, {"NO_COLOR": ""}, {"NO_COLOR": "1"}])
def test_no_color(start_dashboard: StartDashboard, settings: dict[str, str]) -> None:
    dashboard = start_dashboard(environment=settings)
    dashboard.wait_for_dashboard()
    session, _a, _b = dashboard.show(HOST_A, HOST_B)
    dashboard.press("Space")
    screen = dashboard.wait(lambda s: "PAUSED" in s.badge, "the badge in reverse video")
    colors = {look.has_color for row in screen.rows for look in row.looks}
    # Empty is as good as not set (no-color.org).
    assert colors == ({False} if settings.get("NO_COLOR") else {False, True})
    # State is told by words and by other means than colour.
    assert "serving" in screen.header
    assert screen.selected == short(session)
    assert screen.cell(session, "WHY") == "silent"


@pytest.mark.parametrize(
    "settings",
    [{"LC_ALL": "C"}, {"LC_ALL": None, "LANG": "C"}, {"LC_ALL": None, "LANG": None}],
    ids=["LC_ALL", "LANG", "none"],
)
def test_ascii_without_utf_8(
    start_dashboard: StartDashboard, settings: dict[str, str | None]
) -> None:
    dashboard = start_dashboard(environment=settings)
    dashboard.wait_for_dashboard()
    session, a, _b = dashboard.show(HOST_A, HOST_B)
    dashboard.traffic.send(a, 50)
    dashboard.wait(lambda s: s.rate(session, "A→B") > 0 and s.sorted_by, "a rate and an arrow")
    for key, mark in (
        ("2", "Peer A"),
        ("3", "session_opened"),
        ("4", "unknown_source"),
        ("?", "Keys"),
        ("1", "PEER A"),
        ("x", "Cancel"),
    ):
        dashboard.press(key)
        screen = dashboard.wait_for_text(mark)
        assert screen.text.isascii(), screen.text
    # What stands for the other characters is chosen: a question mark is for questions only.
    assert dashboard.screen().dialog.count("?") == 1


def test_utf_8_where_the_locale_has_it(dashboard: DashboardRelay) -> None:
    _, *_ = dashboard.show(HOST_A, HOST_B)
    screen = dashboard.screen()
    assert "A→B" in screen
    assert re.search("[▲▼]", screen.text)


# Without a dashboard


@pytest.mark.parametrize(
    ("settings", "redirection", "reason"),
    [
        ({"TERM": "dumb"}, "2> errors", "'dumb'"),
        ({"TERM": None}, "2> errors", "TERM is not set"),
        ({"TERM": ""}, "2> errors", "TERM is not set"),
        ({"TERM": "no-such-terminal"}, "2> errors", "'no-such-terminal'"),
        ({}, "2> errors | cat", "standard output is not a terminal"),
        ({}, "2> errors > output", "standard output is not a terminal"),
    ],
    ids=["dumb", "unset", "empty", "unknown", "pipe", "file"],
)
def test_headless_where_nothing_can_be_drawn(
    start_dashboard: StartDashboard, settings: dict[str, str | None], redirection: str, reason: str
) -> None:
    dashboard = start_dashboard(environment=settings, redirection=redirection)
    errors = dashboard.directory / "errors"
    wait_until(lambda: errors.exists() and errors.read_text(), "a line on standard error")
    _, a, b = _open_as_soon_as_it_answers(dashboard)
    exchange(a, b, "headless")
    (line,) = errors.read_text().splitlines()
    assert line.startswith("quic-relay: running headless: ")
    assert reason in line
    dashboard.signal(signal.SIGTERM)
    dashboard.wait_for_end()
    assert errors.read_text().splitlines() == [line]
    # Its log is what it printed instead.
    output = dashboard.directory / "output"
    printed = output.read_text() if output.exists() else dashboard.screen().text
    assert "listening" in printed
    assert "\x1b" not in printed


# The end


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGILL,
        signal.SIGTRAP,
        signal.SIGFPE,
        signal.SIGABRT,
    ],
    ids=lambda number: number.name,
)
def test_signal_leaves_the_terminal_as_it_was(
    dashboard: DashboardRelay, number: signal.Signals
) -> None:
    dashboard.show(HOST_A, HOST_B)
    dashboard.signal(number)
    status = dashboard.wait_for_end()
    if number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        # They are how one asks it to end.
        assert status in (0, 128 + number)
    else:
        assert status == 128 + number
    _check_restored(dashboard, status)


def test_quitting_leaves_the_terminal_as_it_was(dashboard: DashboardRelay) -> None:
    dashboard.press("q")
    assert dashboard.wait_for_end() == 0
    _check_restored(dashboard, status=0)


def test_hang_up_signal_leaves_the_terminal_and_the_relay(dashboard: DashboardRelay) -> None:
    """As nohup(1) and `kill -HUP` do, while the terminal itself is still there."""
    _, a, b = dashboard.show(HOST_A, HOST_B)
    dashboard.signal(signal.SIGHUP)
    dashboard.wait(lambda s: not s.has_dashboard, "the screen before the dashboard")
    exchange(a, b, "headless")
    dashboard.signal(signal.SIGTERM)
    _check_restored(dashboard, dashboard.wait_for_end())


def test_relay_outlives_its_terminal(dashboard: DashboardRelay) -> None:
    _, a, b = dashboard.show(HOST_A, HOST_B)
    dashboard.traffic.send(b, 20, b"from B")
    dashboard.terminal.hang_up()
    # It may take until its next frame to notice, and the shell's death some more.
    for step in range(20):
        a.send(f"headless {step}".encode())
        b.expect(f"headless {step}".encode())
        a.receive()
    newcomer = dashboard.peer(HOST_B)
    newcomer.register(dashboard.new_session())
    assert dashboard.is_running()
    dashboard.signal(signal.SIGTERM)
    wait_until(lambda: not dashboard.is_running(), "the end on TERM")


# What comes from the network


def test_nothing_from_the_network_is_drawn(dashboard: DashboardRelay) -> None:
    session, a, b = dashboard.show(HOST_A, HOST_B)
    stranger = dashboard.peer("127.0.0.4")
    title = dashboard.screen().capture.title
    nasty = (
        b"\x1b]0;OWNED\x07",
        b"\x1b[2J\x1b[10;10HOWNED\x1b[?1049l",
        b"\x9b2J\x90OWNED\x9c",
        b"OWNED\r\n\x08\x7f\x0e\x00",
        "OWNED\u202e\u200b\U0001f4a5".encode(),
    )
    for garbage in nasty:
        for peer in (a, b, stranger):
            peer.send(garbage)
            peer.send(b"REG:" + garbage + b"\n")
            peer.send(registration(session, ending=garbage))
    dashboard.wait(lambda s: s.count("drops") > 0, "dropped datagrams")
    for key, mark in (
        ("2", "Peer A"),
        ("3", "session_opened"),
        ("4", "unknown_source"),
        ("1", "PEER A"),
    ):
        dashboard.press(key)
        screen = dashboard.wait_for_text(mark)
        assert "OWNED" not in screen
        assert screen.capture.title == title
        assert "alternate_on=1" in screen.capture.modes
        # Everything is text that the dashboard itself may have written.
        assert re.fullmatch(r"[\n -~·→▁-█▲▼─-┼…↑↓]*", screen.text), screen.text


def _resize(
    dashboard: DashboardRelay, columns: int, rows: int, condition: Callable[[Screen], object]
) -> Screen:
    """The first screen of that size for which the condition holds."""
    dashboard.terminal.resize(columns, rows)
    return dashboard.wait(
        lambda s: (
            len(s.rows) == rows and all(len(row.text) <= columns for row in s.rows) and condition(s)
        ),
        f"what there is room for in {columns} by {rows}",
    )


def _has_one_line(screen: Screen, beginning: str) -> bool:
    """Whether there is one line that begins so, and nothing else, such as what was there before."""
    first, *others = screen.rows
    return first.text.startswith(beginning) and not any(row.text for row in others)


def _check_restored(dashboard: DashboardRelay, status: int) -> None:
    """Whether modes, screen and shell are as they were."""
    before, after = ((dashboard.directory / name).read_text() for name in ("before", "after"))
    assert after == before
    screen = dashboard.wait(
        lambda s: s.text.rstrip().endswith("prompt>"), "the prompt at the end of the screen"
    )
    assert screen.capture.modes == dashboard.modes_before
    # On a terminal without an alternate screen the rest of the dashboard is above, not behind.
    assert screen.row_with("the relay left with") == f"the relay left with status {status}"
    assert screen.capture.is_cursor_shown
    # What is typed is seen, in the terminal's own looks.
    dashboard.type("echo $((6 * 7)) answers")
    dashboard.press("Enter")
    screen = dashboard.wait(lambda s: s.row_with("42 answers"), "the answer of the shell")
    row = next(row for row in screen.rows if row.text == "42 answers")
    look = row.look_of("42 answers")
    assert not any(at.is_bold or at.is_reverse or at.is_underlined or at.has_color for at in look)


def _open_as_soon_as_it_answers(dashboard: DashboardRelay) -> tuple[uuid.UUID, Peer, Peer]:
    session = dashboard.new_session()
    first = dashboard.peer(HOST_A)
    first.try_to_register(session, wall_seconds=30)
    second = dashboard.peer(HOST_B)
    second.register(session)
    return session, first, second
