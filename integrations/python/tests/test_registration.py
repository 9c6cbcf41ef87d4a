"""Registering from a socket or a port."""

from __future__ import annotations

import socket
import uuid

import pytest

from fake_relay import FakeRelay
from quic_relay import RegistrationError, register, register_port
from quic_relay.registration import line, session_id

SESSION = uuid.UUID("0d5a2f0e-6c1b-4d7e-9f39-5a1c37ad5b10")


def bound(relay: FakeRelay) -> socket.socket:
    sock = socket.socket(relay.address.family, socket.SOCK_DGRAM)
    sock.bind((relay.address.host, 0))
    return sock


def test_the_line_is_41_bytes() -> None:
    assert line(SESSION) == b"REG:0d5a2f0e-6c1b-4d7e-9f39-5a1c37ad5b10\n"
    assert line(str(SESSION).upper()) == line(SESSION)
    assert len(line(SESSION)) == 41


@pytest.mark.parametrize("text", ["", "x", str(SESSION)[:-1], SESSION.hex, f"{{{SESSION}}}"])
def test_only_canonical_ids_are_sent(text: str) -> None:
    with pytest.raises(ValueError, match="session id"):
        session_id(text)


def test_registers_from_the_socket_that_it_is_given(relay: FakeRelay) -> None:
    with bound(relay) as sock:
        sock.settimeout(7)
        registered = register(sock, relay.address, SESSION)
        assert registered.tries == 1
        assert registered.local_port == relay.sources[0].port == sock.getsockname()[1]
        assert registered.relay == relay.address
        assert sock.gettimeout() == 7
    assert relay.lines == [line(SESSION)]


def test_tries_again_what_was_lost(relay: FakeRelay) -> None:
    relay.silent_registrations = 2
    with bound(relay) as sock:
        assert register(sock, relay.address, SESSION, wait_seconds=0.05).tries >= 3


def test_says_so_when_nobody_answers(relay: FakeRelay) -> None:
    relay.silent_registrations = 1_000
    with bound(relay) as sock, pytest.raises(RegistrationError, match="3 registrations"):
        register(sock, relay.address, SESSION, tries=3, wait_seconds=0.02)
    assert len(relay.lines) == 3


def test_a_closed_port_is_no_answer() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        address = closed.getsockname()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(RegistrationError):
            register(sock, address, SESSION, tries=2, wait_seconds=0.02)


def test_only_the_relay_acknowledges(relay: FakeRelay) -> None:
    relay.silent_registrations = 1_000
    with bound(relay) as sock, bound(relay) as stranger:
        stranger.sendto(b"ACK\n", sock.getsockname()[:2])
        relay.send(b"something else", relay.address._replace(port=sock.getsockname()[1]))
        with pytest.raises(RegistrationError):
            register(sock, relay.address, SESSION, tries=1, wait_seconds=0.1)


def test_the_port_is_free_afterwards(relay: FakeRelay) -> None:
    with register_port(relay.address, SESSION) as registered:
        port = registered.local_port
    with socket.socket(relay.address.family, socket.SOCK_DGRAM) as sock:
        sock.bind(("::" if relay.address.family == socket.AF_INET6 else "0.0.0.0", port))


def test_a_port_in_use_is_an_error(relay: FakeRelay) -> None:
    with register_port(relay.address, SESSION) as registered:
        with pytest.raises(OSError), register_port(relay.address, SESSION, registered.local_port):
            pass
