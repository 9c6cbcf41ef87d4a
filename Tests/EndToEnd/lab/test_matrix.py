"""QUIC programs through every kind of NAT, undisturbed and with something happening to them.

By default so few cells that every two of NAT, program and event meet. QUIC_RELAY_LONG=1 runs all.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.conftest import IS_LONG, Figure, Outcome
from lab.internet import BAD_UPLINK, GOOD_UPLINK
from lab.laboratory import Laboratory, LabTransfer
from lab.matrix import (
    NAT_TIMEOUT_SECONDS,
    NEW_ADDRESS,
    PLAIN,
    REBIND_RECEIVER,
    REBIND_SENDER,
    SHORT_TIMEOUT,
    USUAL_NAT_TIMEOUT_SECONDS,
    Cell,
    Sites,
    all_cells,
    covering_cells,
)
from lab.nats import NatKind
from lab.stacks import AIOQUIC
from programs import TRANSFER_BYTES
from relay_log import Event

# By then so much of the client's turn is over, and so much is still to come.
_MIDST_BYTES = 1 << 20
_REST_BYTES = 1 << 20
# An agent has a keep-alive every 15 s.
_IMPATIENT_NAT_SECONDS = 20
_LONG_REST_SECONDS = 25

# Less than the least first packet of a client (RFC 9000 §14.1).
_FIRST_BYTES = 1_000


@pytest.mark.parametrize(
    "matrix_cell", all_cells() if IS_LONG else covering_cells(), ids=lambda cell: cell.name
)
def test_programs_reach_each_other(
    lab: Laboratory,
    matrix_cell: Cell,
    certificate: tuple[Path, Path],
    seed: int,
    outcome: Outcome,
) -> None:
    stack, event = matrix_cell.stack, matrix_cell.event
    missing = stack.why_not()
    if missing:
        pytest.skip(missing)
    sites = matrix_cell.nat.build(lab.internet)
    for site in sites:
        site.limit_uplink(GOOD_UPLINK)
    transfer = LabTransfer(
        lab, stack, sites, certificate, seed, TRANSFER_BYTES, event.pause_seconds
    )
    if event is not PLAIN:
        _disturb(transfer, matrix_cell, sites)
    received = transfer.finish()
    outcome(received.seconds)
    rebinds = lab.relay.events("rebind")
    if event is PLAIN:
        assert not rebinds, rebinds
    elif event is not SHORT_TIMEOUT:
        assert rebinds, "the relay has noticed nothing"


def _disturb(transfer: LabTransfer, cell: Cell, sites: Sites) -> None:
    server, client = sites
    if cell.event is SHORT_TIMEOUT:
        _forget_soon(transfer, cell, sites)
        return
    client.limit_uplink(BAD_UPLINK)
    start = client.sent_bytes()
    transfer.wait_until(
        lambda: client.sent_bytes() >= start + _MIDST_BYTES, "the midst of the client's turn"
    )
    if cell.event is REBIND_SENDER:
        client.rebind()
    elif cell.event is REBIND_RECEIVER:
        server.rebind()
    else:
        assert cell.event is NEW_ADDRESS
        client.change_address()
    # Otherwise it was no disturbance of the client's turn.
    assert client.sent_bytes() < start + TRANSFER_BYTES - _REST_BYTES
    client.limit_uplink(GOOD_UPLINK)


def _forget_soon(transfer: LabTransfer, cell: Cell, sites: Sites) -> None:
    """Not before the connection: until then only the agents' keep-alives hold the mappings."""
    _, client = sites
    start = client.sent_bytes()
    transfer.wait_until(lambda: client.sent_bytes() > start + _FIRST_BYTES, "the first packet")
    nats = [nat for site in sites for nat, _ in site.nats]
    for nat in nats:
        nat.forget_after(NAT_TIMEOUT_SECONDS)
    if not cell.stack.rests:
        return
    transfer.wait_until(
        lambda: not any([nat.mapping_count() for nat in nats]), "all mappings were gone", 0.2
    )
    # Otherwise what an agent's keep-alive opens is closed again before QUIC's next try, which is
    # twice as late each time.
    for nat in nats:
        nat.forget_after(USUAL_NAT_TIMEOUT_SECONDS)


def test_agents_keep_mappings_alive(
    lab: Laboratory, certificate: tuple[Path, Path], seed: int, figure: Figure
) -> None:
    """A connection rests longer than NATs remember, and nothing is lost for it."""
    sites = (lab.internet.site(NatKind.SYMMETRIC), lab.internet.site(NatKind.SYMMETRIC))
    for site in sites:
        for nat, _ in site.nats:
            nat.forget_after(_IMPATIENT_NAT_SECONDS)
    transfer = LabTransfer(lab, AIOQUIC, sites, certificate, seed, 1 << 20, _LONG_REST_SECONDS)
    received = transfer.finish()
    # A symmetric NAT that had forgotten one would have had another port for the next datagram.
    assert not lab.relay.events("rebind")
    figure(
        f"aioquic at rest for {_LONG_REST_SECONDS} s, NATs that forget after "
        f"{_IMPATIENT_NAT_SECONDS} s",
        f"no mapping lost, the whole transfer took {received.seconds:.1f} s",
    )
