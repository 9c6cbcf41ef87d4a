"""Addresses of relays and programs."""

from __future__ import annotations

import socket
from typing import NamedTuple

DEFAULT_PORT = 4433


class Address(NamedTuple):
    """An IP address and a UDP port; a plain tuple for the socket module."""

    host: str
    port: int

    @property
    def family(self) -> socket.AddressFamily:
        """The address's family."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def split(
    text: str, default_port: int | None = DEFAULT_PORT, *, lowest_port: int = 1
) -> tuple[str, int]:
    """Splits `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address.

    Raises ValueError with a line that says what is wrong. Without a default the port must be there.
    Port 0, which lets the system choose, is taken where `lowest_port` is 0.
    """
    word = text.strip()
    host, port = word, ""
    if word.startswith("["):
        host, bracket, rest = word[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r}: an IPv6 address with a port is written [2001:db8::1]:4433")
        port = rest[1:]
        has_port = bool(rest)
    else:
        has_port = word.count(":") == 1
        if has_port:
            host, _, port = word.partition(":")
    if not host:
        raise ValueError(f"{text!r} names no host")
    if not has_port:
        if default_port is None:
            raise ValueError(f"{text!r} names no port")
        return host, default_port
    if not (port.isascii() and port.isdigit() and lowest_port <= int(port) <= 65_535):
        raise ValueError(f"{text!r}: the port must be a number from {lowest_port} to 65535")
    return host, int(port)


def resolve(relay: str | tuple[str, int], family: int = 0) -> Address:
    """The first address of a relay: `host`, `host:port`, or a host and a port.

    Raises OSError where the name is not known, and ValueError where `relay` is no address.
    """
    host, port = split(relay) if isinstance(relay, str) else relay
    found = socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM)
    address = found[0][4]
    return Address(str(address[0]), int(address[1]))
