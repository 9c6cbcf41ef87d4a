"""The screen of sessions, in a real terminal: what is shown, selecting, filtering, sorting, time.

Documentation/dashboard.md says what each key does.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from pathlib import Path

from conversation import Conversation
from dashboard import DashboardRelay
from dashboard_screen import Screen, number
from peers import Peer, free_ports
from programs import aioquic_options, register_ports
from relay_log import short

HOST_A, HOST_B = "127.0.0.2", "127.0.0.3"
NETWORK_A, NETWORK_B = "127.0.1.2", "127.0.1.3"


# What is shown


def test_start_shows_the_relay_and_no_session(dashboard: DashboardRelay) -> None:
    screen = dashboard.wait_for_text("No sessions")
    for text in (f"127.0.0.1:{dashboard.address.port}", "serving", "up"):
        assert text in screen.header
    assert screen.log_level == "info"
    assert re.search(r"\d\d:\d\d:\d\dZ$", screen.rows[0].text)
    assert screen.count("paired") == screen.count("waiting") == 0
    assert screen.sessions == []
    # Only keys that work now are there.
    for word in ("Pause", "Help", "Quit"):
        assert word in screen.keys
    assert "Evict" not in screen.keys
    later = dashboard.wait(lambda s: s.rows[0].text != screen.rows[0].text, "the clock's next tick")
    assert later.has_dashboard


def test_sessions_appear_with_peers_rates_and_diagnosis(dashboard: DashboardRelay) -> None:
    session, a, b = dashboard.open(HOST_A, HOST_B)
    dashboard.traffic.send(a, 100)
    dashboard.traffic.send(b, 10)
    silent = dashboard.new_session()
    for host in (HOST_A, HOST_B):
        dashboard.peer(host).register(silent)
    waiting = dashboard.new_session()
    dashboard.peer(HOST_A).register(waiting)
    dashboard.wait_for_sessions(session, silent, waiting)
    screen = dashboard.wait(
        lambda s: (
            s.rate(session, "A→B") > 3 * s.rate(session, "B→A") > 0
            and s.cell(session, "WHY") == "not_quic"
        ),
        "both rates, and what is carried",
    )
    assert screen.cell(session, "PEER A") == f"{HOST_A}:{a.port}"
    assert screen.cell(session, "PEER B") == f"{HOST_B}:{b.port}"
    assert number(screen.cell(session, "TOTAL")) > 0
    assert screen.cell(silent, "WHY") == "silent"
    assert screen.cell(waiting, "WHY") == "waiting"
    assert screen.cell(waiting, "PEER B") == "-"
    assert (screen.count("paired"), screen.count("waiting")) == (2, 1)
    for word in ("Detail", "Filter", "Sort", "Evict", "Pause", "Help", "Quit"):
        assert word in screen.keys


def test_connection_shows_phase_and_round_trip(
    dashboard: DashboardRelay, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    ports = free_ports("127.0.0.1", 2)
    session = register_ports(dashboard, ports)
    options = aioquic_options("127.0.0.1", certificate)
    relays = [dashboard.address] * 2
    with Conversation(relays, ports, tmp_path / "conversation", *options) as pings:
        # A picture may show it half-way.
        for title, expected in (
            ("PHASE", r"1rtt"),
            ("WHY", r"established"),
            ("RTT", r"[\d.]+/[\d.]+"),
        ):
            dashboard.wait(
                lambda s: s.has(session) and re.fullmatch(expected, s.cell(session, title)),
                f"{expected} below {title}",
            )
        dashboard.press("Enter")
        dashboard.wait(lambda s: s.detail == short(session), "the detail")
        dashboard.wait_for_text("established", "server", "client", "handshake", "validated", "v1")
        dashboard.press("Escape")
        dashboard.wait_for_sessions(session)
        dashboard.press("/")
        dashboard.type("phase:1rtt why:est")
        assert dashboard.wait_for_sessions(session).sessions == [short(session)]
        dashboard.press("C-u")
        dashboard.type("phase:initial")
        dashboard.wait(lambda s: not s.has(session), "no session in the Initial phase")
        pings.finish()


# Selecting


def test_selection_moves_by_keys_and_pages(dashboard: DashboardRelay) -> None:
    sessions = [dashboard.new_session() for _ in range(45)]
    for session in sessions:
        # An address is in one session at a time; each of these stays with one peer.
        peer = dashboard.peer(HOST_A)
        peer.register(session)
    ids = sorted(short(session) for session in sessions)
    dashboard.wait(lambda s: s.count("waiting") == 45 and s.sessions, "all sessions")
    _sort_by(dashboard, "SESSION", "ascending")
    dashboard.press("g")
    screen = _wait_for_selection(dashboard, ids[0])
    rows = len(screen.sessions)
    assert 20 <= rows < 45
    assert screen.sessions == ids[:rows]
    for key, index in (("j", 1), ("Down", 2), ("Down", 3), ("k", 2), ("Up", 1)):
        dashboard.press(key)
        _wait_for_selection(dashboard, ids[index])
    dashboard.press("NPage")
    page = dashboard.wait(lambda s: ids[0] not in s.sessions, "the next page")
    assert page.selected in ids[rows - 1 : rows + 2]
    dashboard.press("PPage")
    _wait_for_selection(dashboard, ids[1])
    dashboard.press("G")
    last = _wait_for_selection(dashboard, ids[-1])
    assert last.sessions == ids[-rows:]
    dashboard.press("g")
    assert _wait_for_selection(dashboard, ids[0]).sessions == ids[:rows]


def test_cursor_stands_on_the_selected_row(dashboard: DashboardRelay) -> None:
    """Screen readers follow the terminal's own cursor."""
    sessions = [dashboard.open(HOST_A, HOST_B)[0] for _ in range(3)]
    dashboard.wait_for_sessions(*sessions)
    ids = dashboard.screen().sessions
    for key, index in (("G", 2), ("k", 1), ("g", 0)):
        dashboard.press(key)
        screen = _wait_for_selection(dashboard, ids[index])
        assert screen.capture.is_cursor_shown
        assert screen.capture.cursor_row == screen.selected_row


