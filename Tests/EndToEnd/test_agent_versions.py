"""How agents register with relays of every age, and how they end."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import uuid
from collections.abc import Iterator

import pytest

from agent_process import StartAgent
from peers import Address, Peer, free_ports
from relay_process import Relay
from test_agent import LOCAL, Couple, send_until_received
from waiting import wait_until


class OldRelay:
    """A relay that knows no keys: it acknowledges what it takes for a registration."""

    def __init__(self, takes_lines_for_ids: bool) -> None:
        """`takes_lines_for_ids`: whether a whole line with a key is an id to it, or a datagram."""
        self._takes_lines_for_ids = takes_lines_for_ids
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((LOCAL, 0))
        self.address = Address(*self._socket.getsockname())
        self.lines: list[str] = []
        self._ending, self._end = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while self._ending not in select.select([self._socket, self._ending], [], [])[0]:
            line, source = self._socket.recvfrom(2_048)
            self.lines.append(line.decode())
            if len(line) == 41 or self._takes_lines_for_ids:
                self._socket.sendto(b"ACK\n", source)

    def close(self) -> None:
        """Ends it."""
        self._end.close()
        self._thread.join()
        self._ending.close()
        self._socket.close()


@pytest.fixture(params=[True, False], ids=["takes-lines-for-ids", "forwards-lines"])
def old_relay(request: pytest.FixtureRequest) -> Iterator[OldRelay]:
    """A relay of each kind that knows no keys."""
    with contextlib.closing(OldRelay(request.param)) as relay:
        yield relay


@pytest.fixture
def couple(relay_ipv4: Relay, start_agent: StartAgent) -> Couple:
    """Two agents beside a relay that know where it sees them."""
    relays = [relay_ipv4.address]
    couple = Couple(start_agent, (relays, relays), relay_ipv4.new_session())
    for agent in couple.agents:
        agent.await_event("address_seen")
    return couple


def test_an_old_relay_serves_at_once_and_is_left_without_a_word(
    old_relay: OldRelay, start_agent: StartAgent
) -> None:
    session = uuid.uuid4()
    agent = start_agent([old_relay.address], session)
    agent.await_event("registered")
    plain = f"REG:{session}\n"
    assert old_relay.lines[0] == plain
    assert old_relay.lines[1].startswith(f"REG:{session};peer=")
    # The last line decides whose the address is: it is one that an old relay understands.
    agent.await_event("relay_older")
    wait_until(lambda: old_relay.lines[-1] == plain, "the plain line")
    agent.stop()
    assert not [line for line in old_relay.lines if line.startswith("BYE:")]


def test_agents_are_known_by_their_keys_and_end_their_session(
    couple: Couple, relay_ipv4: Relay
) -> None:
    wait_until(lambda: relay_ipv4.events("session_paired"), "both peers")
    (paired,) = relay_ipv4.events("session_paired")
    seen = {agent.events("address_seen")[0].fields["address"] for agent in couple.agents}
    assert seen == {paired.fields["a"], paired.fields["b"]}
    assert couple.server.summary()["seen_as"] in seen
    wait_until(lambda: relay_ipv4.events("session_ended"), "the session's end")
    (ended,) = relay_ipv4.events("session_ended")
    assert ended.fields["reason"] == "bye"


def test_an_agent_that_was_killed_makes_room_for_its_successor(
    couple: Couple, relay_ipv4: Relay, start_agent: StartAgent
) -> None:
    couple.client.kill()
    port = free_ports(LOCAL, 1)[0]
    successor = start_agent([relay_ipv4.address], couple.session, listen=Address(LOCAL, port))
    successor.await_event("registered")
    with (
        Peer(successor.address, LOCAL) as client,
        Peer(couple.server.address, LOCAL, couple.ports[0]) as server,
    ):
        # If the relay took the idle server's place for the dead one, as both have one address, the
        # server's agent has it back with its next keep-alive.
        send_until_received(client, server)
        send_until_received(server, client)


def test_a_third_agent_is_told_that_there_is_no_place(
    couple: Couple, relay_ipv4: Relay, start_agent: StartAgent
) -> None:
    with (
        Peer(couple.client.address, LOCAL) as client,
        Peer(couple.server.address, LOCAL, couple.ports[0]) as server,
    ):
        third = start_agent([relay_ipv4.address], couple.session, "--wait-secs", "2")
        # Both are plainly alive for as long as that takes.
        while third.process.poll() is None:
            client.send(b"\x40 hello")
            server.expect(b"\x40 hello")
            server.send(b"\x40 hello")
            client.expect(b"\x40 hello")
    assert third.process.returncode == 75, third.output()
    assert "two other peers are in the session" in third.output()
    refused = third.events("registration_refused")
    assert [event.fields["reason"] for event in refused] == ["full"]
    third.kill()
