"""aioquic, unpatched, through the relay."""

from __future__ import annotations

from pathlib import Path

from conftest import Note
from peers import free_ports
from programs import Received, aioquic_options, register_ports, throughput, transfer
from relay_process import Relay


def _transfer(
    relay: Relay,
    seed: int,
    directory: Path,
    certificate: tuple[Path, Path],
    *options: str,
    byte_count: int,
) -> tuple[Received, Received]:
    host = relay.address.host
    ports = free_ports(host, 2)
    register_ports(relay, ports)
    return transfer(
        "aioquic_peer.py",
        relay.address,
        ports,
        seed,
        directory,
        *aioquic_options(host, certificate),
        *options,
        byte_count=byte_count,
    )


def test_transfer_both_ways_at_once(
    relay: Relay, seed: int, tmp_path: Path, certificate: tuple[Path, Path], note: Note
) -> None:
    _, client = _transfer(relay, seed, tmp_path, certificate, byte_count=10 << 20)
    version = "IPv6" if ":" in relay.address.host else "IPv4"
    note(throughput(f"aioquic, {version}", client))


def test_server_that_asks_for_a_retry(
    relay: Relay, seed: int, tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    _transfer(relay, seed, tmp_path, certificate, "--retry", byte_count=1 << 18)
