"""Telling a relay where a peer of a session is (Documentation/protocol.md)."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import socket
import time
import uuid
from collections.abc import Iterator

from quic_relay.address import Address, resolve

ACK = b"ACK\n"
DEFAULT_TRIES = 5
DEFAULT_WAIT_SECONDS = 2.0

_CANONICAL = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")

# The longest UDP payload. While a peer registers, whatever its partner sends arrives as well.
_LARGEST_DATAGRAM = 65_535


class RegistrationError(ConnectionError):
    """The relay did not acknowledge a registration."""


@dataclasses.dataclass(frozen=True)
class Registered:
    """A registration that the relay has acknowledged."""

    relay: Address
    local_port: int
    tries: int


def session_id(session: uuid.UUID | str) -> str:
    """The canonical form of a session id; raises ValueError for anything but a UUID."""
    text = str(session).strip()
    # uuid.UUID takes other forms, too: braces, no hyphens, a prefix.
    if not _CANONICAL.fullmatch(text):
        raise ValueError(f"{text!r} is not a session id: a UUID such as {uuid.UUID(int=1)}")
    return text.lower()


def line(session: uuid.UUID | str) -> bytes:
    """The line that registers a peer."""
    return f"REG:{session_id(session)}\n".encode("ascii")


def register(
    sock: socket.socket,
    relay: str | tuple[str, int],
    session: uuid.UUID | str,
    *,
    tries: int = DEFAULT_TRIES,
    wait_seconds: float = DEFAULT_WAIT_SECONDS,
) -> Registered:
    """Registers from a bound UDP socket, which stays open and gets its time-out back.

    Whatever else arrives meanwhile is dropped: QUIC sends again what was lost. Raises
    RegistrationError when the relay has not answered the last try: it is not there, a firewall
    drops UDP on the way, or both places of the session are taken.
    """
    if tries < 1:
        raise ValueError(f"{tries} tries: must be at least 1")
    address = resolve(relay, sock.family)
    request = line(session)
    before = sock.gettimeout()
    try:
        for attempt in range(1, tries + 1):
            # What an earlier datagram met (ECONNREFUSED) is reported here; the try counts.
            with contextlib.suppress(ConnectionError):
                sock.sendto(request, address)
            if _is_acknowledged(sock, address, wait_seconds):
                return Registered(address, int(sock.getsockname()[1]), attempt)
    finally:
        sock.settimeout(before)
    raise RegistrationError(
        f"{address} did not acknowledge {tries} registrations, {wait_seconds:g} s apart"
    )


def _is_acknowledged(sock: socket.socket, relay: Address, wait_seconds: float) -> bool:
    """Waits for the acknowledgement, which only the relay can give."""
    deadline = time.monotonic() + wait_seconds
    while (left := deadline - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            reply, source = sock.recvfrom(_LARGEST_DATAGRAM)
        except TimeoutError:
            return False
        except ConnectionError:
            continue
        if tuple(source[:2]) == tuple(relay) and reply.strip() == ACK.strip():
            return True
    return False


@contextlib.contextmanager
def register_port(
    relay: str | tuple[str, int],
    session: uuid.UUID | str,
    local_port: int = 0,
    *,
    tries: int = DEFAULT_TRIES,
    wait_seconds: float = DEFAULT_WAIT_SECONDS,
) -> Iterator[Registered]:
    """Registers from a port and has it until the `with` ends; then QUIC must bind it, and soon.

        with register_port("relay.example", session, 5555) as registered:
            ...                      # what the other side needs to know is exchanged here
        portal.listen(registered.local_port)

    A NAT may forget the mapping after 30 s of silence. For a program that waits longer than that
    use `Forwarder`.
    """
    address = resolve(relay)
    with socket.socket(address.family, socket.SOCK_DGRAM) as sock:
        sock.bind(("::" if address.family == socket.AF_INET6 else "0.0.0.0", local_port))
        yield register(sock, address, session, tries=tries, wait_seconds=wait_seconds)
