"""What keys do to the relay and to what is shown of it, in a real terminal.

Documentation/dashboard.md says what each key does.
"""

from __future__ import annotations

import json
import re
import stat
import time
import uuid
from pathlib import Path

import pytest

from dashboard import DashboardRelay
from dashboard_screen import Screen
from peers import Peer, exchange, registration
from relay_log import short

HOST_A, HOST_B, HOST_C = "127.0.0.2", "127.0.0.3", "127.0.0.4"

# Between a session's end and the end of its row; how long an eviction can be undone.
_ROW_SECONDS = 10.0
_UNDO_SECONDS = 5.0


# Evicting


@pytest.mark.parametrize("key", ["Enter", "Escape", "n"])
def test_eviction_is_cancelled_by_all_keys_but_one(dashboard: DashboardRelay, key: str) -> None:
    session, a, b = dashboard.show(HOST_A, HOST_B)
    dialog = _ask_to_evict(dashboard, session, a, b)
    # The button that Enter presses looks so.
    row = next(row for row in dialog.rows if "Cancel" in row.text and "y" in row.text)
    assert all(look.is_reverse for look in row.look_of("Cancel"))
    assert not any(look.is_reverse for look in row.look_of("Evict"))
    dashboard.press(key)
    screen = dashboard.wait(lambda s: not s.dialog, "no question any more")
    assert screen.has(session)
    exchange(a, b, "undisturbed")
    assert dashboard.screen().count("evicted") == 0


def test_eviction_names_the_rate(dashboard: DashboardRelay) -> None:
    session, a, b = dashboard.open(HOST_A, HOST_B)
    dashboard.traffic.send(a, 100)
    dashboard.wait(lambda s: s.has(session) and s.rate(session, "A→B") > 0, "a rate")
    dialog = _ask_to_evict(dashboard, session, a, b).dialog
    assert re.search(r"\d[KM]? bit/s", dialog), dialog


def test_eviction_can_be_undone(dashboard: DashboardRelay) -> None:
    session, a, b = dashboard.show(HOST_A, HOST_B)
    _ask_to_evict(dashboard, session, a, b)
    dashboard.press("y")
    screen = dashboard.wait(
        lambda s: s.has(session) and s.cell(session, "WHY") == "evicted", "the reason in the row"
    )
    assert "u within 5 s" in screen.message
    a.send(b"to nobody")
    b.expect_silence()
    dashboard.press("u")
    dashboard.wait(lambda s: "restored" in s.message, "the message that it is restored")
    dashboard.wait(
        lambda s: s.has(session) and s.cell(session, "WHY") != "evicted" and not s.count("evicted"),
        "the row as it was",
    )
    exchange(a, b, "restored")


def test_eviction_ends_a_session(dashboard: DashboardRelay) -> None:
    """Row, registrations, datagrams and undo, all of which take their seconds, in one test."""
    session, a, b = dashboard.show(HOST_A, HOST_B)
    other, *others = dashboard.show(HOST_A, HOST_B)
    dashboard.select(session)
    _ask_to_evict(dashboard, session, a, b)
    asked = time.monotonic()
    dashboard.press("y")
    dashboard.wait(
        lambda s: s.has(session) and s.cell(session, "WHY") == "evicted", "the reason in the row"
    )
    screen = dashboard.select(other)
    assert screen.is_greyed(session)
    assert not screen.is_greyed(other)
    assert (screen.count("paired"), screen.count("evicted")) == (1, 1)
    # Its peers, and whoever else knows its id, are refused in silence.
    for peer in (a, b, dashboard.peer(HOST_C)):
        peer.send(registration(session))
        peer.expect_silence()
    a.send(b"to nobody")
    b.expect_silence()
    # What was refused is counted.
    dashboard.press("4")
    row = dashboard.wait(lambda s: s.row_with("evicted", HOST_A), "dropped datagrams").row_with(
        "evicted", HOST_A
    )
    assert row and int(row.split()[1]) >= 4
    dashboard.press("1")
    _ask_to_evict(dashboard, other, *others)
    dashboard.press("y")
    dashboard.wait(lambda s: s.count("evicted") == 2, "the second eviction")
    done = time.monotonic()
    while time.monotonic() - done <= _UNDO_SECONDS:
        time.sleep(0.05)
    dashboard.press("u")
    dashboard.wait_for_text("no eviction of the last 5 s")
    assert dashboard.screen().count("evicted") == 2
    dashboard.wait(lambda s: not s.has(session), "no row of the session any more")
    assert time.monotonic() - asked >= _ROW_SECONDS
    # No filter hides those whose ids are still refused.
    screen = dashboard.wait(lambda s: not s.sessions, "no row at all")
    assert "No sessions" in screen.body
    a.send(registration(session))
    a.expect_silence()


