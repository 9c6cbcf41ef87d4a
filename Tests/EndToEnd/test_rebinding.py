"""NATs that change their mind: the relay follows a peer that moves (Documentation/protocol.md).

Real QUIC programs, each behind a NAT that rebinds in the midst of things. Nobody registers again,
so all that the relay has to go by are the connection IDs of the datagrams.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from conftest import Note
from couples import (
    CLIENT_HOST,
    SERVER_HOST,
    Couple,
    Stack,
    StartNat,
    couple_apart,
    register_couple,
)
from nat import Mapping, Rebinding
from peers import SILENCE_SECONDS, exchange, free_ports, registration
from programs import TRANSFER_BYTES
from relay_log import shown
from relay_process import Relay, StartRelay
from waiting import POLL_SECONDS, WAIT_WALL_SECONDS, wait_until

OTHER_HOST = "127.0.0.4"

# What a rebinding may cost: the programs must be able to go on as if nothing had happened.
OUTAGE_SECONDS = 1.0

# Into the transfer and far from its end, whichever of the programs it is.
MIDST_BYTES = 3 << 20


@pytest.fixture
def apart(relay_ipv4: Relay, start_nat: StartNat) -> Couple:
    """A couple with a public address for each, registered with a relay of default settings."""
    return couple_apart(relay_ipv4, start_nat)


def _expect_followed(
    relay: Relay, couple: Couple, moved: Mapping, times: int = 1, evidence: str = "cid"
) -> list[Rebinding]:
    """Ends the relay, which must have followed this peer each time, at once, and no other peer."""
    relay.stop()
    rebindings = moved.rebindings
    assert len(rebindings) == times, "not the rebindings that were planned"
    (paired,) = relay.events("session_paired", couple.session)
    side = "A" if paired.fields["a"] == shown(rebindings[0].old) else "B"
    followed = [
        tuple(event.fields[name] for name in ("side", "from", "to", "evidence"))
        for event in relay.events("rebind", couple.session)
    ]
    moves = [(side, shown(each.old), shown(each.new), evidence) for each in rebindings]
    assert followed == moves
    assert relay.summary()["rebinds"] == str(times)
    return rebindings


def _expect_short_outages(
    relay: Relay, couple: Couple, moved: Mapping, note: Note, what: str
) -> None:
    """Neither the relay nor the peer may have noticed more than a hiccup."""
    events = relay.events("rebind", couple.session)
    gaps = [int(event.fields["gap_ms"]) / 1_000 for event in events]
    outages = [rebinding.outage_seconds for rebinding in moved.rebindings]
    for rebinding, gap, outage in zip(moved.rebindings, gaps, outages, strict=True):
        assert outage is not None, f"nothing came after {rebinding}"
        assert gap < OUTAGE_SECONDS, f"the relay heard nothing for {gap} s at {rebinding}"
        assert outage < OUTAGE_SECONDS, f"nothing came for {outage:.3f} s at {rebinding}"
    seen = ", ".join(f"{(outage or 0) * 1_000:.0f} ms" for outage in outages)
    note(f"rebinding, {what}: cut off for {seen}")


@pytest.mark.parametrize("role", ["client", "server"])
def test_new_port_in_the_midst_of_a_transfer(
    relay_ipv4: Relay,
    apart: Couple,
    stack: Stack,
    role: str,
    seed: int,
    tmp_path: Path,
    note: Note,
) -> None:
    moved = apart.client if role == "client" else apart.server
    moved.plan_rebindings(after_bytes=MIDST_BYTES)
    with apart.transfer(stack, seed, tmp_path) as running:
        running.finish()
    assert moved.outward_here.byte_count > MIDST_BYTES, "it was not in the midst"
    _expect_followed(relay_ipv4, apart, moved)
    _expect_short_outages(relay_ipv4, apart, moved, note, f"{stack.name} {role}")


def test_new_port_with_some_milliseconds_of_round_trip(
    relay_ipv4: Relay, start_nat: StartNat, stack: Stack, seed: int, tmp_path: Path, note: Note
) -> None:
    couple = couple_apart(relay_ipv4, start_nat, delay_seconds=0.005)
    couple.client.plan_rebindings(after_bytes=1 << 20)
    with couple.transfer(stack, seed, tmp_path, byte_count=3 << 20) as running:
        running.finish()
    _expect_followed(relay_ipv4, couple, couple.client)
    what = f"{stack.name} client, round trip of 20 ms"
    _expect_short_outages(relay_ipv4, couple, couple.client, note, what)


@pytest.mark.parametrize("role", ["client", "server"])
def test_new_public_address_in_the_midst_of_a_transfer(
    relay_ipv4: Relay,
    apart: Couple,
    stack: Stack,
    role: str,
    seed: int,
    tmp_path: Path,
    note: Note,
) -> None:
    moved = apart.client if role == "client" else apart.server
    moved.plan_rebindings(after_bytes=MIDST_BYTES, host=OTHER_HOST)
    with apart.transfer(stack, seed, tmp_path) as running:
        running.finish()
    (rebinding,) = _expect_followed(relay_ipv4, apart, moved)
    assert rebinding.new.host == OTHER_HOST
    _expect_short_outages(relay_ipv4, apart, moved, note, f"{stack.name} {role}, new address")


def test_several_new_ports_in_one_transfer(
    relay_ipv4: Relay, apart: Couple, stack: Stack, seed: int, tmp_path: Path, note: Note
) -> None:
    apart.client.plan_rebindings(after_bytes=1 << 20, times=5)
    with apart.transfer(stack, seed, tmp_path) as running:
        running.finish()
    _expect_followed(relay_ipv4, apart, apart.client, times=5)
    _expect_short_outages(relay_ipv4, apart, apart.client, note, f"{stack.name} client, 5 times")


@pytest.mark.parametrize("role", ["client", "server"])
def test_only_the_one_that_moved_moves_behind_one_public_address(
    relay_ipv4: Relay,
    start_nat: StartNat,
    stack: Stack,
    role: str,
    seed: int,
    tmp_path: Path,
    note: Note,
) -> None:
    nat = start_nat(relay_ipv4, SERVER_HOST)
    couple = register_couple(relay_ipv4, nat.mapping(), nat.mapping())
    moved = couple.client if role == "client" else couple.server
    moved.plan_rebindings(after_bytes=MIDST_BYTES)
    with couple.transfer(stack, seed, tmp_path) as running:
        running.finish()
    _expect_followed(relay_ipv4, couple, moved)
    _expect_short_outages(relay_ipv4, couple, moved, note, f"{stack.name} {role}, one address")


def test_neighbour_behind_the_same_public_address_is_not_disturbed(
    relay_ipv4: Relay,
    start_nat: StartNat,
    stack: Stack,
    aioquic: Stack,
    seed: int,
    tmp_path: Path,
    note: Note,
) -> None:
    servers, clients = (start_nat(relay_ipv4, host) for host in (SERVER_HOST, CLIENT_HOST))
    couples = [register_couple(relay_ipv4, servers.mapping(), clients.mapping()) for _ in range(2)]
    restless, neighbour = couples
    restless.client.plan_rebindings(after_bytes=1 << 20, times=3)
    with neighbour.transfer(
        aioquic, seed, tmp_path / "neighbour", byte_count=2 * TRANSFER_BYTES
    ) as long_one:
        wait_until(lambda: neighbour.client.inward.byte_count > MIDST_BYTES, "the long transfer")
        with restless.transfer(stack, seed + 2, tmp_path / "restless") as running:
            wait_until(lambda: len(restless.client.rebindings) == 3, "three rebindings")
            assert long_one.is_running(), "the neighbour had gone when the rebindings came"
            running.finish()
        long_one.finish()
    _expect_followed(relay_ipv4, restless, restless.client, times=3)
    what = f"{stack.name} client beside a neighbour"
    _expect_short_outages(relay_ipv4, restless, restless.client, note, what)
    assert not relay_ipv4.events("rebind", neighbour.session)
    for mapping in (neighbour.client, neighbour.server):
        assert mapping.lost_inward.datagrams == 0


@pytest.mark.parametrize("role", ["client", "server"])
def test_conversation_hardly_pauses(
    relay_ipv4: Relay, apart: Couple, aioquic: Stack, role: str, tmp_path: Path, note: Note
) -> None:
    moved = apart.client if role == "client" else apart.server
    with apart.converse(aioquic, tmp_path) as conversation:
        for _ in range(3):
            moved.rebind()
            wait_until(lambda: moved.inward_here.datagrams >= 20, "datagrams after the rebinding")
            conversation.check_alive()
        both = conversation.finish()
    _expect_followed(relay_ipv4, apart, moved, times=3)
    _expect_short_outages(relay_ipv4, apart, moved, note, f"pings, {role}, 3 times")
    for pings in both:
        assert pings.longest_gap_seconds < OUTAGE_SECONDS, both


def test_deployed_client_is_followed(
    relay_ipv4: Relay, start_nat: StartNat, seed: int, tmp_path: Path, note: Note
) -> None:
    # It registers and punches from the port that QUIC takes over, all of it through its NAT.
    nats = [start_nat(relay_ipv4, host) for host in (SERVER_HOST, CLIENT_HOST)]
    ports = free_ports(relay_ipv4.address.host, 2)
    couple = Couple(relay_ipv4.new_session(), nats[0].mapping(), nats[1].mapping(), ports)
    couple.client.plan_rebindings(after_bytes=MIDST_BYTES)
    as_deployed = Stack("deployed", "quic_portal_peer.py", ("--session", str(couple.session)))
    with couple.transfer(as_deployed, seed, tmp_path) as running:
        running.finish()
    _expect_followed(relay_ipv4, couple, couple.client)
    what = "quic-portal client, as deployed"
    _expect_short_outages(relay_ipv4, couple, couple.client, note, what)


def test_mute_receiver_is_found_by_its_keep_alive(
    relay_ipv4: Relay, apart: Couple, quic_portal: Stack, seed: int, tmp_path: Path, note: Note
) -> None:
    # A client that only receives has nothing to say once its acknowledgements are lost, until its
    # keep-alive of 2 s is due, and nobody can know where it is before. No relay can make this
    # outage shorter, so there is no limit to it here.
    client = apart.client
    client.plan_rebindings(after_bytes=MIDST_BYTES, inward=True, blocks_outward=True)
    with apart.transfer(quic_portal, seed, tmp_path) as running:
        wait_until(lambda: client.rebindings, "the rebinding")
        _await_silence(client)
        client.blocks_outward = False
        running.finish()
    (rebinding,) = _expect_followed(relay_ipv4, apart, client)
    note(f"rebinding, mute quic-portal client: cut off for {rebinding.outage_seconds or 0:.2f} s")


def _await_silence(mapping: Mapping) -> None:
    """Returns when the program behind this mapping has had nothing to say for a moment."""
    count, since = -1, time.monotonic()
    deadline = since + WAIT_WALL_SECONDS
    while time.monotonic() - since < SILENCE_SECONDS:
        assert time.monotonic() < deadline, "the program does not fall silent"
        if mapping.lost_outward.datagrams != count:
            count, since = mapping.lost_outward.datagrams, time.monotonic()
        time.sleep(POLL_SECONDS)


def test_off_follows_nobody(
    start_relay: StartRelay, start_nat: StartNat, aioquic: Stack, tmp_path: Path
) -> None:
    relay = start_relay("--rebind", "off")
    couple = couple_apart(relay, start_nat)
    with couple.converse(aioquic, tmp_path):
        couple.client.rebind()
        # More than are demanded below: the last ones may find the relay about to end.
        wait_until(lambda: couple.client.outward_here.datagrams >= 30, "pings from the new port")
    summary = relay.summary()
    assert couple.client.inward_here.datagrams == 0
    assert not relay.events("rebind")
    assert int(summary["dropped_unknown_source"]) >= 20
    assert summary["rebinds"] == "0"


def test_off_follows_who_registers_again(
    start_relay: StartRelay, start_nat: StartNat, aioquic: Stack, seed: int, tmp_path: Path
) -> None:
    relay = start_relay("--rebind", "off")
    couple = couple_apart(relay, start_nat)
    couple.client.plan_rebindings(after_bytes=MIDST_BYTES)
    with couple.transfer(aioquic, seed, tmp_path) as running:
        wait_until(lambda: couple.client.rebindings, "the rebinding")
        couple.client.inject(registration(couple.session))
        running.finish()
    _expect_followed(relay, couple, couple.client, evidence="registration")


def test_same_ip_follows_within_one_address(
    start_relay: StartRelay,
    start_nat: StartNat,
    stack: Stack,
    seed: int,
    tmp_path: Path,
    note: Note,
) -> None:
    relay = start_relay("--rebind", "same-ip")
    couple = couple_apart(relay, start_nat)
    couple.client.plan_rebindings(after_bytes=MIDST_BYTES)
    with couple.transfer(stack, seed, tmp_path) as running:
        running.finish()
    _expect_followed(relay, couple, couple.client, evidence="same_ip")
    _expect_short_outages(relay, couple, couple.client, note, f"{stack.name} client by same-ip")


def test_before_quic_two_datagrams_from_the_address_are_enough(relay_ipv4: Relay) -> None:
    session = relay_ipv4.new_session()
    a, b = relay_ipv4.pair(SERVER_HOST, CLIENT_HOST, session=session)
    moved = relay_ipv4.peer(SERVER_HOST)
    for payload in (b"the first does not move a live peer", b"the second does"):
        moved.send(payload)
        b.expect(payload)
    exchange(b, moved, "moved")
    a.expect_silence()
    relay_ipv4.stop()
    (event,) = relay_ipv4.events("rebind", session)
    assert (event.fields["side"], event.fields["evidence"]) == ("A", "same_ip")


def test_before_quic_nobody_guesses_between_two_peers(relay_ipv4: Relay) -> None:
    session = relay_ipv4.new_session()
    a, b = relay_ipv4.pair(SERVER_HOST, SERVER_HOST, session=session)
    stranger = relay_ipv4.peer(SERVER_HOST)
    for _ in range(5):
        stranger.send(b"from one of two")
    b.expect_silence()
    exchange(a, b, "undisturbed")
    stranger.expect_silence()
    assert not relay_ipv4.events("rebind", session)


def test_before_quic_nobody_guesses_between_two_sessions(relay_ipv4: Relay) -> None:
    sessions = [relay_ipv4.pair(SERVER_HOST, CLIENT_HOST) for _ in range(2)]
    stranger = relay_ipv4.peer(SERVER_HOST)
    for _ in range(5):
        stranger.send(b"from one of two")
    stranger.expect_silence()
    for a, b in sessions:
        exchange(a, b, "undisturbed")
    stranger.expect_silence()
    assert not relay_ipv4.events("rebind")


def test_nobody_moves_without_a_reason(
    relay_ipv4: Relay, start_nat: StartNat, stack: Stack, seed: int, tmp_path: Path
) -> None:
    nat = start_nat(relay_ipv4, SERVER_HOST)
    couple = register_couple(relay_ipv4, nat.mapping(), nat.mapping())
    with couple.transfer(stack, seed, tmp_path) as running:
        running.finish()
    assert not relay_ipv4.events("rebind")
    assert relay_ipv4.summary()["rebinds"] == "0"
