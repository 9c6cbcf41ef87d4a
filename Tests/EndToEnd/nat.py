"""A NAT in user space: between a peer's program and the relay, and able to change its mind.

    program ── inner address ── Mapping ── outer address ── relay
               127.0.0.1:…                 127.0.0.2:…

The program takes the inner address for the relay's. The relay sees the outer address, on a
loopback address that stands for a public one, and another one after a rebinding. Datagrams stay
whole and in order; only their payload is carried on, ECN marks are not.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import functools
import os
import queue
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

from peers import Address

Result = TypeVar("Result")

# Read at a time from one socket before others get their turn.
_BATCH_DATAGRAMS = 64
_DATAGRAM_BYTES = 65_535

# Quinn's initial window is 1 MiB and it sends it at once.
_RECEIVE_BUFFER_BYTES = 4 << 20

# Of what the relay was sent this much is remembered: the handshake and the latest.
_FIRST_DATAGRAMS = 64
_LATEST_DATAGRAMS = 64

# At 1,200 bytes each, 80 MB under way; beyond it the NAT loses datagrams, as every queue does.
_DELAYED_DATAGRAMS = 1 << 16

# Each costs a socket until the NAT ends.
_REBINDING_LIMIT = 64

# A wall guards against hanging; the thread answers within microseconds.
_ANSWER_WALL_SECONDS = 30.0


@dataclass
class Rebinding:
    """A change of the outer address, and how long the peer was cut off by it."""

    old: Address
    new: Address
    at: float
    # Until the first datagram from the relay came to the new address.
    outage_seconds: float | None = None


@dataclass
class Flow:
    """What went one way."""

    datagrams: int = 0
    byte_count: int = 0

    def add(self, payload: bytes) -> None:
        """Counts a datagram."""
        self.datagrams += 1
        self.byte_count += len(payload)


@dataclass
class _Plan:
    after_bytes: int
    times: int
    host: str | None
    inward: bool
    blocks_outward: bool


class Mapping:
    """What a NAT holds for one peer: an inner address, and the outer address of the moment."""

    def __init__(self, nat: Nat, relay: Address, host: str) -> None:
        """Opened by `Nat.mapping`."""
        self.rebindings: list[Rebinding] = []
        # From the program to the relay and back, as far as they got through.
        self.outward = Flow()
        self.inward = Flow()
        # The same since the outer address is this one, and since something came to it.
        self.outward_here = Flow()
        self.inward_here = Flow()
        self._since_answered = Flow()
        # Found the way blocked or a full queue; inward also what came to a former outer address.
        self.lost_outward = Flow()
        self.lost_inward = Flow()
        # A broken NAT or firewall: what goes this way is lost.
        self.blocks_outward = False
        self.blocks_inward = False
        # What the relay was sent, as seen by whoever listens on the way: the start and the latest.
        self.first_sent: list[bytes] = []
        self.latest_sent: collections.deque[bytes] = collections.deque(maxlen=_LATEST_DATAGRAMS)
        self._nat = nat
        self._relay = relay
        self._plan: _Plan | None = None
        self._program: tuple[str, int] | None = None
        self._inside = _socket("127.0.0.1")
        self._outside = self._open(host)
        self.inner = Address(*self._inside.getsockname())
        nat.watch(self._inside, self._take_from_program)
        nat.watch(self._outside, functools.partial(self._take_from_relay, self._outside))

    @property
    def outer(self) -> Address:
        """Where the relay sees the peer."""
        return Address(*self._outside.getsockname())

    def rebind(self, host: str | None = None) -> Rebinding:
        """Moves to another port, of another public address if one is given.

        What the relay sends to the old address is lost from now on, and nobody tells it: the old
        port stays taken and mute.
        """
        return self._nat.call(lambda: self._rebind(host))

    def plan_rebindings(
        self,
        after_bytes: int,
        times: int = 1,
        host: str | None = None,
        inward: bool = False,
        blocks_outward: bool = False,
    ) -> None:
        """Rebinds in the middle of what is to come, without a look at the clock.

        Each time when the program has sent so many bytes (received them, if `inward`) since the
        relay's first datagram to the outer address of the moment. With `blocks_outward` nothing
        leaves by the new address until that is set back.
        """
        plan = _Plan(after_bytes, times, host, inward, blocks_outward)
        self._nat.call(lambda: setattr(self, "_plan", plan))

    def between_datagrams(self, work: Callable[[], None]) -> None:
        """Does something while no datagram is on its way through the NAT."""
        self._nat.call(work)

    def inject(self, payload: bytes) -> None:
        """Sends a datagram to the relay as if the program had sent it."""
        self._nat.call(lambda: self._send_outward(payload))

    # MARK: What the NAT's thread does

    def _open(self, host: str) -> socket.socket:
        outside = _socket(host)
        # Only the relay is let in, as by a NAT that filters by address and port.
        outside.connect((self._relay.host, self._relay.port))
        return outside

    def _rebind(self, host: str | None) -> Rebinding:
        assert len(self.rebindings) < _REBINDING_LIMIT, "too many rebindings"
        old = self.outer
        # Opened while the old port is still taken, so it is another one.
        self._outside = self._open(host or old.host)
        self._nat.watch(self._outside, functools.partial(self._take_from_relay, self._outside))
        self.outward_here, self.inward_here, self._since_answered = Flow(), Flow(), Flow()
        self.rebindings.append(Rebinding(old, self.outer, time.monotonic()))
        return self.rebindings[-1]

    def _take_from_program(self) -> None:
        for _ in range(_BATCH_DATAGRAMS):
            try:
                payload, self._program = self._inside.recvfrom(
                    _DATAGRAM_BYTES, socket.MSG_DONTWAIT
                )
            except BlockingIOError:
                return
            if not self._nat.later(self._send_outward, payload):
                self.lost_outward.add(payload)

    def _send_outward(self, payload: bytes) -> None:
        if self.blocks_outward:
            self.lost_outward.add(payload)
            return
        # Nobody listens where the relay was when it has ended before the program has.
        with contextlib.suppress(ConnectionRefusedError):
            self._outside.send(payload)
        if len(self.first_sent) < _FIRST_DATAGRAMS:
            self.first_sent.append(payload)
        self.latest_sent.append(payload)
        self.outward.add(payload)
        self.outward_here.add(payload)
        if self.inward_here.datagrams:
            self._count_towards_plan(payload, inward=False)

    def _take_from_relay(self, outside: socket.socket) -> None:
        for _ in range(_BATCH_DATAGRAMS):
            try:
                payload = outside.recv(_DATAGRAM_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue
            if outside is not self._outside or self.blocks_inward or self._program is None:
                self.lost_inward.add(payload)
                continue
            if self.rebindings and not self.inward_here.datagrams:
                last = self.rebindings[-1]
                last.outage_seconds = time.monotonic() - last.at
            if not self._nat.later(self._send_inward, payload):
                self.lost_inward.add(payload)
                continue
            self.inward.add(payload)
            self.inward_here.add(payload)
            self._count_towards_plan(payload, inward=True)

    def _send_inward(self, payload: bytes) -> None:
        assert self._program is not None
        self._inside.sendto(payload, self._program)

    def _count_towards_plan(self, payload: bytes, inward: bool) -> None:
        plan = self._plan
        if plan is None or plan.inward != inward:
            return
        self._since_answered.add(payload)
        if plan.times > 0 and self._since_answered.byte_count >= plan.after_bytes:
            plan.times -= 1
            self.blocks_outward = plan.blocks_outward
            self._rebind(plan.host)


class Nat:
    """One public address with a mapping for each peer behind it, served by a thread."""

    def __init__(self, relay: Address, host: str, delay_seconds: float = 0.0) -> None:
        """`host` is the public address; every datagram takes `delay_seconds` to pass."""
        self.host = host
        self._relay = relay
        self._delay_seconds = delay_seconds
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        self._delayed: collections.deque[tuple[float, Callable[[bytes], None], bytes]]
        self._delayed = collections.deque()
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._is_closing = False
        self._is_closed = False
        self._failure: BaseException | None = None
        self._bell = os.eventfd(0, os.EFD_NONBLOCK)
        self._selector.register(self._bell, selectors.EVENT_READ, self._answer)
        self._thread = threading.Thread(target=self._run, name=f"NAT {host}", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def mapping(self) -> Mapping:
        """A place for one more peer."""
        return self.call(lambda: Mapping(self, self._relay, self.host))

    def close(self) -> None:
        """Ends the thread and closes all sockets; tells of a failure that nobody has met yet."""
        if self._thread.is_alive():
            self._is_closing = True
            os.eventfd_write(self._bell, 1)
            self._thread.join(_ANSWER_WALL_SECONDS)
            assert not self._thread.is_alive(), "the NAT's thread does not end"
        if not self._is_closed:
            self._is_closed = True
            self._selector.close()
            for opened in self._sockets:
                opened.close()
            os.close(self._bell)
        self._check()

    def call(self, work: Callable[[], Result]) -> Result:
        """Lets the thread do something between two datagrams and returns the result."""
        result: concurrent.futures.Future[Result] = concurrent.futures.Future()

        def answer() -> None:
            try:
                result.set_result(work())
            except Exception as error:
                result.set_exception(error)

        self._check()
        self._calls.put(answer)
        os.eventfd_write(self._bell, 1)
        return result.result(_ANSWER_WALL_SECONDS)

    # MARK: What the thread does

    def watch(self, opened: socket.socket, callback: Callable[[], None]) -> None:
        """Calls back when something comes to a socket, and closes it at the end."""
        self._sockets.append(opened)
        self._selector.register(opened, selectors.EVENT_READ, callback)

    def later(self, send: Callable[[bytes], None], payload: bytes) -> bool:
        """Sends a datagram when it has been under way for long enough; says no to one too many."""
        if not self._delay_seconds:
            send(payload)
            return True
        if len(self._delayed) == _DELAYED_DATAGRAMS:
            return False
        # The delay is the same for all, so this queue is in the order of time.
        self._delayed.append((time.monotonic() + self._delay_seconds, send, payload))
        return True

    def _run(self) -> None:
        try:
            while not self._is_closing:
                for key, _ in self._selector.select(self._seconds_to_next()):
                    key.data()
                self._send_due()
        except BaseException as error:
            self._failure = error

    def _seconds_to_next(self) -> float | None:
        return max(0.0, self._delayed[0][0] - time.monotonic()) if self._delayed else None

    def _send_due(self) -> None:
        now = time.monotonic()
        while self._delayed and self._delayed[0][0] <= now:
            _, send, payload = self._delayed.popleft()
            send(payload)

    def _answer(self) -> None:
        os.eventfd_read(self._bell)
        while not self._calls.empty():
            self._calls.get()()

    def _check(self) -> None:
        if self._failure is not None:
            raise AssertionError(f"the NAT {self.host} failed") from self._failure


def _socket(host: str) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    opened.bind((host, 0))
    return opened
