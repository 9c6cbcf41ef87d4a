"""Somebody who looks at the relay and commands it all the time, well or badly, in a thread."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from restarting import RestartingRelay
from waiting import wait_until

from . import books

_WALL_SECONDS = 30.0
# None at which the relay would not say that it has handed over.
_LEVELS = ("notice", "info", "debug")
_LATE = ("unconfirmed", "unavailable")
# A relay that is being replaced serves nothing for a moment.
_GONE = (ConnectionRefusedError, ConnectionResetError, BrokenPipeError, FileNotFoundError, EOFError)


class Operator:
    """Acts until it is told to pause; what fails in its thread fails in `check`."""

    def __init__(
        self,
        relay: RestartingRelay,
        control: Path,
        metrics_port: int,
        sessions: Callable[[], list[str]],
        rng: random.Random,
        counts: dict[str, int],
    ) -> None:
        self._relay = relay
        self._control = str(control)
        self._metrics_port = metrics_port
        self._sessions = sessions
        self._rng = rng
        self._counts = counts
        self._may_act = threading.Lock()
        self._ends = threading.Event()
        self._restarts: tuple[str, ...] = ()
        self._restart_at = 0.0
        self._restart_seconds = 0.0
        self._evicted: list[str] = []
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="operator", daemon=True)
        self._may_act.acquire()
        self._thread.start()

    @contextlib.contextmanager
    def at_work(self, restarts: tuple[str, ...], seconds: float) -> Iterator[None]:
        """Lets it act meanwhile, and restart the relay in these ways every so many seconds."""
        self._restarts = restarts
        self._restart_seconds = seconds
        self._restart_at = time.monotonic() + seconds * self._rng.random()
        self._may_act.release()
        try:
            yield
        finally:
            self._may_act.acquire()
        self.check()

    def await_service(self) -> None:
        """Waits until the relay, which forwards before it serves, does that, too."""
        wait_until(self._is_served, "the relay serves")

    def check(self) -> None:
        """Fails if it has failed."""
        if self._failure:
            raise self._failure

    def end(self) -> None:
        """Ends the thread, which must be pausing."""
        self._ends.set()
        self._may_act.release()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._ends.is_set():
                with self._may_act:
                    if not self._ends.is_set():
                        self._act()
                self._ends.wait(self._rng.uniform(0, 0.3))
        except BaseException as error:
            self._failure = error

    def _act(self) -> None:
        if self._restarts and time.monotonic() >= self._restart_at:
            kind = self._rng.choice(self._restarts)
            self._relay.restart(kind)
            self.await_service()
            self._counts[f"restarts_{kind}"] += 1
            wait = self._restart_seconds * self._rng.uniform(0.5, 1.5)
            self._restart_at = time.monotonic() + wait
            return
        deeds = (
            self._look, self._look, self._follow, self._evict, self._evict, self._undo, self._level,
            self._garbage, self._hang_up, self._scrape, self._bad_scrape, self._reload,
        )
        deed = self._rng.choice(deeds)
        self._counts[f"operator{deed.__name__}"] += 1
        # Each is answered: a restart is done by this thread, and so not under way now.
        deed()

    def _ask(self, request: dict[str, object]) -> dict[str, Any]:
        with self._client() as client, client.makefile("rb") as lines:
            assert "quic_relay" in json.loads(lines.readline())
            client.sendall(json.dumps({"id": 1} | request).encode() + b"\n")
            answer: dict[str, Any] = json.loads(lines.readline())
            return answer

    def _is_served(self) -> bool:
        try:
            books.from_metrics(self._metrics_port).check()
            return "status" in self._ask({"request": "status"})
        except _GONE:
            return False

    def _client(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(_WALL_SECONDS)
        client.connect(self._control)
        return client

    def _look(self) -> None:
        rng = self._rng
        kind = rng.choice(("status", "sessions", "view", "events"))
        request: dict[str, object] = {"request": kind}
        if kind in ("sessions", "view"):
            request["sort"] = rng.choice(("id", "why", "rate-ab", "bytes", "idle"))
            request["filter"] = rng.choice(("", "why:mute", "rebinds>0", "127.16"))
        self._expect(kind, self._ask(request))

    def _follow(self) -> None:
        with self._client() as client:
            client.sendall(b'{"id":2,"request":"events","follow":true}\n')
            for _ in range(self._rng.randrange(5)):
                client.recv(65_536)

    def _evict(self) -> None:
        session = self._rng.choice(self._sessions() or [""])
        if session:
            self._ask({"request": "evict", "session": session})
            self._evicted = [*self._evicted[-50:], session]

    def _undo(self) -> None:
        if self._evicted:
            self._ask({"request": "undo_evict", "session": self._rng.choice(self._evicted)})

    def _level(self) -> None:
        answer = self._ask(
            {"request": "set_log_level", "level": self._rng.choice(_LEVELS), "revert_s": 1}
        )
        self._expect("command", answer)

    def _expect(self, what: str, answer: dict[str, Any]) -> None:
        """Checks an answer. On a machine that is busy the relay may take longer than it promises."""
        if answer.get("error", {}).get("code") in _LATE:
            self._counts["late_answers"] += 1
            return
        assert what in answer, answer

    def _garbage(self) -> None:
        with contextlib.suppress(*_GONE), self._client() as client:
            for _ in range(self._rng.randrange(1, 5)):
                client.sendall(self._rng.randbytes(self._rng.randrange(5_000)))

    def _hang_up(self) -> None:
        with contextlib.suppress(*_GONE), self._client() as client:
            client.sendall(b'{"id":1,"request":"sessions"}\n{"id":2,"request":"sta')

    def _scrape(self) -> None:
        books.from_metrics(self._metrics_port).check()

    def _bad_scrape(self) -> None:
        with (
            contextlib.suppress(*_GONE),
            socket.create_connection(("127.0.0.1", self._metrics_port), _WALL_SECONDS) as web,
        ):
            web.sendall(self._rng.choice((b"GET /", b"\x16\x03\x01", b"POST / HTTP/1.1\r\n\r\n")))

    def _reload(self) -> None:
        self._relay.signal(signal.SIGHUP)