def test_nothing_to_evict_is_said(dashboard: DashboardRelay) -> None:
    dashboard.press("x")
    screen = dashboard.wait(lambda s: s.message, "a message")
    assert "no session" in screen.message
    assert not screen.dialog


# Log level


def test_log_level_is_shown_and_loud_ones_count_down(dashboard: DashboardRelay) -> None:
    assert dashboard.screen().log_level == "info"
    dashboard.press("l")
    first = dashboard.wait(lambda s: re.match(r"debug \d", s.log_level), "debug with a countdown")
    assert re.match(r"debug (9m5\d|10m)", first.log_level)
    dashboard.wait(lambda s: s.log_level != first.log_level, "the countdown's next tick")
    dashboard.press("l")
    dashboard.wait(lambda s: s.log_level.startswith("trace "), "trace")
    dashboard.press("l")
    dashboard.wait(lambda s: "already" in s.message, "that there is no level above")
    for level in ("debug", "info", "notice", "warning", "error"):
        dashboard.press("L")
        screen = dashboard.wait(lambda s: s.log_level.startswith(level), level)
    assert screen.log_level == "error"
    # The relay did it: the event came back.
    dashboard.press("3")
    dashboard.wait(lambda s: s.row_with("log_level_changed", "info", "debug"), "the event")


def test_message_is_seen_however_slow_the_refresh(dashboard: DashboardRelay) -> None:
    for _ in range(5):
        dashboard.press("-")
    dashboard.wait_for_text("10 s")
    # Longer than a message stays, and still no new picture.
    time.sleep(5)
    dashboard.press("x")
    dashboard.wait(lambda s: "no session" in s.message, "a message")


# How figures are shown


def test_rates_in_bits_or_bytes(dashboard: DashboardRelay) -> None:
    session, a, _b = dashboard.open(HOST_A, HOST_B)
    dashboard.traffic.send(a, 100)
    screen = dashboard.wait(
        lambda s: s.has(session) and s.rate(session, "A→B") > 500e3, "some 800 kbit/s"
    )
    assert "bit/s" in screen.header
    dashboard.press("b")
    screen = dashboard.wait(lambda s: "bit/s" not in s.header and "B/s" in s.header, "bytes")
    assert 0 < screen.rate(session, "A→B") < 200e3
    dashboard.press("b")
    dashboard.wait(lambda s: "bit/s" in s.header and s.rate(session, "A→B") > 500e3, "bits")


def test_averaging_window(dashboard: DashboardRelay) -> None:
    session, a, _b = dashboard.open(HOST_A, HOST_B)
    dashboard.traffic.send(a, 100)
    dashboard.wait(lambda s: s.has(session) and s.rate(session, "A→B") > 500e3, "800 kbit/s")
    dashboard.traffic.cease()
    # The longer the time, the more does the average know of what was some seconds ago.
    screen = dashboard.wait(lambda s: s.rate(session, "A→B") < 50e3, "little in the last 2 s")
    recent = screen.rate(session, "A→B")
    dashboard.press("a", "a")
    dashboard.wait(lambda s: s.rate(session, "A→B") > 1.5 * recent, "more in the last minute")
    dashboard.press("a")
    dashboard.wait(lambda s: s.rate(session, "A→B") <= recent, "the last 2 s again")


def test_averaging_window_is_seen(dashboard: DashboardRelay) -> None:
    # The sparkline's own length of time is always there.
    before = dashboard.wait_for_text("No sessions")
    assert "10s" not in before and "10 s" not in before
    dashboard.press("a")
    dashboard.wait(lambda s: "10s" in s.header or "10 s" in s, "a word about 10 s")


def test_refresh_interval(dashboard: DashboardRelay) -> None:
    dashboard.press("+")
    faster = dashboard.wait(lambda s: s.message, "the interval").message
    dashboard.press("-", "-")
    slower = dashboard.wait(lambda s: s.message not in ("", faster), "another one").message
    assert re.search(r"\b0\.25 s", faster)
    assert re.search(r"\b1 s", slower)


# Export


