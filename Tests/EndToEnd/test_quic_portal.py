"""quic-portal 0.1.13 (Quinn), unpatched, through the relay; it speaks IPv4 only."""

from __future__ import annotations

from pathlib import Path

from conftest import Note
from peers import free_ports
from programs import register_ports, throughput, transfer
from relay_process import Relay

PROGRAM = "quic_portal_peer.py"


def test_transfer_each_way(relay_ipv4: Relay, seed: int, tmp_path: Path, note: Note) -> None:
    host = relay_ipv4.address.host
    ports = free_ports(host, 2)
    register_ports(relay_ipv4, ports)
    _, client = transfer(PROGRAM, relay_ipv4.address, ports, seed, tmp_path)
    note(throughput("quic-portal, IPv4", client))


def test_life_of_the_deployed_client(
    relay_ipv4: Relay, seed: int, tmp_path: Path, note: Note
) -> None:
    host = relay_ipv4.address.host
    ports = free_ports(host, 2)
    session = str(relay_ipv4.new_session())
    both = transfer(PROGRAM, relay_ipv4.address, ports, seed, tmp_path, "--session", session)
    # It has five tries for the sake of lossy networks; here the first must be answered.
    assert [received.registration_tries for received in both] == [1, 1]
    note(throughput("quic-portal, IPv4, as deployed", both[1]))
