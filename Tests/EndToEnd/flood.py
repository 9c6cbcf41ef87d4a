"""A peer that sends more than it may, for as long as a test measures what becomes of that."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

from peers import Peer

# What a datagram takes on the wire, with IPv4 and UDP headers.
DATAGRAM_BYTES = 1_200
HEADER_BYTES = 28
# Up to 12 MB a second, which leaves the relay the time that it needs.
TRAIN = 12
PAUSE_SECONDS = 0.001


class Flood:
    """Sends trains from a thread, more than is allowed."""

    def __init__(self, peer: Peer) -> None:
        """Remembers who sends."""
        self._peer = peer
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        size = DATAGRAM_BYTES - HEADER_BYTES
        train = bytes(size * TRAIN)
        while not self._ends.wait(PAUSE_SECONDS):
            self._peer.send_train(train, size)