def test_enter_opens_the_detail_and_escape_leaves_it(dashboard: DashboardRelay) -> None:
    session, a, b = dashboard.open(HOST_A, HOST_B)
    dashboard.wait_for_sessions(session)
    dashboard.press("Enter")
    dashboard.wait(lambda s: s.detail == short(session), "the detail")
    # Why, and what to do about it; how both were validated; what was seen of a handshake. Events
    # are there at once, the rest with the next picture.
    dashboard.wait_for_text(
        *("session_paired", f"{HOST_A}:{a.port}", f"{HOST_B}:{b.port}"),
        *("Why", "no QUIC packet", "Next", "Peer A", "Peer B", "validated", "handshake"),
    )
    dashboard.press("Escape")
    dashboard.wait(lambda s: s.selected == short(session), "the table again")


# Filtering


def test_filter_holds_while_it_is_typed(dashboard: DashboardRelay) -> None:
    near, *near_peers = dashboard.open(HOST_A, HOST_B)
    far, *_ = dashboard.open(NETWORK_A, NETWORK_B)
    silent = dashboard.new_session()
    for host in (NETWORK_A, NETWORK_B):
        dashboard.peer(host).register(silent)
    for peer in near_peers:
        dashboard.traffic.send(peer, 200)
    every = {short(near), short(far), short(silent)}
    dashboard.wait_for_sessions(near, far, silent)
    for filter, expected in (
        ("127.0.1", {short(far), short(silent)}),
        (f"127.0.1.3 {short(far)[:6]}", {short(far)}),
        ("!127.0.1", {short(near)}),
        ("why:not", {short(near)}),
        ("silent", {short(far), short(silent)}),
        ("phase:none", every),
        ("phase:handshake", set()),
        ("rate>1M", {short(near)}),
        ("idle>1s", {short(far), short(silent)}),
        ("idle<1s rate>0.5M", {short(near)}),
    ):
        dashboard.press("/", "C-u")
        dashboard.type(filter)
        screen = dashboard.wait(
            lambda s: filter in s.message and set(s.sessions) == expected,
            f"{sorted(expected)} with the filter {filter}",
        )
        assert len(screen.sessions) == len(expected)
        dashboard.press("Enter")
        dashboard.wait(lambda s: set(s.sessions) == expected, "the same after Enter")
    # The filter is seen for as long as it holds, and Escape empties it.
    assert "idle<1s" in dashboard.screen().message
    dashboard.press("Escape")
    dashboard.wait(lambda s: set(s.sessions) == every, "all sessions again")


