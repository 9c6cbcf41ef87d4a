"""Unmodified QUIC programs beside agents: everything that a user sees, relay and NATs included."""

from __future__ import annotations

import hashlib
import random
import signal
import socket
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent_process import Agent, StartAgent
from conftest import Note
from couples import CLIENT_HOST, SERVER_HOST, Stack, StartNat
from nat import Mapping
from peers import LARGEST_PAYLOAD_BYTES, Address, Peer, free_ports
from programs import (
    Child,
    Transfer,
    aioquic_options,
    check,
    payload,
    throughput,
    where,
)
from relay_process import Relay, StartRelay
from waiting import wait_until

LOCAL = "127.0.0.1"


class Couple:
    """Two agents in one session, ready for a server at `server_port` and a client."""

    def __init__(
        self,
        start_agent: StartAgent,
        relays: tuple[Sequence[Address], Sequence[Address]],
        session: uuid.UUID,
        *arguments: str,
    ) -> None:
        """`relays` are those of the server's agent and those of the client's."""
        self.session = session
        self.ports = free_ports(LOCAL, 2)
        server = Address(LOCAL, self.ports[0])
        self.server = start_agent(relays[0], session, *arguments, forward=server)
        self.server.await_event("registered")
        self.client = start_agent(relays[1], session, *arguments)
        self.client.await_event("registered")

    @property
    def agents(self) -> tuple[Agent, Agent]:
        """The server's agent and the client's."""
        return self.server, self.client

    def transfer(self, stack: Stack, seed: int, directory: Path, byte_count: int) -> Transfer:
        """Starts a transfer between a server and a client that know nothing of a relay."""
        relays = (self.client.address, self.client.address)
        return Transfer(
            stack.program,
            relays,
            self.ports,
            seed,
            directory,
            *stack.options,
            byte_count=byte_count,
        )


@pytest.fixture
def couple(relay_ipv4: Relay, start_agent: StartAgent) -> Couple:
    """Two agents beside a relay."""
    relays = [relay_ipv4.address]
    return Couple(start_agent, (relays, relays), relay_ipv4.new_session())


def _mappings(relay: Relay, start_nat: StartNat) -> tuple[Mapping, Mapping]:
    return start_nat(relay, SERVER_HOST).mapping(), start_nat(relay, CLIENT_HOST).mapping()


def _couple_behind(
    mappings: tuple[Mapping, Mapping], start_agent: StartAgent, relay: Relay
) -> Couple:
    inner = ([mappings[0].inner], [mappings[1].inner])
    return Couple(start_agent, inner, relay.new_session())


def test_transfer_of_unmodified_programs(
    couple: Couple, stack: Stack, seed: int, tmp_path: Path, note: Note
) -> None:
    with couple.transfer(stack, seed, tmp_path, 10 << 20) as running:
        _, client = running.finish()
    note(throughput(f"{stack.name}, agents at both ends", client))
    for agent in couple.agents:
        assert not agent.events("relay_silent")
        agent.summary()


def test_transfer_over_ipv6(
    start_relay: StartRelay, start_agent: StartAgent, aioquic: Stack, seed: int, tmp_path: Path
) -> None:
    relay = start_relay(host="::1")
    couple = Couple(start_agent, ([relay.address], [relay.address]), relay.new_session())
    with couple.transfer(aioquic, seed, tmp_path, 1 << 20) as running:
        running.finish()


def _several_clients(
    couple: Couple,
    certificate: tuple[Path, Path],
    seed: int,
    directory: Path,
    count: int,
    *more: str,
    one_by_one: bool = False,
) -> None:
    """Lets clients speak with one server, at once or in turn, each through the same port."""
    byte_count = 1 << 20
    options = aioquic_options(LOCAL, certificate)

    def arguments(role: str, port: int, own_seed: int) -> list[str]:
        place = where(port, couple.client.address)
        return [role, *place, "--bytes", str(byte_count), "--seed", str(own_seed), *options]

    server = Child(
        "aioquic_echo.py", arguments("server", couple.ports[0], 0), directory / "server.log"
    )
    clients: list[Child] = []
    try:
        server.await_bound(couple.ports[0])
        for number, port in enumerate(free_ports(LOCAL, count)):
            log = directory / f"client-{number}.log"
            words = [*arguments("client", port, seed + number), *more]
            clients.append(Child("aioquic_echo.py", words, log))
            if one_by_one:
                wait_until(lambda: not clients[-1].is_running(), "a client", 120)
        wait_until(lambda: not any([client.is_running() for client in clients]), "all clients", 120)
        for number, client in enumerate(clients):
            sent = hashlib.sha256(payload(seed + number, byte_count)).hexdigest()
            check(client.report()["sha256"] == sent, [client], "other bytes than were sent")
    finally:
        for child in [server, *clients]:
            child.end()
    assert len(couple.client.events("local_client_opened")) == count


