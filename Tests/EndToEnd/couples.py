"""Pairs of QUIC programs behind NATs, registered with the relay through them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from conversation import Conversation
from nat import Mapping, Nat
from peers import free_ports
from programs import TRANSFER_BYTES, Transfer, register_ports
from relay_process import Relay

SERVER_HOST, CLIENT_HOST = "127.0.0.2", "127.0.0.3"

# The fixture `start_nat`: a relay and a public address; `delay_seconds=` for the way through it.
StartNat = Callable[..., Nat]


@dataclass(frozen=True)
class Stack:
    """A QUIC implementation: its program and the options that this takes."""

    name: str
    program: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Couple:
    """Server and client of one session, each with its mapping in a NAT and its own port."""

    session: uuid.UUID
    server: Mapping
    client: Mapping
    ports: list[int]

    def transfer(
        self, stack: Stack, seed: int, directory: Path, byte_count: int = TRANSFER_BYTES
    ) -> Transfer:
        """Starts a transfer between the two."""
        relays = (self.server.inner, self.client.inner)
        return Transfer(
            stack.program,
            relays,
            self.ports,
            seed,
            directory,
            *stack.options,
            byte_count=byte_count,
        )

    def converse(self, stack: Stack, directory: Path) -> Conversation:
        """Starts pings between the two."""
        relays = (self.server.inner, self.client.inner)
        return Conversation(relays, self.ports, directory, *stack.options)


def couple_apart(relay: Relay, start_nat: StartNat, delay_seconds: float = 0.0) -> Couple:
    """A couple with a public address for each."""
    nats = [start_nat(relay, host, delay_seconds) for host in (SERVER_HOST, CLIENT_HOST)]
    return register_couple(relay, nats[0].mapping(), nats[1].mapping())


def register_couple(relay: Relay, server: Mapping, client: Mapping) -> Couple:
    """A couple with these mappings, both registered, the server first."""
    ports = free_ports(relay.address.host, 2)
    session = register_ports(relay, ports, (server.inner, client.inner))
    return Couple(session, server, client, ports)