def test_filter_narrows_with_each_key(dashboard: DashboardRelay) -> None:
    # The third number of the address tells them apart only when it is whole.
    ten, *_ = dashboard.open("127.0.10.2", "127.0.10.3")
    one, *_ = dashboard.open("127.0.1.2", "127.0.1.3")
    dashboard.wait_for_sessions(ten, one)
    dashboard.press("/")
    dashboard.type("127.0.1")
    dashboard.wait(lambda s: s.sessions == [short(one)], "the one network")
    dashboard.type("0")
    dashboard.wait(lambda s: s.sessions == [short(ten)], "the other network")
    dashboard.press("BSpace")
    dashboard.wait(lambda s: s.sessions == [short(one)], "the one network again")
    dashboard.press("Escape")
    dashboard.wait_for_sessions(ten, one)


def test_filter_that_is_none_says_why(dashboard: DashboardRelay) -> None:
    session, *_ = dashboard.open(HOST_A, HOST_B)
    for filter, reason in (
        ("why:hungry", "diagnosis"),
        ("phase:9", "initial"),
        ("rate>fast", "bits a second"),
        ("speed>1", "rate>"),
        ("zebra", "must be"),
    ):
        dashboard.wait_for_sessions(session)
        dashboard.press("/")
        dashboard.type(filter)
        # What was typed stays, to be mended.
        dashboard.wait(lambda s: filter in s.message and reason in s.text, f"why {filter}")
        dashboard.press("Escape")
        dashboard.wait(lambda s: filter not in s.text, "the table without the filter")


# Sorting


def test_sort_column_and_direction_are_seen(dashboard: DashboardRelay) -> None:
    sessions = [dashboard.open(HOST_A, HOST_B)[0] for _ in range(3)]
    first = dashboard.wait_for_sessions(*sessions)
    titles = first.titles
    before = first.sorted_by
    seen = [before]
    for _ in titles[1:]:
        dashboard.press("s")
        screen = dashboard.wait(
            lambda s: s.sorted_by not in (None, before),
            f"an arrow in the heading of the column after {before}",
        )
        before = screen.sorted_by
        seen.append(before)
    assert sorted(column[0] for column in seen if column) == sorted(titles)


def test_rows_follow_the_sort_column(dashboard: DashboardRelay) -> None:
    sessions = [dashboard.open(HOST_A, HOST_B)[0] for _ in range(3)]
    dashboard.wait_for_sessions(*sessions)
    _sort_by(dashboard, "SESSION", "ascending")
    ids = sorted(short(session) for session in sessions)
    dashboard.wait(lambda s: s.sessions == ids, "the rows by their ids")
    dashboard.press("S")
    dashboard.wait(
        lambda s: s.sorted_by == ("SESSION", "descending") and s.sessions == ids[::-1],
        "the rows the other way round",
    )


def test_order_can_be_held_and_selection_follows_the_session(dashboard: DashboardRelay) -> None:
    pairs = [dashboard.open(HOST_A, HOST_B) for _ in range(4)]
    ids = [short(session) for session, _, _ in pairs]
    _send_in_order(dashboard, pairs)
    _sort_by(dashboard, "A→B", "descending")
    dashboard.wait(lambda s: s.sessions == ids, "the fastest first")
    dashboard.select(ids[1])
    dashboard.press("o")
    dashboard.wait_for_text("order held")
    _send_in_order(dashboard, pairs[::-1])
    held = dashboard.wait(
        lambda s: s.rate(ids[3], "A→B") > 1.5 * s.rate(ids[0], "A→B") > 0, "the new rates"
    )
    assert held.sessions == ids
    dashboard.press("o")
    screen = dashboard.wait(lambda s: s.sessions == ids[::-1], "the order of the new rates")
    # It is the session that is selected, not the row, and what is selected is what keys act on.
    assert screen.selected == ids[1]
    dashboard.press("Enter")
    dashboard.wait(lambda s: s.detail == ids[1], "the detail")


