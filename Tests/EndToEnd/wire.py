"""A path between programs and a relay that loses what is too long, or everything."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable

from peers import Address


class Wire:
    """Carries datagrams between whoever sends to `address` and a relay, if `lets_pass` says so.

    Each sender is a port of its own to the relay. ECN marks are not carried.
    """

    def __init__(self, relay: Address, lets_pass: Callable[[bytes], bool]) -> None:
        """Starts."""
        self._relay = (relay.host, relay.port)
        self._lets_pass = lets_pass
        self._selector = selectors.DefaultSelector()
        self._inside = socket.socket(relay.family, socket.SOCK_DGRAM)
        self._inside.bind((relay.host, 0))
        self._end, self._ender = socket.socketpair()
        self._selector.register(self._inside, selectors.EVENT_READ)
        self._selector.register(self._end, selectors.EVENT_READ)
        self._outside: dict[tuple[str, int], socket.socket] = {}
        self._senders: dict[int, tuple[str, int]] = {}
        self.address = Address(relay.host, int(self._inside.getsockname()[1]))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it."""
        self._ender.send(b"x")
        self._thread.join()
        for opened in (self._inside, self._end, self._ender, *self._outside.values()):
            opened.close()
        self._selector.close()

    def _run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._end:
                    return
                if key.fileobj is self._inside:
                    self._take_from_sender()
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._take_from_relay(key.fileobj)

    def _take_from_sender(self) -> None:
        payload, source = self._inside.recvfrom(65_535)
        sender = (str(source[0]), int(source[1]))
        if sender not in self._outside:
            opened = socket.socket(self._inside.family, socket.SOCK_DGRAM)
            opened.connect(self._relay)
            self._outside[sender] = opened
            self._senders[opened.fileno()] = sender
            self._selector.register(opened, selectors.EVENT_READ)
        if self._lets_pass(payload):
            self._outside[sender].send(payload)

    def _take_from_relay(self, opened: socket.socket) -> None:
        payload = opened.recv(65_535)
        if self._lets_pass(payload):
            self._inside.sendto(payload, self._senders[opened.fileno()])
