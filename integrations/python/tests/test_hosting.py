"""What hosting layers call."""

from __future__ import annotations

import socket
import uuid

import pytest

from fake_relay import FakeRelay
from quic_relay import hosting

SESSION = uuid.UUID("0d5a2f0e-6c1b-4d7e-9f39-5a1c37ad5b10")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"QUIC_RELAY_IP": "  "}, None),
        ({"QUIC_RELAY_IP": "203.0.113.7"}, ("203.0.113.7", 4433)),
        ({"QUIC_RELAY_IP": "relay.example:99"}, ("relay.example", 99)),
        ({"QUIC_RELAY_IP": "203.0.113.7", "QUIC_RELAY_PORT": "99"}, ("203.0.113.7", 99)),
        ({"QUIC_RELAY_IP": "203.0.113.7:5", "QUIC_RELAY_PORT": "99"}, ("203.0.113.7", 5)),
    ],
)
def test_the_environment_names_the_relay(
    environment: dict[str, str], expected: tuple[str, int] | None
) -> None:
    assert hosting.relay_address(environment) == expected


def test_a_bad_port_is_named() -> None:
    with pytest.raises(ValueError, match="QUIC_RELAY_PORT=x: must be"):
        hosting.relay_address({"QUIC_RELAY_IP": "a", "QUIC_RELAY_PORT": "x"})


@pytest.mark.parametrize("word", ["1", "true", "YES", " on "])
def test_relay_only(word: str) -> None:
    assert hosting.is_relay_only({"QUIC_RELAY_ONLY": word})


@pytest.mark.parametrize("word", ["", "0", "False", "no"])
def test_not_only(word: str) -> None:
    assert not hosting.is_relay_only({"QUIC_RELAY_ONLY": word})


def test_an_unclear_word_is_an_error() -> None:
    with pytest.raises(ValueError, match="QUIC_RELAY_ONLY=maybe"):
        hosting.is_relay_only({"QUIC_RELAY_ONLY": "maybe"})


def test_registers_and_leaves_the_port_to_quic(relay: FakeRelay) -> None:
    handle = hosting.register_with_relay(relay.address, str(SESSION), 0)
    with socket.socket(relay.address.family, socket.SOCK_DGRAM) as quic:
        quic.bind((relay.address.host, handle.local_port))
    handle.stop()
    assert relay.sources[0].port == handle.local_port


def test_a_relay_that_is_not_there_is_a_connection_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionError):
            hosting.register_with_relay(mute.getsockname(), str(SESSION), 0, max_retries=1)