def test_several_clients_through_one_port(
    couple: Couple, certificate: tuple[Path, Path], seed: int, tmp_path: Path
) -> None:
    _several_clients(couple, certificate, seed, tmp_path, 3)
    assert not couple.client.events("local_sender_replaced")


def test_programs_without_connection_ids_take_turns(
    couple: Couple, certificate: tuple[Path, Path], seed: int, tmp_path: Path
) -> None:
    """The second begins right after the first one has ended, and the log says that it took over."""
    _several_clients(
        couple, certificate, seed, tmp_path, 2, "--no-connection-ids", one_by_one=True
    )
    assert couple.client.events("local_sender_replaced")


def test_a_program_without_connection_ids_is_alone(
    couple: Couple, certificate: tuple[Path, Path], seed: int, tmp_path: Path
) -> None:
    _several_clients(couple, certificate, seed, tmp_path, 1, "--no-connection-ids")
    assert not couple.client.events("local_sender_replaced")


def _initial(rng: random.Random) -> bytes:
    """An Initial packet of a client that uses no connection ID (RFC 9000 §17.2.2)."""
    body = rng.randbytes(1_170)
    return (
        b"\xc0\x00\x00\x00\x01\x08" + rng.randbytes(8) + b"\x00\x00"
        + (0x4000 | len(body)).to_bytes(2, "big") + body
    )


def test_clients_without_connection_ids_take_turns(couple: Couple, rng: random.Random) -> None:
    with (
        Peer(couple.client.address, LOCAL) as first,
        Peer(couple.client.address, LOCAL) as second,
        Peer(couple.server.address, LOCAL, couple.ports[0]) as server,
    ):
        for client in (first, second, first):
            initial = _initial(rng)
            client.send(initial)
            server.expect(initial)
            answer = b"\x40" + rng.randbytes(50)
            server.send(answer)
            client.expect(answer)
        second.expect_silence()
        replaced = couple.client.await_event("local_sender_replaced", 2)
        assert replaced.fields["to"] == f"{LOCAL}:{first.port}"


@pytest.mark.parametrize("host", [LOCAL, "::1"], ids=["ipv4", "ipv6"])
def test_every_size_and_mark_passes_unchanged(
    start_relay: StartRelay, start_agent: StartAgent, rng: random.Random, host: str
) -> None:
    relay = start_relay(host=host)
    port = free_ports(host, 1)[0]
    session = relay.new_session()
    server_agent = start_agent([relay.address], session, forward=Address(host, port))
    server_agent.await_event("registered")
    client_agent = start_agent([relay.address], session, listen=Address(host, 0))
    client_agent.await_event("registered")
    with (
        Peer(client_agent.address, host) as client,
        Peer(server_agent.address, host, port) as server,
    ):
        # Each address shows that it receives: after that the relay forwards any amount.
        for sender, receiver in ((client, server), (server, client), (client, server)):
            sender.send(b"\x40 hello")
            receiver.expect(b"\x40 hello")
        sizes = [*range(1_473), LARGEST_PAYLOAD_BYTES[relay.address.family]]
        for sender, receiver in ((client, server), (server, client)):
            for size in sizes:
                datagram, mark = rng.randbytes(size), rng.randrange(4)
                sender.send(datagram, mark)
                received = receiver.receive_marked()
                assert received == (datagram, mark), f"{size} bytes with mark {mark}"
    for agent in (server_agent, client_agent):
        summary = agent.summary()
        assert (summary["upstream_dropped"], summary["local_dropped"]) == ("0", "0"), summary


def test_trains_stay_trains(couple: Couple, rng: random.Random) -> None:
    udp_gro = 104
    with (
        Peer(couple.client.address, LOCAL) as client,
        Peer(couple.server.address, LOCAL, couple.ports[0]) as server,
    ):
        for sender, receiver in ((client, server), (server, client), (client, server)):
            sender.send(b"\x40 hello")
            receiver.expect(b"\x40 hello")
        server.socket.setsockopt(17, udp_gro, 1)
        train = rng.randbytes(20 * 1_200 + 700)
        client.send_train(train, 1_200)
        received, ancillary, _, _ = server.socket.recvmsg(65_536, 256)
        assert received == train
        segments = [int.from_bytes(v, "little") for _, name, v in ancillary if name == udp_gro]
        assert segments == [1_200]


