"""Forwards between a relay and a QUIC program on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import selectors
import socket
import subprocess
import sys
import threading
import time
import uuid
from types import TracebackType
from typing import Literal

from quic_relay.address import Address, resolve
from quic_relay.registration import ACK, RegistrationError, line

# A NAT forgets a UDP mapping after 30 s at the earliest, as a rule (RFC 4787 §4.3 asks for 2 min).
KEEP_ALIVE_SECONDS = 15.0
SILENCE_SECONDS = 1.0
FIRST_RETRY_SECONDS = 0.25
LAST_RETRY_SECONDS = 2.0

_LARGEST_DATAGRAM = 65_535
_BUFFER_BYTES = 4 << 20
# Datagrams in a row from one socket, so that the other one and the clock get their turn.
_BATCH = 64

# linux/in.h and linux/in6.h; the socket module does not name them.
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE = 10, 23, 3


@dataclasses.dataclass
class Schedule:
    """When to register: the decisions, without a clock or a socket."""

    _sent_at: float = -KEEP_ALIVE_SECONDS
    _unanswered_since: float | None = None
    _retry_at: float | None = None
    _retry_seconds: float = FIRST_RETRY_SECONDS

    @property
    def awaits_acknowledgement(self) -> bool:
        """Whether a registration has not been answered yet."""
        return self._retry_at is not None

    @property
    def due_at(self) -> float:
        """When to register next, unless something happens before."""
        if self._retry_at is not None:
            return self._retry_at
        keep_alive_at = self._sent_at + KEEP_ALIVE_SECONDS
        if self._unanswered_since is None:
            return keep_alive_at
        # When nothing comes back, the mapping may be another one by now and the partner be mute:
        # then only a registration tells the relay.
        return min(keep_alive_at, self._unanswered_since + SILENCE_SECONDS)

    def registered(self, now: float) -> None:
        """Notes that a registration was sent."""
        self._sent_at = now
        self._retry_at = now + self._retry_seconds
        self._retry_seconds = min(2 * self._retry_seconds, LAST_RETRY_SECONDS)

    def acknowledged(self) -> None:
        """Notes the relay's answer. Silence counts anew: the relay knows this mapping now."""
        self._retry_at = None
        self._retry_seconds = FIRST_RETRY_SECONDS
        self._unanswered_since = None

    def heard(self) -> None:
        """Notes a datagram of the partner."""
        self._unanswered_since = None

    def sent(self, now: float) -> None:
        """Notes a datagram for the partner, which keeps the mapping alive as well."""
        self._sent_at = now
        if self._unanswered_since is None:
            self._unanswered_since = now


