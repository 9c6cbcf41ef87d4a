"""A lively QUIC connection: two aioquic programs that ping each other until they are to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from peers import Address
from programs import TRANSFER_WALL_SECONDS, Child, check, where
from waiting import wait_until

PROGRAM = "aioquic_pings.py"
# What the program prints when the first ping has come.
LIVE = "first ping"


@dataclass(frozen=True)
class Pings:
    """What one side of a connection with pings saw, as it printed it."""

    sent: int
    received: int
    # Between two pings that came.
    longest_gap_seconds: float


class Conversation:
    """The two programs, server first; their options are those of the aioquic programs."""

    def __init__(
        self, relays: Sequence[Address], ports: Sequence[int], directory: Path, *options: str
    ) -> None:
        """Starts both programs and returns when pings have come both ways."""
        self.children: list[Child] = []
        directory.mkdir(parents=True, exist_ok=True)
        try:
            for role, relay, port in zip(("server", "client"), relays, ports, strict=True):
                arguments = [role, *where(port, relay), *options]
                child = Child(PROGRAM, arguments, directory / f"{role}.log")
                self.children.append(child)
                if role == "server":
                    child.await_bound(port)
            wait_until(self._is_live, "pings both ways", TRANSFER_WALL_SECONDS)
        except BaseException:
            self.end()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def check_alive(self) -> None:
        """Fails if one of the programs has ended."""
        for child in self.children:
            check(child.is_running(), self.children, f"{child.log.name}: ended early")

    def finish(self) -> tuple[Pings, Pings]:
        """Lets the connection end in order; every ping that was sent must have come.

        Returns what server and client saw.
        """
        self.check_alive()
        for child in self.children:
            child.ask_to_end()
        wait_until(
            lambda: not any([child.is_running() for child in self.children]),
            "the end of both programs",
            TRANSFER_WALL_SECONDS,
        )
        server, client = (Pings(**child.report()) for child in self.children)
        for sender, receiver in ((server, client), (client, server)):
            check(sender.sent == receiver.received, self.children, "pings are missing")
        return server, client

    def end(self) -> None:
        """Kills what still runs."""
        for child in self.children:
            child.end()

    def _is_live(self) -> bool:
        self.check_alive()
        return all(LIVE in child.output() for child in self.children)
