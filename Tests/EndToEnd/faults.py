"""System calls that fail as a test says, in an unchanged program (faults/faults.c)."""

from __future__ import annotations

import errno
import mmap
import struct
from pathlib import Path
from typing import Self

from relay_process import REPOSITORY

LIBRARY = REPOSITORY / ".build/faults.so"

# As enum call has them.
CALLS = (
    "receive",
    "cut",
    "send",
    "wait",
    "accept",
    "setoption",
    "open",
    "read",
    "write",
    "rename",
    "sync",
    "realtime",
    "monotonic",
    "load",
)

# struct script, and struct rule: error, chance, times, value, calls, faults, only.
_RANDOM = struct.Struct("=Q")
_RULE = struct.Struct("=iIqqQQ88s")
_ERROR, _TIMES = struct.Struct("=iI"), struct.Struct("=q")
_ALWAYS = 65_536


class Faults:
    """What a program is told by its system; nothing but the truth at first."""

    def __init__(self, path: Path, seed: int) -> None:
        """Begins; the seed decides which of the calls fail of which only some do."""
        assert LIBRARY.is_file(), f"no {LIBRARY}: build it with `make .build/{LIBRARY.name}`"
        self._path = path
        size = _RANDOM.size + len(CALLS) * _RULE.size
        path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), size)
        _RANDOM.pack_into(self._memory, 0, seed * 2 + 1)

    def __enter__(self) -> Self:
        """Begins."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends all faults."""
        for call in CALLS:
            self.heal(call)

    @property
    def environment(self) -> dict[str, str]:
        """What a program has to be started with."""
        return {"LD_PRELOAD": str(LIBRARY), "FAULTS": str(self._path)}

    def fail(
        self, call: str, error: int, *, chance: float = 1.0, times: int = -1, only: str = ""
    ) -> None:
        """Lets a call fail from now on: so often, with this chance, on files with this in their path."""
        rule = self._rule(call)
        self._write(call, (0, *rule[1:]))
        share = round(chance * _ALWAYS)
        self._write(call, (0, share, times, *rule[3:6], only.encode()))
        _ERROR.pack_into(self._memory, self._place(call), error, share)

    def heal(self, call: str) -> None:
        """Lets it do what it does."""
        _ERROR.pack_into(self._memory, self._place(call), 0, 0)

    def set(self, call: str, value: int) -> None:
        """Sets what else a rule has: messages at once, an option, or nanoseconds on a clock."""
        _TIMES.pack_into(self._memory, self._place(call) + _ERROR.size + _TIMES.size, value)

    def watch(self, call: str, only: str) -> None:
        """Counts calls on files with this in their path only."""
        rule = self._rule(call)
        self._write(call, (*rule[:6], only.encode()))

    def calls(self, call: str) -> int:
        """How often it was called, as far as the rule is for that file."""
        return int(self._rule(call)[4])

    def faults(self, call: str) -> int:
        """How often it failed."""
        return int(self._rule(call)[5])

    def _place(self, call: str) -> int:
        return _RANDOM.size + CALLS.index(call) * _RULE.size

    def _rule(self, call: str) -> tuple[int, int, int, int, int, int, bytes]:
        error, chance, times, value, calls, faults, only = _RULE.unpack_from(
            self._memory, self._place(call)
        )
        return error, chance, times, value, calls, faults, only

    def _write(self, call: str, rule: tuple[int, int, int, int, int, int, bytes]) -> None:
        _RULE.pack_into(self._memory, self._place(call), *rule)


def name(error: int) -> str:
    """An error number's name, for a test's."""
    return errno.errorcode[error]
