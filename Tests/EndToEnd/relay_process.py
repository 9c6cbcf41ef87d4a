"""The relay under test as a child process."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from peers import ACK, Address, Peer, free_ports, ping_pong, registration
from relay_log import Event, parse, short
from waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT_BINARY = ".build/release/quic-relay"

# Walls, not expectations: the relay starts and stops in milliseconds.
START_WALL_SECONDS = 30.0
STOP_WALL_SECONDS = 10.0


def relay_binary() -> Path:
    """The relay to test: QUIC_RELAY_BINARY, or the release build of this repository."""
    return REPOSITORY / os.environ.get("QUIC_RELAY_BINARY", DEFAULT_BINARY)


def why_no_relay() -> str | None:
    """What is wrong with the binary, if anything."""
    binary = relay_binary()
    if binary.is_file() and os.access(binary, os.X_OK):
        return None
    return (
        f"no relay to test: {binary} is not an executable file. "
        "Build it with `make build`, or set QUIC_RELAY_BINARY."
    )


def sanitizer() -> str | None:
    """The sanitizer that the relay is built with, if any (`make sanitize`)."""
    return os.environ.get("SANITIZER") or None


def neutral_environment() -> dict[str, str]:
    """The environment without settings of the relay.

    Every flag also reads the environment; a developer's settings must not change the result. There is
    no control socket unless a test asks for one: the machine's default one is not the tests' to have.
    END_TO_END_WORKERS lets every relay forward with so many threads. A sanitizer looks for leaks by
    ptrace(2), which the sandbox forbids.
    """
    others = {k: v for k, v in os.environ.items() if not k.startswith("QUIC_RELAY_")}
    workers = os.environ.get("END_TO_END_WORKERS", "1")
    settings = {"QUIC_RELAY_CONTROL": "off", "QUIC_RELAY_WORKERS": workers}
    if sanitizer():
        settings["QUIC_RELAY_NO_SANDBOX"] = "true"
    return others | settings


class RelayPeers:
    """Where a relay is, and the peers that a test opened on it."""

    def __init__(self, host: str, rng: random.Random) -> None:
        """Chooses a free port for the relay."""
        self.address = Address(host, free_ports(host, 1)[0])
        self._rng = rng
        self._peers: list[Peer] = []

    def new_session(self) -> uuid.UUID:
        """A session id that no other test uses."""
        return uuid.UUID(int=self._rng.getrandbits(128), version=4)

    def peer(self, host: str | None = None, port: int = 0) -> Peer:
        """A peer of this relay, closed together with it."""
        peer = Peer(self.address, host, port)
        self._peers.append(peer)
        return peer

    def pair(self, *hosts: str, session: uuid.UUID | None = None) -> tuple[Peer, Peer]:
        """Two peers bound to one session, both addresses validated.

        On IPv4 they have two addresses, since a newcomer on the address of one is taken for that
        one. IPv6 has a single loopback address.
        """
        if not hosts:
            ipv6 = ":" in self.address.host
            hosts = (self.address.host,) * 2 if ipv6 else ("127.0.0.2", "127.0.0.3")
        session = session or self.new_session()
        a, b = (self.peer(host) for host in hosts)
        a.register(session)
        b.register(session)
        ping_pong(a, b)
        return a, b

    def close_peers(self) -> None:
        """Frees the peers' ports."""
        for peer in self._peers:
            peer.close()


class Relay(RelayPeers):
    """A running relay, and the peers that a test opened on it."""

    def __init__(
        self,
        host: str,
        arguments: list[str],
        log: Path,
        rng: random.Random,
        variables: dict[str, str] | None = None,
    ) -> None:
        """Starts the relay on a free port, with more variables, and returns when it answers."""
        super().__init__(host, rng)
        self._variables = variables or {}
        self.log = log
        self._is_stopped = False
        self._command = [str(relay_binary()), "--no-tui", "--bind", host]
        self._command += ["--port", str(self.address.port), *arguments]
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            told = [len(self.events(name)) for name in self._started]
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=neutral_environment() | self._variables,
            )
        try:
            self._await_answer()
            for name, before in zip(self._started, told, strict=True):
                self._await_event(name, before)
        except BaseException:
            self._end()
            raise
        return self.process

    def start_again(self) -> None:
        """Starts a relay that was killed anew, at the same address."""
        self._start()
        self._is_stopped = False

    def output(self) -> str:
        """What the relay printed so far."""
        return self.log.read_text(errors="replace")

    def events(self, name: str, session: uuid.UUID | str | None = None) -> list[Event]:
        """The events of one kind that the relay has logged so far, of one session if given."""
        named = [event for event in parse(self.output()) if event.name == name]
        if session is None:
            return named
        return [event for event in named if event.fields.get("session") == short(session)]

    def summary(self) -> dict[str, str]:
        """Ends the relay and returns its totals."""
        self.stop()
        (stopped,) = self.events("stopped")
        return stopped.fields

    def stop(self) -> None:
        """Ends the relay, which must still be running and must obey SIGTERM."""
        if self._is_stopped:
            return
        self._is_stopped = True
        self.close_peers()
        early = self.process.poll()
        on_request = self._end()
        assert early is None, f"the relay ended by itself with status {early}\n{self.output()}"
        assert on_request, f"SIGTERM did not end the relay in {STOP_WALL_SECONDS} s"
        status = self.process.returncode
        assert status in (0, -signal.SIGTERM, 128 + signal.SIGTERM), (
            f"the relay answered SIGTERM with status {status}\n{self.output()}"
        )

    def kill(self) -> None:
        """Ends the relay as a crash does, and frees the peers' ports."""
        self._is_stopped = True
        self.close_peers()
        self.process.kill()
        self.process.wait()

    def _end(self) -> bool:
        if self.process.poll() is not None:
            return True
        self.process.terminate()
        try:
            self.process.wait(STOP_WALL_SECONDS)
            return True
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return False

    def _await_answer(self) -> None:
        # From an address that no test uses, so that no test meets this peer's session (IPv4; IPv6
        # has one loopback address, and there the session waits in vain until it times out).
        host = self.address.host if ":" in self.address.host else "127.0.0.254"
        deadline = time.monotonic() + START_WALL_SECONDS
        line = registration(self.new_session())
        with Peer(self.address, host) as probe:
            while time.monotonic() < deadline:
                status = self.process.poll()
                if status is not None:
                    raise AssertionError(
                        f"the relay ended at start with status {status}\n{self.output()}"
                    )
                probe.send(line)
                try:
                    received = probe.receive(0.05)
                except TimeoutError:
                    continue
                assert received == ACK, f"{received!r} answered a registration"
                return
        raise AssertionError(
            f"the relay did not answer within {START_WALL_SECONDS} s\n{self.output()}"
        )


    @property
    def _started(self) -> list[str]:
        """What it tells when the rest of it is there, too, unless it tells nothing, or otherwise: it
        answers before that."""
        if {"error", "warning", "json"} & set(self._command):
            return []
        return ["listening"] + ["control_listening"] * ("--control" in self._command)

    def _await_event(self, name: str, before: int) -> None:
        wait_until(
            lambda: self.process.poll() is not None or len(self.events(name)) > before,
            f"the relay tells: {name}",
            START_WALL_SECONDS,
        )
        assert self.process.poll() is None, self.output()


class GuardedRelay(Relay):
    """One that answers nobody without a token, so that its answer cannot tell that it is there."""

    def _await_answer(self) -> None:
        pass


# The fixture `start_relay`: extra arguments, and `host=` for the address to bind to.
StartRelay = Callable[..., Relay]
