"""A relay as small as the protocol allows: two addresses a session, the last two to register."""

from __future__ import annotations

import socket
import threading

from quic_relay import Address


class FakeRelay:
    """Acknowledges registrations and forwards between the two addresses of a session."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self.address = Address(host, int(self._socket.getsockname()[1]))
        self.lines: list[bytes] = []
        self.sources: list[Address] = []
        self.silent_registrations = 0
        self._sessions: dict[bytes, list[Address]] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def send(self, payload: bytes, to: Address) -> None:
        """Sends something from the relay's address."""
        self._socket.sendto(payload, to)

    def close(self) -> None:
        """Ends it."""
        with socket.socket(self._socket.family, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"end of the test", self.address)
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while True:
            payload, source = self._socket.recvfrom(65_535)
            address = Address(str(source[0]), int(source[1]))
            if payload == b"end of the test":
                return
            if payload.startswith(b"REG:"):
                self._register(payload, address)
            else:
                self._forward(payload, address)

    def _register(self, payload: bytes, address: Address) -> None:
        self.lines.append(payload)
        self.sources.append(address)
        if len(self.lines) <= self.silent_registrations:
            return
        places = self._sessions.setdefault(payload, [])
        if address not in places:
            places.append(address)
            del places[:-2]
        self._socket.sendto(b"ACK\n", address)

    def _forward(self, payload: bytes, address: Address) -> None:
        for places in self._sessions.values():
            if address in places:
                for other in places:
                    if other != address:
                        self._socket.sendto(payload, other)
