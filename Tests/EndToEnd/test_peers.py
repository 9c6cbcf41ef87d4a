"""What the other tests rely on: that a port they took is still free when a program opens it."""

from __future__ import annotations

import socket
from collections import deque
from pathlib import Path

import pytest

from peers import free_ports


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_free_port_is_not_one_that_the_kernel_gives_to_anybody(host: str) -> None:
    range_file = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first, last = (int(field) for field in range_file.read_text().split())
    ports = [port for _ in range(20) for port in free_ports(host, 5)]
    assert not [port for port in ports if first <= port <= last]
    assert len(set(ports)) == len(ports)


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_port_in_use_is_passed_over(
    kind: socket.SocketKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, free = free_ports("127.0.0.1", 2)
    monkeypatch.setattr("peers._ports", deque([used, free]))
    with socket.socket(socket.AF_INET, kind) as user:
        user.bind(("127.0.0.1", used))
        assert free_ports("127.0.0.1", 1) == [free]
