"""What runs at users of version 1 today, as Documentation/protocol.md tells of it.

openpi-flash with quic-portal 0.1.13 binds port 5555 (server) or 5556 (client), registers with five
tries of 2 s each, takes nothing but `ACK` for an answer, punches, registers again every 3 s from a
socket that nobody reads, closes that, and lets QUIC bind the port 50 to 100 ms later.
"""

from __future__ import annotations

import socket
import time
import uuid
from types import TracebackType
from typing import Self

from peers import DATAGRAM_WALL_SECONDS, SILENCE_SECONDS, Address, registration

SERVER_PORT, CLIENT_PORT = 5_555, 5_556
TRIES = 5
TRY_SECONDS = 2.0
REFRESH_SECONDS = 3.0
# Between closing the socket and QUIC's bind: 50 to 100 ms.
HAND_OVER_SECONDS = 0.075


class NotRegistered(Exception):
    """Five tries went by without an acknowledgement."""


class DeployedClient:
    """One of the two programs; every datagram that comes to it is kept."""

    def __init__(self, relay: Address, host: str, port: int) -> None:
        """Binds its port."""
        self._relay = (relay.host, relay.port)
        self._host = host
        self.port = port
        self.received: list[bytes] = []
        self._socket = self._bound(port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def register(self, session: uuid.UUID, try_seconds: float = TRY_SECONDS) -> int:
        """Tries five times; how many it took."""
        for number in range(TRIES):
            self.send(registration(session))
            self._socket.settimeout(try_seconds)
            try:
                reply = self._receive()
            except TimeoutError:
                continue
            if reply.strip() == b"ACK":
                return number + 1
        raise NotRegistered

    def send(self, payload: bytes) -> None:
        """Sends to the relay."""
        self._socket.sendto(payload, self._relay)

    def expect(self, payload: bytes) -> None:
        """Reads on to this datagram; only acknowledgements may come before it."""
        self._socket.settimeout(DATAGRAM_WALL_SECONDS)
        while (received := self._receive()) != payload:
            assert received == b"ACK\n", f"{received[:60]!r} came before {payload[:60]!r}"

    def read_all(self) -> None:
        """Reads what is there and what comes in a moment."""
        self._socket.settimeout(SILENCE_SECONDS)
        try:
            while True:
                self._receive()
        except TimeoutError:
            return

    def hand_over(self, port: int | None = None) -> None:
        """Frees the port and lets QUIC bind it, or another one as a NAT's new mapping would be."""
        self._socket.close()
        time.sleep(HAND_OVER_SECONDS)
        self.port = port or self.port
        self._socket = self._bound(self.port)

    def _bound(self, port: int) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((self._host, port))
        return opened

    def _receive(self) -> bytes:
        payload, source = self._socket.recvfrom(65_535)
        assert source == self._relay, f"a datagram from {source}"
        self.received.append(payload)
        return payload
