"""Two peers of one session that live for a while, move about, and leave."""

from __future__ import annotations

import random
import time
import uuid
from dataclasses import dataclass, field

from peers import registration

from .ledger import CountedSocket, Switchboard
from .payload import ID_BYTES, Stamp, long_header, read_stamp, short_header, stamped

# How long after its last use a socket stays open: longer than the relay forwards to its address.
LINGER_SECONDS = 20.0

_REPEAT_SECONDS = 1.0
_REFRESH_SECONDS = 3.0
# The relay's own and the machine's limit of a handshake's datagram do not matter here.
_HANDSHAKE_BYTES = 1_200
_SIZES = (30, 64, 150, 400, 900, 1_200, 1_350, 1_472)
_LARGE_SIZES = (4_000, 16_000, 65_507)
_TRAIN_LIMIT = 16
# As many of the longest at once as the relay takes in a batch, and more.
_STORM = 100


@dataclass
class End:
    """One of the two peers."""

    side: int
    host: str
    socket: CountedSocket
    key: str
    connection_id: bytes
    joins_at: float
    cookie: str = ""
    is_registered: bool = False
    registers_at: float = 0.0
    last_number: int = 0
    heard: int = 0
    former: list[CountedSocket] = field(default_factory=list)


class Couple:
    """A session of two peers. All that comes to either must be the other's.

    Only one that moves while its session waits, and registers from another address, may be taken
    for both: then it gets its own at its former address.
    """

    def __init__(
        self, number: int, switchboard: Switchboard, rng: random.Random, counts: dict[str, int]
    ) -> None:
        """Draws what kind of couple it is; the first registration is the next `step`."""
        self.number = number
        self.session = uuid.UUID(int=rng.getrandbits(128), version=4)
        self._switchboard = switchboard
        self._rng = rng
        self._counts = counts
        self.has_keys = rng.random() < 0.4
        self.is_quic = rng.random() < 0.7
        self._initial_id = rng.randbytes(ID_BYTES)
        now = time.monotonic()
        self.ends_at = now + rng.uniform(2, 40)
        self.left_at = 0.0
        self.ends = [self._end(side, now + side * rng.uniform(0, 2)) for side in range(2)]

    def _end(self, side: int, joins_at: float) -> End:
        rng = self._rng
        # No other couple is on its host, so that the relay need not guess whose a datagram is.
        host = self._host(side)
        key, connection_id = f"{rng.getrandbits(64):016x}", rng.randbytes(ID_BYTES)
        socket = self._switchboard.open(host, lambda payload: self._take(side, payload))
        return End(side, host, socket, key, connection_id, joins_at)

    def _host(self, side: int, moves: int = 0) -> str:
        number = self.number * 8 + side * 4 + moves % 4
        return f"127.{16 + (number >> 16) % 64}.{number >> 8 & 0xFF}.{number & 0xFF}"

    def step(self, now: float) -> None:
        """Registers whoever has to."""
        for end in self.ends:
            if now >= max(end.joins_at, end.registers_at):
                wait = _REFRESH_SECONDS if end.is_registered else _REPEAT_SECONDS
                end.registers_at = now + wait * self._rng.uniform(0.7, 1.3)
                self._register(end)

    @property
    def is_paired(self) -> bool:
        """Whether both were acknowledged."""
        return all(end.is_registered for end in self.ends)

    def send(self, limit: int) -> int:
        """Lets one of the two send some datagrams, at most so many; how many."""
        rng = self._rng
        end = self.ends[rng.randrange(2)]
        if not end.is_registered:
            return 0
        count = min(limit, rng.choice((1, 1, 2, 4, 8, 16)))
        kind = rng.random()
        if kind < 0.05:
            self._send(end, rng.choice(_LARGE_SIZES))
            return 1
        if kind < 0.051:
            for _ in range(_STORM):
                self._send(end, _LARGE_SIZES[-1])
            return _STORM
        if kind < 0.3 and count > 1 and end.heard > 3:
            self._send_train(end, min(count, _TRAIN_LIMIT))
            return count
        for _ in range(count):
            self._send(end, rng.choice(_SIZES))
        return count

    def move(self) -> None:
        """Gives one of the two another port or address, which it tells by registering or not."""
        rng = self._rng
        end = self.ends[rng.randrange(2)]
        is_far = rng.random() < 0.4
        if is_far:
            end.host = self._host(end.side, rng.randrange(4))
        side = end.side
        end.former.append(end.socket)
        end.socket = self._switchboard.open(end.host, lambda payload: self._take(side, payload))
        says_so = not self.is_quic or rng.random() < 0.5
        self._counts[f"moves_{'far' if is_far else 'near'}_{'said' if says_so else 'unsaid'}"] += 1
        if says_so:
            self._register(end)
        else:
            for _ in range(3):
                self._send(end, _SIZES[2])

    def leave(self, now: float) -> None:
        """Ends it, by a word or by silence."""
        self.left_at = now
        end = self.ends[self._rng.randrange(2)]
        if self.has_keys and end.cookie and self._rng.random() < 0.7:
            end.socket.send(self._keyed(end, "BYE"))
            self._counts["byes"] += 1

    def close(self, now: float) -> bool:
        """Closes its sockets if nothing can come to them any more; whether that is so."""
        is_over = bool(self.left_at) and now > self.left_at + LINGER_SECONDS
        if is_over:
            for end in self.ends:
                for socket in (*end.former, end.socket):
                    self._switchboard.close(socket)
        return is_over

    # What is sent

    def _register(self, end: End) -> None:
        if self.has_keys:
            end.socket.send(self._keyed(end, "REG"))
        else:
            end.socket.send(registration(self.session))

    def _keyed(self, end: End, verb: str) -> bytes:
        cookie = f";cookie={end.cookie}" if end.cookie else ""
        return f"{verb}:{self.session};peer={end.key}{cookie}\n".encode()

    def _send(self, end: End, size: int) -> None:
        end.socket.send(self._datagram(end, size))

    def _send_train(self, end: End, count: int) -> None:
        size = self._rng.choice(_SIZES)
        end.socket.send_train(b"".join(self._datagram(end, size) for _ in range(count)), size)

    def _datagram(self, end: End, size: int) -> bytes:
        end.last_number += 1
        stamp = Stamp(self.number, end.side, end.last_number)
        if not self.is_quic:
            return stamped(stamp, size)
        other = self.ends[1 - end.side]
        destination = other.connection_id if end.heard or end.side else self._initial_id
        if end.heard > 3:
            return stamped(stamp, size, short_header(destination, end.last_number >> 4 & 1))
        header_bytes = 6 + 2 * (1 + ID_BYTES) + 2
        header = long_header(
            not end.heard, destination, end.connection_id, _HANDSHAKE_BYTES - header_bytes
        )
        return stamped(stamp, _HANDSHAKE_BYTES, header)

    # What comes

    def _take(self, side: int, payload: bytes) -> None:
        end = self.ends[side]
        stamp = read_stamp(payload)
        if stamp:
            is_others = stamp.side != side
            assert stamp.couple == self.number and (is_others or end.former), (
                f"{stamp} came to side {side} of couple {self.number}"
            )
            end.heard += is_others
            self._counts["echoes"] += not is_others
            return
        self._counts[f"answers_{payload[:3].decode(errors='replace')}"] += 1
        if payload.startswith(b"ACK"):
            end.is_registered = True
        elif payload.startswith(b"CHL:"):
            end.cookie = payload[4:36].decode()
            if not self.left_at:
                self._register(end)
        else:
            assert payload.startswith(b"ERR:"), f"{payload[:60]!r} came"
            end.is_registered = False
