"""One side of a transfer with quic-portal (Quinn), optionally after the deployed client's start.

The client sends first and the server answers: a Portal's `recv` holds the lock that its `send`
needs, and two sides that both send more than the windows before they receive wait for ever.
"""

from __future__ import annotations

import argparse
import socket
import time

from quic_portal import Portal, QuicTransportOptions

from peers import registration
from programs import TRANSFER_WALL_SECONDS, payload, print_received, transfer_parser

_WALL_MILLISECONDS = int(TRANSFER_WALL_SECONDS * 1_000)

# The numbers of the deployed client: quic-portal 0.1.13's portal.py and what registers before it.
_REGISTRATION_TRIES = 5
_REGISTRATION_SECONDS = 2.0
_PUNCH_SECONDS = 0.1
_PUNCH_ACK_COUNT = 5
_PUNCH_ACK_SECONDS = 0.03
_LINGER_SECONDS = 1.0
_PUNCH_WALL_SECONDS = 15.0
_SERVER_GAP_SECONDS = 0.1
_CLIENT_GAP_SECONDS = 0.05


def receive(portal: Portal) -> bytes:
    """The next message, whole."""
    # A receive that times out loses what it has read (the future is dropped), so there is one try.
    received = portal.recv(_WALL_MILLISECONDS)
    if received is None:
        raise TimeoutError("no whole message came")
    return bytes(received)


def await_close(portal: Portal, may_be_lost: bool) -> None:
    """Returns when the other side has closed the connection.

    It says so once and is gone: where that may be lost, as by a relay that is killed just then,
    the connection times out instead. The other side has everything all the same, or fails itself.

    `send` returns when the bytes are buffered and `close` does not wait for their delivery, so the
    side that sent last must not close first. `close` ends the stream and the connection at once:
    whichever of the two arrives first is reported.
    """
    endings = ["ApplicationClosed", "FinishedEarly(0)"] + ["TimedOut"] * may_be_lost
    try:
        message = portal.recv(_WALL_MILLISECONDS)
    except RuntimeError as error:
        if not any(ending in str(error) for ending in endings):
            raise
    else:
        raise AssertionError(f"{message!r} instead of the end of the connection")


def _serve(portal: Portal, options: argparse.Namespace, tries: int) -> None:
    portal.listen(options.local_port, QuicTransportOptions())
    start = time.monotonic()
    received = receive(portal)
    seconds = time.monotonic() - start
    # Not a wait for something: the connection is to be idle.
    time.sleep(options.pause_seconds)
    portal.send(payload(options.seed, options.bytes))
    await_close(portal, options.may_lose_close)
    print_received(received, seconds, tries)


def _connect(portal: Portal, options: argparse.Namespace, tries: int) -> None:
    portal.connect(
        options.relay_host, options.relay_port, options.local_port, QuicTransportOptions()
    )
    outgoing = payload(options.seed, options.bytes)
    start = time.monotonic()
    portal.send(outgoing)
    received = receive(portal)
    seconds = time.monotonic() - start
    portal.close()
    print_received(received, seconds, tries)


class _Start:
    """What the deployed client does on its port before QUIC has it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._relay = (options.relay_host, options.relay_port)
        self._session = options.session
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("0.0.0.0", options.local_port))

    def register(self) -> int:
        """Registers like the deployed client and returns the tries it took."""
        self._socket.settimeout(_REGISTRATION_SECONDS)
        for attempt in range(1, _REGISTRATION_TRIES + 1):
            self._socket.sendto(registration(self._session), self._relay)
            try:
                reply = self._socket.recv(1_024)
            except TimeoutError:
                continue
            if reply.strip() == b"ACK":
                return attempt
        raise TimeoutError(f"not registered after {_REGISTRATION_TRIES} tries")

    def punch(self, role: str) -> None:
        """Punches until the other side is heard, then frees the port for QUIC."""
        self._socket.settimeout(_PUNCH_SECONDS)
        deadline = time.monotonic() + _PUNCH_WALL_SECONDS
        awaited = b"punch" if role == "server" else b"punch-ack"
        heard = False
        while not heard:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {awaited!r} came")
            self._socket.sendto(b"punch", self._relay)
            heard = self._next() == awaited
        if role == "server":
            self._acknowledge()
            linger = time.monotonic() + _LINGER_SECONDS
            while time.monotonic() < linger:
                if self._next() == b"punch":
                    self._acknowledge()
        self._socket.close()
        # Not a wait for something: these gaps are part of the life that the test reproduces.
        time.sleep(_SERVER_GAP_SECONDS if role == "server" else _CLIENT_GAP_SECONDS)

    def _next(self) -> bytes:
        try:
            return self._socket.recv(2_048)
        except TimeoutError:
            return b""

    def _acknowledge(self) -> None:
        for _ in range(_PUNCH_ACK_COUNT):
            self._socket.sendto(b"punch-ack", self._relay)
            time.sleep(_PUNCH_ACK_SECONDS)


def main() -> None:
    """Runs one side."""
    parser = transfer_parser()
    parser.add_argument("--may-lose-close", action="store_true", help="where datagrams are lost")
    parser.add_argument("--session", help="register and punch first, as the deployed client does")
    parser.add_argument("--pause-seconds", type=float, default=0.0, help="before the server sends")
    options = parser.parse_args()
    tries = 0
    if options.session:
        start = _Start(options)
        tries = start.register()
        start.punch(options.role)
    run = _serve if options.role == "server" else _connect
    run(Portal(), options, tries)


if __name__ == "__main__":
    main()