def test_export_writes_what_is_shown(dashboard: DashboardRelay) -> None:
    near, a, b = dashboard.open(HOST_A, HOST_B)
    far, *_ = dashboard.open("127.0.1.2", "127.0.1.3")
    dashboard.wait_for_sessions(near, far)
    dashboard.press("/")
    dashboard.type("127.0.0")
    dashboard.press("Enter")
    dashboard.wait(lambda s: s.sessions == [short(near)], "the one session")
    path = _export(dashboard)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document = json.loads(path.read_text())
    assert document["filter"] == "127.0.0"
    (entry,) = document["sessions"]
    assert entry["session"] == str(near)
    assert entry["a"]["address"] == f"{HOST_A}:{a.port}"
    assert entry["b"]["address"] == f"{HOST_B}:{b.port}"
    dashboard.press("P")
    dashboard.wait(lambda s: short(near) not in s, "the mask")
    masked = _export(dashboard, path).read_text()
    json.loads(masked)
    for name in (short(near), HOST_A, HOST_B, str(a.port), str(dashboard.address.port)):
        assert not re.search(rf"\b{re.escape(name)}\b", masked), masked


def test_two_exports_in_a_second(dashboard: DashboardRelay) -> None:
    first = _export(dashboard)
    second = _export(dashboard, first)
    assert first.exists() and second.exists()


# Leaving


def test_quitting_without_sessions_asks_nothing(dashboard: DashboardRelay) -> None:
    dashboard.press("q")
    assert dashboard.wait_for_end() == 0


@pytest.mark.parametrize(("quit", "cancel"), [("q", "Enter"), ("C-c", "Escape")])
def test_quitting_with_sessions_asks(own_dashboard: DashboardRelay, quit: str, cancel: str) -> None:
    dashboard = own_dashboard
    _, a, b = dashboard.show(HOST_A, HOST_B)
    dashboard.press(quit)
    dialog = dashboard.wait(lambda s: s.dialog, "the question").dialog
    for text in ("1 session", "Cancel", "Drain", "Stop"):
        assert text in dialog
    dashboard.press(cancel)
    dashboard.wait(lambda s: not s.dialog, "no question any more")
    exchange(a, b, "undisturbed")
    dashboard.press(quit)
    dashboard.wait(lambda s: s.dialog, "the question")
    dashboard.press("s")
    assert dashboard.wait_for_end() == 0


def test_quitting_asks_about_what_came_during_a_pause(own_dashboard: DashboardRelay) -> None:
    dashboard = own_dashboard
    dashboard.press("Space")
    dashboard.wait(lambda s: s.badge, "the badge")
    a, b = dashboard.pair(HOST_A, HOST_B)
    dashboard.press("q")
    dashboard.wait_for_text("Stop now")
    exchange(a, b, "undisturbed")


def test_draining_ends_with_the_last_session(own_dashboard: DashboardRelay) -> None:
    dashboard = own_dashboard
    _, a, b = dashboard.open(HOST_A, HOST_B)
    for peer in (a, b):
        dashboard.traffic.send(peer, 10, b"alive")
    dashboard.wait(lambda s: s.count("paired") == 1, "the session")
    dashboard.press("q")
    dashboard.wait(lambda s: s.dialog, "the question")
    dashboard.press("d")
    dashboard.wait(lambda s: "draining" in s.header, "the state in the header")
    late = dashboard.peer(HOST_C)
    late.send(registration(dashboard.new_session()))
    late.expect_silence()
    # Old sessions go on, and so does the relay, until the last one has ended.
    dashboard.traffic.cease()
    a.receive_all()
    b.receive_all()
    exchange(a, b, "while draining")
    assert dashboard.is_running()
    dashboard.press("x")
    dashboard.wait(lambda s: s.dialog, "the question")
    dashboard.press("y")
    assert dashboard.wait_for_end() == 0


def test_suspending_is_refused(own_dashboard: DashboardRelay) -> None:
    dashboard = own_dashboard
    session, a, b = dashboard.show(HOST_A, HOST_B)
    dashboard.press("C-z")
    dashboard.wait(lambda s: "suspend" in s.message, "a message")
    exchange(a, b, "not suspended")
    dashboard.press("Enter")
    dashboard.wait(lambda s: s.detail == short(session), "the detail")


def _ask_to_evict(dashboard: DashboardRelay, session: uuid.UUID, a: Peer, b: Peer) -> Screen:
    """Presses the key and looks at the question."""
    dashboard.press("x")
    screen = dashboard.wait(lambda s: s.dialog, "the question")
    for text in (short(session), f"{HOST_A}:{a.port}", f"{HOST_B}:{b.port}", "Cancel", "Evict"):
        assert text in screen.dialog, screen.dialog
    return screen


def _export(dashboard: DashboardRelay, before: Path | None = None) -> Path:
    dashboard.press("e")
    screen = dashboard.wait(
        lambda s: ".json" in s.message and str(before) not in s.message, "another file's path"
    )
    (path,) = [Path(word) for word in screen.message.split() if word.endswith(".json")]
    dashboard.exports.append(path)
    return path
