"""Those who are no peer of any pair: garbage, half-open sessions, bad lines, STUN."""

from __future__ import annotations

import random
import time
import uuid
from collections import deque

from peers import registration

from .couple import LINGER_SECONDS
from .ledger import CountedSocket, Switchboard
from .payload import ID_BYTES, long_header

_OPEN_LIMIT = 100
# So often that the relay's tables of sources are full long before its memory is judged.
_NEWCOMER_CHANCE = 0.5
_STORM_LIMIT = 200
# 32 MB, of which a worker takes 64 datagrams at once.
_FLOOD_SOCKETS, _FLOOD_DATAGRAMS = 32, 16
_LONGEST_BYTES = 65_507
_MAGIC_COOKIE = 0x2112A442
_BINDING_REQUEST, _BINDING_RESPONSE = b"\x00\x01", b"\x01\x01"


class Strangers:
    """Sockets on hosts where no couple is."""

    def __init__(
        self, switchboard: Switchboard, rng: random.Random, counts: dict[str, int]
    ) -> None:
        self._switchboard = switchboard
        self._rng = rng
        self._counts = counts
        self._open: list[CountedSocket] = []
        self._former: deque[tuple[float, CountedSocket]] = deque()

    def act(self) -> int:
        """Lets one of them, or a new one, do something; how many datagrams that were."""
        rng = self._rng
        if not self._open or rng.random() < _NEWCOMER_CHANCE:
            self._open_one()
        if len(self._open) > _OPEN_LIMIT:
            former = self._open.pop(rng.randrange(len(self._open)))
            self._former.append((time.monotonic() + LINGER_SECONDS, former))
        stranger = rng.choice(self._open)
        name, payload = self._datagram()
        self._counts[f"strangers_{name}"] += 1
        stranger.send(payload)
        return 1

    def _open_one(self) -> CountedSocket:
        rng = self._rng
        host = f"127.{rng.randrange(128, 250)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
        self._open.append(self._switchboard.open(host, self._take))
        return self._open[-1]

    def flood(self) -> None:
        """Lets so many send the longest datagrams that each worker's buffer is full of them."""
        payload = self._rng.randbytes(_LONGEST_BYTES)
        for _ in range(_FLOOD_SOCKETS):
            stranger = self._open_one()
            for _ in range(_FLOOD_DATAGRAMS):
                stranger.send(payload)
        self._counts["floods"] += 1

    def storm(self) -> int:
        """Lets one send as many and as long datagrams at once as the relay takes in a batch, and more:
        so all of its buffers are in use from early on; how many they were."""
        count = self._rng.randrange(1, _STORM_LIMIT)
        payload = self._rng.randbytes(_LONGEST_BYTES)
        stranger = self._rng.choice(self._open)
        for _ in range(count):
            stranger.send(payload)
        self._counts["storms"] += 1
        return count

    def close_former(self, now: float) -> None:
        """Closes the sockets that nothing can come to any more."""
        while self._former and self._former[0][0] < now:
            self._switchboard.close(self._former.popleft()[1])

    def _datagram(self) -> tuple[str, bytes]:
        rng = self._rng
        session = uuid.UUID(int=rng.getrandbits(128), version=4)
        match rng.randrange(7):
            case 0:
                return "garbage", rng.randbytes(rng.randrange(1_500))
            case 1:
                return "half_open", registration(session, rng.choice((b"\n", b"", b"\r\n")))
            case 2:
                spoilt = bytearray(self._keyed(session))
                spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
                return "spoilt_line", bytes(spoilt)
            case 3:
                line = self._keyed(session)
                return "cut_line", line[: rng.randrange(len(line))]
            case 4:
                return "keyed", self._keyed(session)
            case 5:
                ids = rng.randbytes(ID_BYTES), rng.randbytes(ID_BYTES)
                header = long_header(True, *ids, 1_000)
                return "initial", header + rng.randbytes(1_000)
            case _:
                head = _BINDING_REQUEST + bytes(2) + _MAGIC_COOKIE.to_bytes(4, "big")
                return "stun", head + rng.randbytes(12)

    def _keyed(self, session: uuid.UUID) -> bytes:
        rng = self._rng
        cookie = f";cookie={rng.getrandbits(128):032x}" if rng.random() < 0.5 else ""
        return f"REG:{session};peer={rng.getrandbits(64):016x}{cookie}\n".encode()

    def _take(self, payload: bytes) -> None:
        known = (b"ACK\n", b"CHL:", b"ERR:", _BINDING_RESPONSE)
        assert payload.startswith(known), f"a stranger got {payload[:60]!r}"
        is_stun = payload.startswith(_BINDING_RESPONSE)
        self._counts["answers_to_stun" if is_stun else "answers_to_strangers"] += 1
