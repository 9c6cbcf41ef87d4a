"""How relays are named."""

from __future__ import annotations

import pytest

from quic_relay import Address, resolve
from quic_relay.address import split


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("relay.example", ("relay.example", 4433)),
        ("relay.example:99", ("relay.example", 99)),
        (" 203.0.113.7 ", ("203.0.113.7", 4433)),
        ("2001:db8::1", ("2001:db8::1", 4433)),
        ("[2001:db8::1]", ("2001:db8::1", 4433)),
        ("[2001:db8::1]:65535", ("2001:db8::1", 65_535)),
    ],
)
def test_what_is_taken(text: str, expected: tuple[str, int]) -> None:
    assert split(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", ":4433", "relay:", "relay:0", "relay:65536", "relay:x", "relay:-1", "[::1", "[::1]4433"],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"host|port"):
        split(text)


def test_a_port_may_be_required() -> None:
    with pytest.raises(ValueError, match="names no port"):
        split("127.0.0.1", None)


def test_addresses_print_as_they_are_read() -> None:
    for address in (Address("192.0.2.1", 5), Address("2001:db8::1", 5)):
        assert split(str(address)) == tuple(address)


def test_numbers_resolve_to_themselves() -> None:
    assert resolve("127.0.0.1:7") == Address("127.0.0.1", 7)
    assert resolve(("::1", 7)) == Address("::1", 7)
