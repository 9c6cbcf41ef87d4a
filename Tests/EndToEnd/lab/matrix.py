"""The matrix NAT × program × event: what there is, what makes sense, and which cells are run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lab.internet import Internet, Site
from lab.nats import NatKind
from lab.stacks import REGISTERED_PORTAL, STACKS, LabStack

# Server's site and client's.
Sites = tuple[Site, Site]


@dataclass(frozen=True)
class NatCase:
    """Where the two hosts are."""

    name: str
    build: Callable[[Internet], Sites]
    # Whether a NAT is before the server's host, and before the client's.
    server_nat: bool = True
    client_nat: bool = True
    is_ipv6: bool = False


def _each(*kinds: NatKind) -> Callable[[Internet], Sites]:
    return lambda internet: (internet.site(*kinds), internet.site(*kinds))


def _behind_one_cgnat(internet: Internet) -> Sites:
    return internet.sites_behind_one(NatKind.SYMMETRIC)


def _symmetric_and_cone(internet: Internet) -> Sites:
    return internet.site(NatKind.SYMMETRIC), internet.site(NatKind.FULL_CONE)


def _ipv6(internet: Internet) -> Sites:
    return internet.site(is_ipv6=True), internet.site(is_ipv6=True)


def _mixed(internet: Internet) -> Sites:
    return internet.site(is_ipv6=True), internet.site(NatKind.SYMMETRIC)


NATS = (
    NatCase("none", _each(NatKind.NONE), server_nat=False, client_nat=False),
    NatCase("full cone", _each(NatKind.FULL_CONE)),
    NatCase("port-restricted", _each(NatKind.PORT_RESTRICTED)),
    NatCase("symmetric", _each(NatKind.SYMMETRIC)),
    NatCase("symmetric × cone", _symmetric_and_cone),
    NatCase("one CGNAT", _behind_one_cgnat),
    NatCase("double NAT", _each(NatKind.PORT_RESTRICTED, NatKind.SYMMETRIC)),
    NatCase("IPv6", _ipv6, server_nat=False, client_nat=False, is_ipv6=True),
    NatCase("IPv6 × IPv4", _mixed, server_nat=False, is_ipv6=True),
)


@dataclass(frozen=True)
class EventCase:
    """What happens in the midst of a transfer."""

    name: str
    # Mappings are lost: of the client's NAT, of the server's.
    needs_client_nat: bool = False
    needs_server_nat: bool = False
    pause_seconds: float = 0.0


PLAIN = EventCase("plain")
REBIND_SENDER = EventCase("rebind sender", needs_client_nat=True)
REBIND_RECEIVER = EventCase("rebind receiver", needs_server_nat=True)
NEW_ADDRESS = EventCase("new address")
# Longer than mappings last then.
SHORT_TIMEOUT = EventCase(
    "idle past timeout", needs_client_nat=True, needs_server_nat=True, pause_seconds=6.0
)
# Longer than quic-portal's keep-alives are apart, which may well hold the mappings.
NAT_TIMEOUT_SECONDS = 3
# Afterwards, as many a NAT in life: more than the 15 s between an agent's keep-alives.
USUAL_NAT_TIMEOUT_SECONDS = 30

EVENTS = (PLAIN, REBIND_SENDER, REBIND_RECEIVER, NEW_ADDRESS, SHORT_TIMEOUT)


@dataclass(frozen=True)
class Cell:
    """One experiment."""

    nat: NatCase
    stack: LabStack
    event: EventCase

    @property
    def name(self) -> str:
        """How pytest and people call it."""
        return f"{self.nat.name}, {self.stack.name}, {self.event.name}"

    @property
    def pairs(self) -> Iterator[tuple[str, str]]:
        """What it shows together: NAT and program, NAT and event, program and event."""
        names = (f"n{self.nat.name}", f"s{self.stack.name}", f"e{self.event.name}")
        return itertools.combinations(names, 2)


def why_meaningless(cell: Cell) -> str | None:
    """Why such a cell cannot be, if so."""
    nat, event = cell.nat, cell.event
    if event.needs_client_nat and not nat.client_nat:
        return "no NAT there"
    if event.needs_server_nat and not nat.server_nat:
        return "no NAT there"
    if cell.stack is REGISTERED_PORTAL and nat.is_ipv6:
        return "quic-portal speaks IPv4 only"
    return None


def all_cells() -> list[Cell]:
    """Every cell that can be."""
    product = (Cell(*parts) for parts in itertools.product(NATS, STACKS, EVENTS))
    return [cell for cell in product if why_meaningless(cell) is None]


def covering_cells() -> list[Cell]:
    """So few cells that every two of NAT, program and event still meet where they can.

    Always the one that shows most that none before it has shown; always the same ones.
    """
    cells = all_cells()
    missing = {pair for cell in cells for pair in cell.pairs}
    chosen = []
    while missing:
        best = max(cells, key=lambda cell: sum(pair in missing for pair in cell.pairs))
        chosen.append(best)
        missing.difference_update(best.pairs)
    return sorted(chosen, key=cells.index)

