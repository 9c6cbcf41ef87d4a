"""QUIC programs over access lines that lose, delay, reorder, repeat, corrupt, cut and clear."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.conftest import IS_LONG, Outcome
from lab.impairments import Counts, Impairments
from lab.laboratory import Laboratory, LabTransfer
from lab.nats import NatKind
from lab.stacks import AIOQUIC, CURL, QUIC_PORTAL, LabStack

# Small: aioquic takes a minute for 4 MiB where 2 % are lost on both lines.
_BYTES = 512 << 10


@dataclass(frozen=True)
class Wire:
    """What the wires of both sites do, and the count that shows that they did.

    `only` is the program that meets it: who sends no ECN marks can lose none.
    """

    name: str
    impairments: Impairments
    counted: str
    only: LabStack | None = None


_BAD_DAY = Impairments(
    loss=0.01,
    duplication=0.01,
    corruption=0.005,
    reordering=0.01,
    delay_seconds=0.02,
    jitter_seconds=0.01,
    bits_per_second=1e7,
    mtu=1_400,
    clears_ecn=True,
)

WIRES = (
    Wire("loss 2 %", Impairments(loss=0.02), "lost"),
    Wire("delay 30 to 40 ms", Impairments(delay_seconds=0.03, jitter_seconds=0.01), "carried"),
    Wire("5 % late by 10 ms", Impairments(reordering=0.05, reordering_seconds=0.01), "reordered"),
    Wire("5 % twice", Impairments(duplication=0.05), "duplicated"),
    Wire("2 % corrupt", Impairments(corruption=0.02), "corrupted"),
    Wire("2 Mbit/s", Impairments(bits_per_second=2e6, delay_seconds=0.01), "queue_full"),
    Wire("MTU 1300 with ICMP", Impairments(mtu=1_300, tells_too_big=True), "too_big", CURL),
    Wire("MTU 1300 in silence", Impairments(mtu=1_300), "too_big", CURL),
    Wire("ECN cleared", Impairments(clears_ecn=True), "cleared", QUIC_PORTAL),
    Wire("all of it", _BAD_DAY, "lost"),
)


@dataclass(frozen=True)
class Cell:
    """One experiment."""

    wire: Wire
    stack: LabStack

    @property
    def name(self) -> str:
        """How pytest and people call it."""
        return f"{self.wire.name}, {self.stack.name}"


_STACKS = (AIOQUIC, QUIC_PORTAL, CURL)
# curl is here for the small MTU, which the other two do not try to exceed.
_CELLS = [
    Cell(wire, stack)
    for wire, stack in itertools.product(WIRES, _STACKS)
    if IS_LONG or stack is not CURL or wire.only is CURL
]


@pytest.mark.parametrize("impairments_cell", _CELLS, ids=lambda cell: cell.name)
def test_programs_bear_it(
    lab: Laboratory,
    impairments_cell: Cell,
    certificate: tuple[Path, Path],
    seed: int,
    outcome: Outcome,
) -> None:
    wire, stack = impairments_cell.wire, impairments_cell.stack
    missing = stack.why_not()
    if missing:
        pytest.skip(missing)
    server, client = (
        lab.internet.site(NatKind.PORT_RESTRICTED, impairments=wire.impairments, seed=seed + number)
        for number in range(2)
    )
    transfer = LabTransfer(lab, stack, (server, client), certificate, seed, _BYTES)
    outcome(transfer.finish().seconds)
    counts: list[Counts] = []
    for site in (server, client):
        assert site.wire is not None
        counts += site.wire.counts()
    if wire.only in (None, stack):
        assert sum(getattr(count, wire.counted) for count in counts) > 0, counts
