"""How long a flow is cut off when a NAT rebinds or an address changes, and whether of many
connections each comes about.

QUIC_RELAY_LONG=1 makes 50 rebindings a side and 100 connections of them. What is printed is what
was measured; what is asserted leaves room for a busy machine.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import time
import uuid
from pathlib import Path

import pytest

from conversation import LIVE
from lab.conftest import IS_LONG, Figure
from lab.impairments import Impairments
from lab.internet import Site
from lab.laboratory import CLIENT_PORT, LOCAL, PROGRAM_PORT, Laboratory, LabTransfer
from lab.nats import NatKind
from lab.stacks import QUIC_PORTAL
from peers import Address
from programs import TRANSFER_WALL_SECONDS, Child, aioquic_options, where
from waiting import wait_until

_REBINDINGS = 50 if IS_LONG else 5
_CONNECTIONS = 100 if IS_LONG else 5
_CONNECTION_BYTES = 256 << 10

# 40 ms from one program to the other and back.
_LINE = Impairments(delay_seconds=0.01)
# What was on its way when the NAT rebound still arrives: 20 ms, and some for a busy machine.
_ON_THE_WAY_SECONDS = 0.1
# Twice as long as any gap should be, so that it does not reach to the next rebinding.
_LOOK_SECONDS = 2.5
# A flow that has no gap of this length has none (aioquic_flow.py).
_GAP_MILLISECONDS = 30

_WALLS_SECONDS = {"receive-only": 5.0, "sending": 2.0}


class Flow:
    """A steady flow from a server to a client that only receives, both beside agents."""

    def __init__(
        self, lab: Laboratory, sites: tuple[Site, Site], certificate: tuple[Path, Path], seed: int
    ) -> None:
        """Starts it between the server's site and the client's, and returns when something came."""
        lab.agents_for(uuid.UUID(int=seed, version=4), *sites)
        self._lab = lab
        self._start("server", PROGRAM_PORT, sites[0], certificate)
        with sites[0].host.inside():
            lab.children[0].await_bound(PROGRAM_PORT)
        self._client = self._start("client", CLIENT_PORT, sites[1], certificate)
        wait_until(lambda: LIVE in self._client.output(), "the flow", TRANSFER_WALL_SECONDS)

    def _start(
        self, role: str, port: int, site: Site, certificate: tuple[Path, Path]
    ) -> Child:
        arguments = [role, *where(port, Address(LOCAL, PROGRAM_PORT))]
        arguments += aioquic_options(LOCAL, certificate)
        return self._lab.child(site, "aioquic_flow.py", arguments, role)

    def gaps(self) -> list[tuple[float, float]]:
        """When each gap began so far, and when it was over."""
        lines = self._client.output().splitlines()
        gaps = [json.loads(line) for line in lines if line[:1] == "[" and line[-1:] == "]"]
        return [(start, start + seconds) for start, seconds in gaps]

    def longest_gap(self, at: float, over: float) -> float:
        """The longest gap so far that a disturbance between these times can have made, or 0."""
        # Others are the machine's own pauses.
        return max(
            (b - a for a, b in self.gaps() if a < over + _ON_THE_WAY_SECONDS and b > at),
            default=0.0,
        )

    def check(self) -> None:
        """Both programs must still run."""
        assert all([child.is_running() for child in self._lab.children])


def _outages(flow: Flow, site: Site, rng: random.Random) -> list[float]:
    """Rebinds again and again, and tells the longest gap that each made, 0 for none to speak of."""
    rebindings = []
    for _ in range(_REBINDINGS):
        rebindings.append(site.rebind())
        # Part of what is measured: a connection at work, in no step with anybody's timers. And that
        # there is no gap can only be seen by waiting.
        time.sleep(_LOOK_SECONDS + rng.random())
        flow.check()
    return [flow.longest_gap(at, over) for at, over in rebindings]


@pytest.mark.parametrize("side", ["receive-only", "sending"])
def test_rebinding_cuts_a_flow_for_a_short_time(
    lab: Laboratory,
    certificate: tuple[Path, Path],
    rng: random.Random,
    seed: int,
    figure: Figure,
    side: str,
) -> None:
    server, client = (
        lab.internet.site(NatKind.SYMMETRIC, impairments=_LINE, seed=seed) for _ in range(2)
    )
    flow = Flow(lab, (server, client), certificate, seed)
    outages = _outages(flow, server if side == "sending" else client, rng)
    figure(
        f"rebinding of the {side} side, {len(outages)} times",
        f"longest gap at the receiver, median {_shown(statistics.median(outages))}, "
        f"maximum {_shown(max(outages))}; {os.getloadavg()[1]:.1f} processes wanted to run",
    )
    assert len(lab.relay.events("rebind")) >= len(outages)
    if side == "receive-only":
        # Who only receives cannot but miss something.
        assert min(outages) > 0, outages
    assert max(outages) < _WALLS_SECONDS[side], outages


def test_another_address_is_noticed_and_used_at_once(
    lab: Laboratory, certificate: tuple[Path, Path], seed: int, figure: Figure
) -> None:
    server, client = (lab.internet.site(impairments=_LINE, seed=seed) for _ in range(2))
    flow = Flow(lab, (server, client), certificate, seed)
    agent = lab.agents[1]
    at = time.monotonic()
    client.change_address()
    over = time.monotonic()
    change = agent.await_event("network_changed")
    assert change.fields["cause"] in ("address", "send_error")
    agent.await_event("registered", 2)
    wait_until(lambda: lab.relay.events("rebind"), "the relay to follow")
    rebind = lab.relay.events("rebind")[-1]
    assert rebind.fields["to"].startswith(f"{client.address}:")
    wait_until(lambda: flow.longest_gap(at, over) > 0, "the flow to go on")
    figure(
        "new address of the receive-only side",
        f"the flow was cut off for {_shown(flow.longest_gap(at, over))}",
    )


def _shown(seconds: float) -> str:
    milliseconds = seconds * 1e3
    return f"{milliseconds:.0f} ms" if seconds else f"below {_GAP_MILLISECONDS} ms"


def test_every_connection_comes_about(
    lab: Laboratory, certificate: tuple[Path, Path], seed: int, figure: Figure
) -> None:
    """One after the other, each with a session and agents of its own."""
    sites = (lab.internet.site(NatKind.SYMMETRIC), lab.internet.site(NatKind.SYMMETRIC))
    start, complete = time.monotonic(), 0
    for number in range(_CONNECTIONS):
        own_seed = seed + number
        transfer = LabTransfer(lab, QUIC_PORTAL, sites, certificate, own_seed, _CONNECTION_BYTES)
        transfer.finish()
        complete += 1
        for agent in lab.agents:
            agent.summary()
        lab.end_programs()
    seconds = time.monotonic() - start
    figure(
        "quic-portal with agents, symmetric NATs at both ends",
        f"{complete} of {_CONNECTIONS} connections complete, one by one in {seconds:.0f} s",
    )
