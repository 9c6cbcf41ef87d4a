"""The screens of the dashboard beside that of sessions, and what all have in common.

Documentation/dashboard.md says what each of them shows.
"""

from __future__ import annotations

import re

from dashboard import DashboardRelay
from dashboard_screen import Screen
from peers import registration
from relay_log import short

HOST_A, HOST_B, HOST_C = "127.0.0.2", "127.0.0.3", "127.0.0.4"

_LEVELS = ("error", "warning", "notice", "info", "debug", "trace")

# Of each screen: its key, and a text that only this one has.
_SCREENS = [
    ("1", "PEER A"),
    ("2", "Peer A"),
    ("3", "session_opened"),
    ("4", "unknown_source"),
    ("?", "PgUp"),
]


# All screens


def test_screens_by_number_and_in_turn(dashboard: DashboardRelay) -> None:
    session, *_ = dashboard.show(HOST_A, HOST_B)
    for key, mark in _SCREENS:
        dashboard.press(key)
        dashboard.wait_for_text(mark)
    # Help is a screen to come back from.
    dashboard.press("Escape")
    dashboard.wait_for_text(_SCREENS[3][1])
    dashboard.press("1")
    dashboard.wait_for_sessions(session)
    for _, mark in [*_SCREENS[1:4], _SCREENS[0]]:
        dashboard.press("Tab")
        dashboard.wait_for_text(mark)


def test_help_lists_every_key(dashboard: DashboardRelay) -> None:
    keys = set("j k g G / s S o [ ] { } x u l L b a P e + - q ? 1 2 3 4 f".split())
    keys |= {"↑", "↓", "PgUp", "PgDn", "Enter", "Esc", "Tab", "Space", "Ctrl-L", "Ctrl-C", "Ctrl-Z"}
    for columns, rows in ((120, 35), (80, 24)):
        dashboard.terminal.resize(columns, rows)
        dashboard.wait(lambda s: len(s.rows) == rows and s.has_dashboard, "the new size")
        dashboard.press("?")
        dashboard.wait_for_text("Keys")
        words: set[str] = set()
        for _ in range(40):
            screen = dashboard.screen()
            words |= set(screen.body.split())
            dashboard.press("j")
        assert not keys - words, f"without help at {columns} by {rows}: {keys - words}"
        dashboard.press("Escape")
        dashboard.wait(lambda s: "No sessions" in s, "the screen of sessions")


def test_mask_leaves_no_address_and_no_id(dashboard: DashboardRelay) -> None:
    session, a, b = dashboard.open(HOST_A, HOST_B)
    stranger = dashboard.peer(HOST_C)
    stranger.send(b"no registration")
    moved = dashboard.peer(HOST_A)
    moved.register(session)
    dashboard.wait_for_sessions(session)
    # Everything that names the session or an address, on each screen, before and after.
    names = [short(session), HOST_A, HOST_B, HOST_C]
    names += [str(peer.port) for peer in (a, b, moved, stranger)]
    names.append(str(dashboard.address.port))
    seen = ""
    for key, mark in _SCREENS:
        dashboard.press(key)
        seen += dashboard.wait_for_text(mark).text
    assert all(name in seen for name in names), "what is to be masked is shown first"
    dashboard.press("1")
    dashboard.wait_for_sessions(session)
    dashboard.press("P")
    dashboard.wait(lambda s: short(session) not in s, "the mask")
    for key, mark in _SCREENS:
        dashboard.press(key)
        masked = dashboard.wait_for_text(mark).text
        assert not re.search(r"\d+\.\d+\.\d+\.\d+", masked), masked
        left = [name for name in names if re.search(rf"\b{re.escape(name)}\b", masked)]
        assert not left, f"{left} on the screen of {key}:\n{masked}"
    # A question names the session, too.
    dashboard.press("1", "x")
    dialog = dashboard.wait(lambda s: s.dialog, "the question").text
    assert not [name for name in names if re.search(rf"\b{re.escape(name)}\b", dialog)], dialog


# Drops


def test_drops_are_counted_by_reason(dashboard: DashboardRelay) -> None:
    stranger = dashboard.peer(HOST_C)
    dashboard.press("4")
    before = dashboard.wait_for_text("unknown_source").row_with("unknown_source")
    assert before and before.split()[1] == "0"
    for _ in range(25):
        stranger.send(b"a stranger's datagram")
    screen = dashboard.wait(lambda s: s.row_with("unknown_source", "25"), "25 drops")
    row = screen.row_with("unknown_source")
    assert row and f"{HOST_C}:{stranger.port}" in row
    assert re.search(r"\d(ms|s)\b", row), row
    dashboard.wait(
        lambda s: _drop_rate(s.row_with("unknown_source")) > 0, "their rate over some seconds"
    )
    # Nothing else was dropped; the header says how many in all.
    assert screen.count("drops") == 25


