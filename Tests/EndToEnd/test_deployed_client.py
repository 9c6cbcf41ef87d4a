"""Version 1 as it is deployed works in every mode that promises it (Documentation/protocol.md)."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deployed_client import REFRESH_SECONDS, DeployedClient, NotRegistered
from peers import Address, free_ports, registration
from relay_process import GuardedRelay, Relay, StartRelay
from waiting import wait_until

# One IP address each, as two NATs would give them.
SERVER_HOST, CLIENT_HOST = "127.0.0.2", "127.0.0.3"

MODES = {
    "default": (),
    "strict": ("--strict",),
    "stun": ("--stun",),
    "two workers": ("--workers", "2"),
    "two workers, strict": ("--workers", "2", "--strict"),
    "same ip": ("--rebind", "same-ip"),
    "no offload": ("--no-offload",),
    "no filter": ("--no-overload-filter",),
    "busy": ("--busy-poll-us", "100"),
}
FIXED_MODES = MODES | {"off": ("--rebind", "off")}

# What QUIC sends first: 1,200 bytes with a long header (RFC 9000 §14.1, RFC 8999 §5.1).
_INITIAL = b"\xc3" + (1).to_bytes(4, "big") + b"\x08initial.\x08its own." + bytes(1_178)
_ANSWER = b"\xc3" + (1).to_bytes(4, "big") + b"\x08its own.\x08answers." + bytes(1_178)


@contextmanager
def couple(relay: Address) -> Iterator[tuple[DeployedClient, DeployedClient]]:
    """A server and a client, not yet registered."""
    ports = free_ports(relay.host, 2)
    with (
        DeployedClient(relay, SERVER_HOST, ports[0]) as server,
        DeployedClient(relay, CLIENT_HOST, ports[1]) as client,
    ):
        yield server, client


def meet(
    server: DeployedClient, client: DeployedClient, session: uuid.UUID, wait_seconds: float = 0.0
) -> None:
    """Registers both with one try each, punches, and refreshes without reading."""
    assert server.register(session) == 1
    assert client.register(session) == 1
    client.send(b"punch")
    server.expect(b"punch")
    server.send(b"punch-ack")
    client.expect(b"punch-ack")
    for program in (server, client):
        time.sleep(wait_seconds)
        program.send(registration(session))


def talk(server: DeployedClient, client: DeployedClient) -> tuple[bytes, bytes]:
    """A first flight of QUIC each way, as it is; what came to the server and to the client."""
    client.send(_INITIAL)
    server.expect(_INITIAL)
    server.send(_ANSWER)
    client.expect(_ANSWER)
    return _INITIAL, _ANSWER


def expect_nothing_but(program: DeployedClient, *payloads: bytes) -> None:
    """What came is what the other one sent, and `ACK` with a line feed, byte for byte."""
    program.read_all()
    assert set(program.received) == {b"ACK\n", *payloads}


@pytest.mark.parametrize("options", FIXED_MODES.values(), ids=FIXED_MODES.keys())
def test_it_meets_its_partner_and_hands_its_port_to_quic(
    start_relay: StartRelay, options: tuple[str, ...]
) -> None:
    relay = start_relay(*options)
    with couple(relay.address) as (server, client):
        meet(server, client, relay.new_session())
        for program in (server, client):
            program.hand_over()
        talk(server, client)
        expect_nothing_but(server, b"punch", _INITIAL)
        expect_nothing_but(client, b"punch-ack", _ANSWER)


@pytest.mark.parametrize("options", MODES.values(), ids=MODES.keys())
def test_its_nat_may_map_it_anew_in_the_hand_over(
    start_relay: StartRelay, options: tuple[str, ...]
) -> None:
    relay = start_relay(*options)
    with couple(relay.address) as (server, client):
        meet(server, client, relay.new_session())
        server.hand_over()
        client.hand_over(free_ports(CLIENT_HOST, 1)[0])
        talk(server, client)
        expect_nothing_but(server, b"punch", _INITIAL)
        expect_nothing_but(client, b"punch-ack", _ANSWER)


def test_with_rebinding_off_a_new_mapping_has_to_register(start_relay: StartRelay) -> None:
    relay = start_relay("--rebind", "off")
    session = relay.new_session()
    with couple(relay.address) as (server, client):
        meet(server, client, session)
        client.hand_over(free_ports(CLIENT_HOST, 1)[0])
        client.send(b"from nowhere")
        assert client.register(session) == 1
        talk(server, client)
        expect_nothing_but(server, b"punch", _INITIAL)


def test_it_refreshes_every_three_seconds_from_a_socket_that_it_never_reads(
    start_relay: StartRelay,
) -> None:
    """Its own time: the relay answers each, and none of the answers is in the way of QUIC."""
    relay = start_relay()
    session = relay.new_session()
    with couple(relay.address) as (server, client):
        meet(server, client, session, REFRESH_SECONDS)
        client.send(registration(session))
        talk(server, client)
        expect_nothing_but(client, b"punch-ack", _ANSWER)
        assert client.received.count(b"ACK\n") == 3


def test_a_server_that_waits_is_met_at_the_first_try(start_relay: StartRelay) -> None:
    """And its refreshes, once answered by nobody but the relay, are never forwarded."""
    relay = start_relay()
    session = relay.new_session()
    with couple(relay.address) as (server, client):
        server.register(session)
        for _ in range(3):
            server.send(b"punch")
            server.send(registration(session))
        assert client.register(session) == 1
        talk(server, client)
        expect_nothing_but(client, _ANSWER)
        expect_nothing_but(server, _INITIAL)


def test_it_does_not_notice_that_the_relay_was_killed(
    start_relay: StartRelay, tmp_path: Path
) -> None:
    relay = start_relay("--state-dir", str(tmp_path / "state"))
    session = relay.new_session()
    with couple(relay.address) as (server, client):
        meet(server, client, session)
        _await_state(tmp_path / "state" / "sessions.state", client)
        server.read_all()
        relay.kill()
        relay.start_again()
        for program in (server, client):
            program.hand_over()
        talk(server, client)
        assert client.register(session) == 1
        expect_nothing_but(server, b"punch", b"a change", _INITIAL)


def _await_state(state: Path, client: DeployedClient) -> None:
    """Returns when the state was written twice, so that all that was said before is in it."""
    for _ in range(2):
        before = state.stat().st_mtime_ns if state.exists() else 0

        def is_written(before: int = before) -> bool:
            client.send(b"a change")
            return state.exists() and state.stat().st_mtime_ns != before

        wait_until(is_written, "the state to be written")


def test_a_draining_relay_serves_who_has_met_and_is_silent_to_others(
    start_relay: StartRelay,
) -> None:
    relay = start_relay("--drain-secs", "3600")
    session = relay.new_session()
    with couple(relay.address) as (server, client), couple(relay.address) as (late, _):
        meet(server, client, session)
        relay.process.send_signal(signal.SIGTERM)
        wait_until(lambda: relay.events("drain_started"), "the relay to drain")
        assert client.register(session) == 1
        talk(server, client)
        _expect_refused_in_silence(late, relay)


def test_a_relay_that_wants_tokens_is_silent(guarded: GuardedRelay) -> None:
    with couple(guarded.address) as (server, _):
        _expect_refused_in_silence(server, guarded)
    summary = guarded.summary()
    assert int(summary["dropped_unauthorized"]) == 5
    assert not guarded.events("session_opened")


def _expect_refused_in_silence(program: DeployedClient, relay: Relay) -> None:
    """Five tries, as ever but quicker, and not a byte in answer."""
    with pytest.raises(NotRegistered):
        program.register(relay.new_session(), try_seconds=0.1)
    assert program.received == []