class Forwarder:
    """Registers a peer and forwards between the relay and one local QUIC program.

    With `listen` the QUIC client on this machine connects to `address`; one at a time, as a new
    sender there takes over. With `forward_to` the QUIC server on this machine listens there. ECN
    marks are not carried: QUIC notices and does without.
    """

    def __init__(
        self,
        relay: str | tuple[str, int],
        session: uuid.UUID | str,
        *,
        listen: tuple[str, int] | None = None,
        forward_to: tuple[str, int] | None = None,
    ) -> None:
        target = _one_of(listen, forward_to)
        self._line = line(session)
        self.relay = resolve(relay)
        self._wake, self._waker = socket.socketpair()
        self._upstream = _open(self.relay.family)
        try:
            # Connected: nobody but the relay is heard.
            self._upstream.connect(self.relay)
            self._local = _open(target.family)
            self._program: Address | None = None
            if listen is not None:
                self._local.bind(target)
            else:
                self._local.connect(target)
                self._program = target
        except OSError:
            self.close()
            raise
        self._is_server = forward_to is not None
        self._schedule = Schedule()
        self._acknowledged = threading.Event()
        self._stops = False
        self._thread: threading.Thread | None = None
        self.datagrams_out = 0
        self.datagrams_in = 0
        self.datagrams_lost = 0

    @property
    def address(self) -> Address:
        """Where the local socket is: what a QUIC client connects to."""
        host, port = self._local.getsockname()[:2]
        return Address(str(host), int(port))

    def start(self, wait_seconds: float = 10.0) -> Forwarder:
        """Forwards in a thread from now on; returns once the relay has acknowledged.

        Raises RegistrationError when it has not in time. A thread shares the interpreter with its
        program, whose work delays datagrams by milliseconds: see `ForwarderProcess`.
        """
        self._thread = threading.Thread(target=self.run, name="quic-relay", daemon=True)
        self._thread.start()
        if not self._acknowledged.wait(wait_seconds):
            self.stop()
            raise RegistrationError(f"{self.relay} did not acknowledge within {wait_seconds:g} s")
        return self

    def stop(self) -> None:
        """Ends forwarding and frees the ports. More than once is allowed."""
        self._stops = True
        with contextlib.suppress(OSError):
            self._waker.send(b"x")
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self.close()

    def close(self) -> None:
        """Frees the ports of a forwarder that does not run."""
        for name in ("_upstream", "_local", "_wake", "_waker"):
            sock = getattr(self, name, None)
            if sock is not None:
                sock.close()

    def __enter__(self) -> Forwarder:
        return self if self._thread is not None else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def wait_acknowledged(self, seconds: float) -> bool:
        """Whether the relay has acknowledged, waiting for that at most so long."""
        return self._acknowledged.wait(seconds)

    def run(self) -> None:
        """Forwards in this thread until another one calls `stop`."""
        with selectors.DefaultSelector() as selector:
            for sock in (self._upstream, self._local, self._wake):
                selector.register(sock, selectors.EVENT_READ)
            while not self._stops:
                now = time.monotonic()
                if now >= self._schedule.due_at:
                    self._send(self._upstream, self._line)
                    self._schedule.registered(now)
                ready = selector.select(max(0.0, self._schedule.due_at - time.monotonic()))
                for key, _ in ready:
                    if key.fileobj is self._upstream:
                        self._take_from_relay()
                    elif key.fileobj is self._local:
                        self._take_from_program()

    def _take_from_relay(self) -> None:
        for _ in range(_BATCH):
            try:
                datagram = self._upstream.recv(_LARGEST_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:
                # What an earlier datagram met on its way (ECONNREFUSED …) is loss.
                self.datagrams_lost += 1
                continue
            # A partner may send the same four bytes, but hardly while an answer is due.
            if datagram == ACK and self._schedule.awaits_acknowledgement:
                self._schedule.acknowledged()
                self._acknowledged.set()
                continue
            self._schedule.heard()
            self.datagrams_in += 1
            if self._program is None:
                self.datagrams_lost += 1
            elif self._is_server:
                self._send(self._local, datagram)
            else:
                self._send(self._local, datagram, self._program)

    def _take_from_program(self) -> None:
        now = time.monotonic()
        for _ in range(_BATCH):
            try:
                datagram, source = self._local.recvfrom(_LARGEST_DATAGRAM)
            except BlockingIOError:
                return
            except OSError:
                self.datagrams_lost += 1
                continue
            if not self._is_server:
                self._program = Address(str(source[0]), int(source[1]))
            self.datagrams_out += 1
            self._send(self._upstream, datagram)
            self._schedule.sent(now)

    def _send(self, sock: socket.socket, datagram: bytes, to: Address | None = None) -> None:
        try:
            if to is None:
                sock.send(datagram)
            else:
                sock.sendto(datagram, to)
        except OSError:
            # EMSGSIZE, ENOBUFS, ECONNREFUSED, EAGAIN: loss, as on any path.
            self.datagrams_lost += 1


class ForwarderProcess:
    """A forwarder in a process of its own, which no work of this one delays."""

    def __init__(
        self,
        relay: str | tuple[str, int],
        session: uuid.UUID | str,
        *,
        listen: tuple[str, int] | None = None,
        forward_to: tuple[str, int] | None = None,
    ) -> None:
        target = _one_of(listen, forward_to)
        relay_address = resolve(relay)
        option: Literal["--listen", "--forward"] = "--listen" if listen else "--forward"
        # The session's id is a secret: command lines are seen by everybody on the machine.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "quic_relay", "--relay", str(relay_address)]
            + [option, str(target), "--session", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        # The pipe stays open: the process ends when it is closed, however this one ends.
        self._process.stdin.write(line(session).decode()[4:])
        self._process.stdin.flush()
        answer = self._process.stdout.readline().split()
        if len(answer) != 2 or answer[0] != "registered":
            self.stop()
            raise RegistrationError(f"{relay_address} did not acknowledge the registration")
        host, _, port = answer[1].rpartition(":")
        self.address = Address(host.strip("[]"), int(port))

    def stop(self) -> None:
        """Ends the process. More than once is allowed."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()

    def __enter__(self) -> ForwarderProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _one_of(listen: tuple[str, int] | None, forward_to: tuple[str, int] | None) -> Address:
    """The address of the program's side, of which there must be exactly one."""
    if (listen is None) == (forward_to is None):
        raise ValueError("a forwarder needs either listen or forward_to")
    return Address(*(listen or forward_to or ("", 0)))


def _open(family: socket.AddressFamily) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)
    if sys.platform == "linux":
        # Never a fragment: QUIC looks for the path's limit itself and must see it.
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _PMTUDISC_PROBE)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_PROBE)
    return sock