# Time


def test_pause_freezes_everything(dashboard: DashboardRelay) -> None:
    session, a, b = dashboard.open(HOST_A, HOST_B)
    for peer in (a, b):
        dashboard.traffic.send(peer, 100)
    dashboard.wait(lambda s: s.has(session) and len(s.sparkline) >= 2, "a sparkline")
    dashboard.press("Space")
    paused = dashboard.wait(lambda s: "PAUSED" in s.badge, "the badge")
    later = dashboard.wait(lambda s: re.search(r"[2-9](\.\d)?s", s.badge), "some seconds of pause")
    assert later.without_clocks() == paused.without_clocks()
    assert later.sparkline == paused.sparkline
    # The sessions of the meantime are there when it goes on, and so are the bytes.
    newcomer, *_ = dashboard.open(HOST_A, HOST_B)
    assert not dashboard.screen().has(newcomer)
    dashboard.press("Space")
    resumed = dashboard.wait_for_sessions(newcomer)
    assert resumed.badge == ""
    assert number(resumed.cell(session, "TOTAL")) > number(paused.cell(session, "TOTAL"))


def test_past_can_be_looked_at(dashboard: DashboardRelay) -> None:
    dashboard.wait(lambda s: len(s.sparkline) >= 2, "some history without a session")
    first, *_ = dashboard.open(HOST_A, HOST_B)
    dashboard.wait_for_sessions(first)
    dashboard.wait(lambda s: len(s.sparkline) >= 3, "some history with one session")
    second, *_ = dashboard.open(HOST_A, HOST_B)
    dashboard.wait(
        lambda s: s.has(second) and re.search(r"[1-9]\.\ds", s.cell(second, "AGE")), "two sessions"
    )
    # Back by seconds until the second session has not been there yet.
    for _ in range(10):
        dashboard.press("[")
        past = dashboard.wait(lambda s: s.badge.startswith("PAST"), "the past")
        if not past.has(second):
            break
    past = dashboard.wait(lambda s: s.has(first) and not s.has(second), "the first one alone")
    assert past.count("paired") == 1
    for _ in range(10):
        if dashboard.screen().has(second):
            break
        dashboard.press("]")
        dashboard.wait_for_sessions(first)
    dashboard.wait_for_sessions(first, second)
    # A minute back is as far as there is something; nobody had registered then.
    dashboard.press("{")
    dashboard.wait(lambda s: s.badge and not s.has(first), "the beginning")
    dashboard.press("}")
    dashboard.wait_for_sessions(first, second)
    dashboard.press("[")
    dashboard.wait(lambda s: s.badge.startswith("PAST"), "the past")
    dashboard.press("Space")
    dashboard.wait(lambda s: not s.badge and s.has(second), "the present")


def _wait_for_selection(dashboard: DashboardRelay, session: str) -> Screen:
    return dashboard.wait(lambda s: s.selected == session, f"{session} selected")


def _sort_by(dashboard: DashboardRelay, title: str, direction: str) -> None:
    for _ in range(12):
        present = dashboard.screen().sorted_by
        if present and present[0] == title:
            break
        dashboard.press("s")
        # Not every heading has room for the arrow of its column; the next one will.
        dashboard.wait(lambda s: s.sorted_by != present, "another column")
    if present != (title, direction):
        dashboard.press("S")
    dashboard.wait(lambda s: s.sorted_by == (title, direction), f"{title} {direction}")


def _send_in_order(
    dashboard: DashboardRelay, pairs: Sequence[tuple[uuid.UUID, Peer, Peer]]
) -> None:
    """Lets the A of the first pair send most, the last one's least."""
    for index, (_, a, _) in enumerate(pairs):
        dashboard.traffic.send(a, 160 / 2**index)
