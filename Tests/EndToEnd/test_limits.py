"""Limits: what is beyond them is refused, counted and told, and ends what has had its part."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import pytest

from peers import Peer, ping_pong, registration
from prometheus import ask, scrape
from relay_process import Relay, StartRelay
from test_version_two import cookie_for, keyed
from waiting import wait_until


def refused(relay: Relay) -> list[tuple[str, str]]:
    """The registrations that the log says were refused: from where and why."""
    events = relay.events("registration_refused")
    return [(event.fields["from"].split(":")[0], event.fields["reason"]) for event in events]


def register(relay: Relay, host: str, session: uuid.UUID | None = None) -> Peer:
    """A peer on this host that is registered, in a session of its own unless one is given."""
    peer = relay.peer(host)
    peer.register(session or relay.new_session())
    return peer


def expect_refusal(relay: Relay, host: str, session: uuid.UUID | None = None) -> None:
    """Registers in vain: the answer to somebody else comes, and none to this."""
    peer = relay.peer(host)
    peer.send(registration(session or relay.new_session()))
    peer.expect_silence()


def count_answers(peers: list[Peer]) -> int:
    """How many datagrams have come to peers that were sent something together."""
    first, *others = peers
    # Once nothing more comes to one of them, there is nothing to wait for with the others.
    return len(first.receive_all()) + sum(len(peer.receive_all(0.001)) for peer in others)


def test_a_source_holds_so_many_sessions(start_relay: StartRelay) -> None:
    relay = start_relay("--session-limit-per-ip", "3")
    first = relay.new_session()
    a, b = register(relay, "127.0.0.2", first), register(relay, "127.0.0.2", first)
    ping_pong(a, b)
    second = relay.new_session()
    register(relay, "127.0.0.3", second)
    register(relay, "127.0.0.2", second)
    register(relay, "127.0.0.2")
    expect_refusal(relay, "127.0.0.2")
    # Nor does it get the second place in somebody's session.
    third = relay.new_session()
    register(relay, "127.0.0.3", third)
    expect_refusal(relay, "127.0.0.2", third)
    register(relay, "127.0.0.4", third)
    a.send(b"goes on")
    b.expect(b"goes on")
    assert refused(relay) == [("127.0.0.2", "session_limit_per_ip")] * 2
    assert relay.summary()["dropped_session_limit_per_ip"] == "2"


def test_a_network_holds_so_many_sessions(start_relay: StartRelay) -> None:
    # The one that found out whether the relay answers is in the same network.
    relay = start_relay("--session-limit-per-prefix", "3")
    register(relay, "127.0.0.2")
    register(relay, "127.0.0.3")
    expect_refusal(relay, "127.0.0.4")
    register(relay, "127.0.1.4")
    assert refused(relay) == [("127.0.0.4", "session_limit_per_prefix")]


def test_a_client_of_version_two_is_told(start_relay: StartRelay) -> None:
    relay = start_relay("--session-limit-per-ip", "1")
    register(relay, "127.0.0.2")
    peer = relay.peer("127.0.0.2")
    session = relay.new_session()
    cookie = cookie_for(peer, session, "000000000000000a")
    peer.send(keyed("REG", session, "000000000000000a", cookie))
    peer.expect(b"ERR:limit\n")


def test_limits_hold_after_a_restart_and_are_read_again(
    start_relay: StartRelay, tmp_path: Path
) -> None:
    settings = tmp_path / "relay.toml"
    settings.write_text("session-limit-per-ip = 2\n")
    relay = start_relay("--config", str(settings), "--state-dir", str(tmp_path / "state"))
    session = relay.new_session()
    with Peer(relay.address, "127.0.0.2") as a, Peer(relay.address, "127.0.0.2") as b:
        for peer in (a, b):
            peer.register(session)
        ping_pong(a, b)
        other = register(relay, "127.0.0.2")
        other.register(relay.new_session())
        relay.stop()
        # The state is written when it ends.
        relay.start_again()
        expect_refusal(relay, "127.0.0.2")
        assert refused(relay) == [("127.0.0.2", "session_limit_per_ip")]
        settings.write_text("session-limit-per-ip = 3\n")
        relay.process.send_signal(1)
        wait_until(lambda: relay.events("reconfigured"), "the new limit holds")
        register(relay, "127.0.0.2")
        a.send(b"goes on")
        b.expect(b"goes on")


def test_of_too_many_half_open_sessions_the_longest_waiting_goes(start_relay: StartRelay) -> None:
    relay = start_relay("--half-open-limit", "2")
    sessions = [relay.new_session() for _ in range(4)]
    for number, session in enumerate(sessions[:3]):
        register(relay, f"127.0.0.{number + 2}", session)
    wait_until(lambda: relay.events("session_ended", sessions[0]), "the first one is displaced")
    (ended,) = relay.events("session_ended", sessions[0])
    assert ended.fields["reason"] == "displaced"
    # A pair does not count.
    register(relay, "127.0.0.9", sessions[2])
    register(relay, "127.0.0.8", sessions[3])
    assert relay.events("session_ended", sessions[1]) == []
    assert relay.events("session_ended", sessions[2]) == []


def test_registrations_are_limited_in_total(start_relay: StartRelay) -> None:
    # Twice the sessions at once, of which one is gone for finding out whether the relay answers.
    relay = start_relay("--session-limit", "4", "--registration-rate", "1", "--metrics", "0")
    for number in range(7):
        register(relay, f"127.0.{number}.9")
    # One more a second since the start: so many peers at once exceed it all the same.
    peers = [relay.peer(f"127.1.{number}.9") for number in range(60)]
    start = time.monotonic()
    for peer in peers:
        peer.send(registration(relay.new_session()))
    wait_until(lambda: ask(relay, "/readyz")[0] == 200, "metrics are there")
    wait_until(
        lambda: scrape(relay)['quic_relay_datagrams_dropped_total{reason="registration_rate_total"}'] > 0,
        "refusals are counted",
    )
    answered = count_answers(peers)
    assert answered <= 2 + time.monotonic() - start
    assert {reason for _, reason in refused(relay)} == {"registration_rate_total"}


def test_answers_to_those_not_validated_are_limited_in_total(start_relay: StartRelay) -> None:
    relay = start_relay("--session-limit", "4", "--reply-rate", "1", "--stun")
    a, b = relay.pair()
    request = bytes.fromhex("000100002112a442") + bytes(12)
    askers = [relay.peer(f"127.2.{number}.9") for number in range(60)]
    start = time.monotonic()
    for asker in askers:
        asker.send(request)
    answered = count_answers(askers)
    assert answered <= 8 + time.monotonic() - start
    # Whoever has shown that it receives is not concerned.
    a.send(b"goes on")
    b.expect(b"goes on")
    assert int(relay.summary()["dropped_reply_rate"]) == 60 - answered


def test_a_session_ends_at_its_age(start_relay: StartRelay) -> None:
    relay = start_relay("--session-age-secs", "2")
    session = relay.new_session()
    a, b = relay.pair(session=session)
    start = time.monotonic()

    def has_ended() -> bool:
        a.send(b"alive")
        b.send(b"alive")
        return bool(relay.events("session_ended", session))

    wait_until(has_ended, "the session is too old")
    assert time.monotonic() - start > 1
    (ended,) = relay.events("session_ended", session)
    assert ended.fields["reason"] == "age"
    # It may begin anew.
    b.receive_all()
    a.receive_all()
    a.register(session)


def test_a_session_ends_that_has_carried_its_volume(start_relay: StartRelay) -> None:
    relay = start_relay("--session-bytes", "1M", "--metrics", "0")
    session, other = relay.new_session(), relay.new_session()
    a, b = relay.pair(session=session)
    c, d = relay.pair("127.0.0.5", "127.0.0.6", session=other)
    payload = bytes(10_000)
    for _ in range(60):
        for sender, receiver in ((a, b), (b, a)):
            sender.send(payload)
            receiver.expect(payload)
    wait_until(lambda: relay.events("session_ended", session), "the session carried too much")
    (ended,) = relay.events("session_ended", session)
    assert ended.fields["reason"] == "bytes"
    c.send(b"goes on")
    d.expect(b"goes on")
    wait_until(lambda: ask(relay, "/readyz")[0] == 200, "metrics are there")
    wait_until(
        lambda: scrape(relay)['quic_relay_sessions_ended_total{reason="bytes"}'] == 1,
        "the end is counted",
    )


@pytest.mark.parametrize("arguments", [
    ("--session-limit-per-ip", "-1"), ("--session-limit-per-prefix", "4000001"),
    ("--registration-rate", "0"), ("--reply-rate", "0"), ("--session-age-secs", "31536001"),
    ("--half-open-limit", "many"), ("--session-bytes", "1"), ("--session-bytes", "5Q"),
])
def test_what_is_not_allowed_is_told(
    start_relay: StartRelay, arguments: tuple[str, str]
) -> None:
    with pytest.raises(AssertionError, match="ended at start with status 64") as error:
        start_relay(f"{arguments[0]}={arguments[1]}")
    assert arguments[0].removeprefix("--") in str(error.value)