def test_only_the_relay_is_heard(couple: Couple, relay_ipv4: Relay) -> None:
    (paired,) = relay_ipv4.events("session_paired")
    with (
        Peer(couple.server.address, LOCAL, couple.ports[0]) as server,
        Peer(couple.client.address, LOCAL) as client,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        client.send(b"\x40 hello")
        server.expect(b"\x40 hello")
        for side in ("a", "b"):
            host, _, port = paired.fields[side].rpartition(":")
            for datagram in (b"\x40 stranger", b"ACK\n"):
                stranger.sendto(datagram, (host, int(port)))
        server.expect_silence()
        client.expect_silence()


def test_relay_that_was_killed_knows_the_peers_again(couple: Couple, relay_ipv4: Relay) -> None:
    with (
        Peer(couple.client.address, LOCAL) as client,
        Peer(couple.server.address, LOCAL, couple.ports[0]) as server,
    ):
        for sender, receiver in ((client, server), (server, client)):
            sender.send(b"\x40 before")
            receiver.expect(b"\x40 before")
        relay_ipv4.kill()
        client.send(b"\x40 lost")
        server.send(b"\x40 lost")
        relay_ipv4.start_again()
        for sender, receiver in ((client, server), (server, client)):
            send_until_received(sender, receiver)


def send_until_received(sender: Peer, receiver: Peer) -> None:
    """Sends as a program does that gets no answer."""
    for _ in range(600):
        sender.send(b"\x40 again")
        try:
            if receiver.receive(0.1) == b"\x40 again":
                return
        except TimeoutError:
            continue
    raise AssertionError("nothing passes any more")


def test_next_relay_serves_when_the_first_is_silent(
    relay_ipv4: Relay, start_agent: StartAgent, aioquic: Stack, seed: int, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind((LOCAL, 0))
        relays = [Address(*mute.getsockname()), relay_ipv4.address]
        couple = Couple(start_agent, (relays, relays), relay_ipv4.new_session())
        for agent in couple.agents:
            assert len(agent.events("relay_silent")) == 1
            (change,) = agent.events("relay_changed")
            assert change.fields["to"] == f"{LOCAL}:{relay_ipv4.address.port}"
        with couple.transfer(aioquic, seed, tmp_path, 1 << 18) as running:
            running.finish()


def test_server_that_is_not_there_is_told(couple: Couple) -> None:
    with Peer(couple.client.address, LOCAL) as client:
        client.send(b"\x40 hello")
        client.send(b"\x40 hello")
        refusal = couple.server.await_event("server_refuses")
        assert refusal.fields["address"] == f"{LOCAL}:{couple.ports[0]}"


@pytest.mark.parametrize("side", ["server", "client"])
def test_rebinding_in_the_midst_of_a_transfer(
    relay_ipv4: Relay,
    start_agent: StartAgent,
    start_nat: StartNat,
    stack: Stack,
    seed: int,
    tmp_path: Path,
    side: str,
) -> None:
    mappings = _mappings(relay_ipv4, start_nat)
    couple = _couple_behind(mappings, start_agent, relay_ipv4)
    moving = mappings[0 if side == "server" else 1]
    moving.plan_rebindings(after_bytes=200_000, times=2)
    with couple.transfer(stack, seed, tmp_path, 2 << 20) as running:
        running.finish()
    assert len(moving.rebindings) == 2


def test_end_by_signal_and_when_nobody_answers(start_agent: StartAgent, tmp_path: Path) -> None:
    session = uuid.uuid4()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind((LOCAL, 0))
        relays = [Address(*mute.getsockname())]
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            agent = Agent(relays, session, tmp_path / f"signal-{number}.log")
            agent.process.send_signal(number)
            assert agent.process.wait(10) == 0
        waiting = Agent(relays, session, tmp_path / "waiting.log", "--wait-secs", "1")
        assert waiting.process.wait(30) == 69
        assert "no relay has acknowledged the registration for 1 s" in waiting.output()
        with pytest.raises(AssertionError, match="Address already in use"):
            Agent(relays, session, tmp_path / "taken.log", listen=relays[0])