# Events


def test_events_tell_a_session_s_life(dashboard: DashboardRelay) -> None:
    session, a, b = dashboard.show(HOST_A, HOST_B)
    moved = dashboard.peer(HOST_A)
    moved.register(session)
    dashboard.wait(lambda s: s.has(session) and s.cell(session, "REB") == "1", "a rebind")
    dashboard.press("3")
    name = short(session)
    dashboard.wait(lambda s: s.row_with("session_opened", name), "the first registration")
    screen = dashboard.wait(lambda s: s.row_with("rebind", name), "the rebind")
    assert screen.row_with("session_paired", name, f"{HOST_A}:{a.port}", f"{HOST_B}:{b.port}")
    rebind = screen.row_with("rebind", name, f"{HOST_A}:{a.port}", f"{HOST_A}:{moved.port}")
    assert rebind and "registration" in rebind and "gap" in rebind
    dashboard.press("1", "x")
    dashboard.wait(lambda s: s.dialog, "the question")
    dashboard.press("y", "3")
    dashboard.wait(lambda s: s.row_with("session_ended", name, "evicted"), "the eviction")


def test_events_follow_the_tail(dashboard: DashboardRelay) -> None:
    first = [_open_half(dashboard) for _ in range(60)]
    dashboard.press("3")
    dashboard.wait(lambda s: s.row_with("session_opened", first[-1]), "the latest event")
    latest = _open_half(dashboard)
    screen = dashboard.wait(lambda s: s.row_with("session_opened", latest), "the one after it")
    assert first[0] not in screen


def test_events_that_were_scrolled_back_to_stay(dashboard: DashboardRelay) -> None:
    first = [_open_half(dashboard) for _ in range(60)]
    dashboard.press("3")
    dashboard.wait(lambda s: s.row_with("session_opened", first[-1]), "the latest event")
    dashboard.press("PPage")
    scrolled = dashboard.wait(lambda s: first[-1] not in s, "older events")
    newer = [_open_half(dashboard) for _ in range(3)]
    dashboard.wait(lambda s: s.count("waiting") == 63, "more sessions")
    assert _event_sessions(dashboard.screen()) == _event_sessions(scrolled)
    dashboard.press("G")
    dashboard.wait(lambda s: s.row_with("session_opened", newer[-1]), "the latest event again")


def test_events_of_one_session(dashboard: DashboardRelay) -> None:
    session, *_ = dashboard.open(HOST_A, HOST_B)
    other, *_ = dashboard.open(HOST_A, HOST_B)
    dashboard.wait_for_sessions(session, other)
    dashboard.select(other)
    dashboard.press("f")
    screen = dashboard.wait(lambda s: s.row_with("session_paired", short(other)), "its events")
    assert not screen.row_with("session_paired", short(session))
    dashboard.press("f")
    dashboard.wait(lambda s: s.row_with("session_paired", short(session)), "all events")


def test_events_by_level(dashboard: DashboardRelay) -> None:
    session, *_ = dashboard.open(HOST_A, HOST_B)
    dashboard.peer(HOST_C).send(registration(session))
    dashboard.wait_for_sessions(session)
    dashboard.press("3")
    dashboard.wait(
        lambda s: s.row_with("session_opened") and s.row_with("registration_refused"), "both events"
    )
    for _ in range(len(_LEVELS)):
        before = dashboard.screen().title
        dashboard.press("v")
        title = dashboard.wait(lambda s: s.title != before, "another level").title
        assert any(level in title for level in _LEVELS), title
        if "warning" in title:
            break
    screen = dashboard.wait(
        lambda s: s.row_with("registration_refused") and not s.row_with("session_opened"),
        "warnings only",
    )
    assert short(session) in screen


def _drop_rate(row: str | None) -> float:
    return float(row.split()[2].replace("-", "0")) if row else 0.0


def _open_half(dashboard: DashboardRelay) -> str:
    session = dashboard.new_session()
    dashboard.peer(HOST_A).register(session)
    return short(session)


def _event_sessions(screen: Screen) -> list[str]:
    return re.findall(r"session_opened +([0-9a-f]{8})", screen.body)
