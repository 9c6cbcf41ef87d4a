"""How long a QUIC connection between two agents is cut off when a NAT rebinds, and whether every
connection of many comes about. QUIC_RELAY_LONG=1 makes 50 rebindings and 100 connections of them.

What is printed is what was measured. What is asserted leaves room for a busy machine: nothing here
is a benchmark.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import time
from pathlib import Path

import pytest

from conftest import Note
from conversation import LIVE
from couples import CLIENT_HOST, SERVER_HOST, Stack, StartNat
from agent_process import StartAgent
from nat import Mapping
from peers import Address
from programs import TRANSFER_WALL_SECONDS, Child, aioquic_options, where
from relay_process import Relay
from test_agent import LOCAL, Couple
from waiting import wait_until

IS_LONG = os.environ.get("QUIC_RELAY_LONG") == "1"
REBINDINGS = 50 if IS_LONG else 5
CONNECTIONS = 100 if IS_LONG else 5

# A silence of one second makes an agent register. A sender that QUIC's back-off has slowed down by
# then may take as long again, and a busy machine has its own pauses.
RECEIVING_WALL_SECONDS = 5.0
SENDING_WALL_SECONDS = 2.0
# What was on its way when the NAT rebound still arrives: twice 10 ms, and some for a busy machine.
ON_THE_WAY_SECONDS = 0.1


class Flow:
    """A steady flow from a server to a client, both beside agents."""

    def __init__(self, couple: Couple, certificate: tuple[Path, Path], directory: Path) -> None:
        """Starts it and returns when something has come."""
        self._children: list[Child] = []
        for role, port in zip(("server", "client"), couple.ports, strict=True):
            arguments = [role, *where(port, couple.client.address)]
            arguments += aioquic_options(LOCAL, certificate)
            child = Child("aioquic_flow.py", arguments, directory / f"{role}.log")
            self._children.append(child)
            if role == "server":
                child.await_bound(port)
        client = self._children[1]
        wait_until(lambda: LIVE in client.output(), "the flow", TRANSFER_WALL_SECONDS)

    def gaps(self) -> list[tuple[float, float]]:
        """When each gap began so far, and how long it was."""
        lines = [line for line in self._children[1].output().splitlines() if line[:1] == "["]
        return [tuple(json.loads(line)) for line in lines]

    def end(self) -> None:
        """Ends both programs, which must not have failed."""
        for child in self._children:
            assert child.is_running(), child.output()
        for child in self._children:
            child.end()


def _outages(mapping: Mapping, flow: Flow, rng: random.Random) -> list[float]:
    """Rebinds again and again, and tells the longest gap of the flow each time."""
    outages = []
    for _ in range(REBINDINGS):
        # Part of what is measured: a connection at work, in no step with anybody's timers.
        time.sleep(rng.uniform(1.5, 2.5))
        at = mapping.rebind().at
        time.sleep(RECEIVING_WALL_SECONDS)
        # Other gaps are the machine's own pauses.
        gaps = [
            seconds
            for start, seconds in flow.gaps()
            if start < at + ON_THE_WAY_SECONDS and start + seconds > at
        ]
        outages.append(max(gaps, default=0.0))
    return outages


@pytest.mark.parametrize(
    ("side", "wall_seconds"),
    [("receiving", RECEIVING_WALL_SECONDS), ("sending", SENDING_WALL_SECONDS)],
)
def test_rebinding_cuts_a_flow_for_a_short_time(
    relay_ipv4: Relay,
    start_agent: StartAgent,
    start_nat: StartNat,
    certificate: tuple[Path, Path],
    rng: random.Random,
    tmp_path: Path,
    note: Note,
    side: str,
    wall_seconds: float,
) -> None:
    server = start_nat(relay_ipv4, SERVER_HOST, 0.01).mapping()
    client = start_nat(relay_ipv4, CLIENT_HOST, 0.01).mapping()
    session = relay_ipv4.new_session()
    couple = Couple(start_agent, ([server.inner], [client.inner]), session)
    flow = Flow(couple, certificate, tmp_path)
    outages = sorted(_outages(server if side == "sending" else client, flow, rng))
    flow.end()
    note(
        f"{side} side rebound {len(outages)} times: longest gap at the receiver, "
        f"median {statistics.median(outages) * 1e3:.0f} ms, "
        f"maximum {outages[-1] * 1e3:.0f} ms"
    )
    assert outages[-1] < wall_seconds, outages


def test_every_connection_comes_about(
    relay_ipv4: Relay,
    start_agent: StartAgent,
    start_nat: StartNat,
    quic_portal: Stack,
    rng: random.Random,
    seed: int,
    tmp_path: Path,
    note: Note,
) -> None:
    """Connections one after the other, each with agents of its own, both NATs rebinding."""
    start = time.monotonic()
    for number in range(CONNECTIONS):
        mappings = [
            start_nat(relay_ipv4, host).mapping() for host in (SERVER_HOST, CLIENT_HOST)
        ]
        inner: tuple[list[Address], list[Address]] = ([mappings[0].inner], [mappings[1].inner])
        couple = Couple(start_agent, inner, relay_ipv4.new_session())
        for mapping in mappings:
            mapping.plan_rebindings(after_bytes=rng.randrange(2_000, 100_000))
        directory = tmp_path / f"connection-{number}"
        with couple.transfer(quic_portal, seed + number, directory, 256 << 10) as running:
            running.finish()
        for agent in couple.agents:
            agent.summary()
    seconds = time.monotonic() - start
    note(f"{CONNECTIONS} of {CONNECTIONS} connections by quic-portal with agents, {seconds:.0f} s")
