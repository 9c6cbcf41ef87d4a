"""The Python integration's examples, unpatched QUIC libraries through a real relay."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

from relay_process import REPOSITORY, Relay, neutral_environment

_PACKAGE = REPOSITORY / "integrations" / "python"
_WALL_SECONDS = 120.0


def _command(example: str, role: str, relay: Relay, session: uuid.UUID, *more: str) -> list[str]:
    program = str(_PACKAGE / "examples" / example)
    address = f"{relay.address.host}:{relay.address.port}"
    if ":" in relay.address.host:
        address = f"[{relay.address.host}]:{relay.address.port}"
    return [sys.executable, program, role, "--relay", address, "--session", str(session), *more]


def _environment() -> dict[str, str]:
    return neutral_environment() | {"PYTHONPATH": str(_PACKAGE / "src")}


@contextlib.contextmanager
def _running(command: list[str], ready: str) -> Iterator[subprocess.Popen[str]]:
    """A program that says when it can be reached, and must end well."""
    with subprocess.Popen(
        command, env=_environment(), stdout=subprocess.PIPE, text=True
    ) as program:
        try:
            assert program.stdout is not None
            line = program.stdout.readline()
            assert ready in line, line
            yield program
            assert program.wait(_WALL_SECONDS) == 0
        finally:
            program.kill()


def _run(command: list[str]) -> str:
    done = subprocess.run(
        command, env=_environment(), capture_output=True, text=True, timeout=_WALL_SECONDS
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_quic_portal_from_registered_ports(relay_ipv4: Relay) -> None:
    session = relay_ipv4.new_session()
    example = "quic_portal_through_relay.py"
    with _running(_command(example, "server", relay_ipv4, session), "registered port"):
        printed = _run(_command(example, "client", relay_ipv4, session))
    assert "100 messages came back" in printed


def test_aioquic_through_forwarders(relay: Relay, certificate: tuple[Path, Path]) -> None:
    session = relay.new_session()
    example = "aioquic_through_forwarder.py"
    files = ("--certificate", str(certificate[0]), "--key", str(certificate[1]))
    with _running(_command(example, "server", relay, session, *files), "serving"):
        printed = _run(_command(example, "client", relay, session, "--bytes", str(10 << 20)))
    assert f"{10 << 20} bytes came back" in printed


def test_the_hosting_layer_needs_no_shared_port(relay_ipv4: Relay) -> None:
    """Both ends by `register_with_relay`, as hosting layers call it, each in its own process."""
    session = relay_ipv4.new_session()
    server = (
        "register_with_relay(relay, session, port); portal.listen(port, QuicTransportOptions()); "
        "portal.send(bytes(portal.recv(60000))[::-1]); portal.recv(60000)"
    )
    client = (
        "register_with_relay(relay, session, port); "
        "portal.connect(*relay, port, QuicTransportOptions()); portal.send(b'drawer'); "
        "print(bytes(portal.recv(60000)))"
    )
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", _HOSTING + body, str(session)],
            env=_environment()
            | {"QUIC_RELAY_IP": relay_ipv4.address.host, "QUIC_RELAY_ONLY": "true"}
            | {"QUIC_RELAY_PORT": str(relay_ipv4.address.port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for body in (server, client)
    ]
    try:
        printed, _ = programs[1].communicate(timeout=_WALL_SECONDS)
        assert printed.strip() == "b'reward'"
    finally:
        for program in programs:
            program.kill()
            program.wait()


_HOSTING = """
import socket, sys
from quic_portal import Portal, QuicTransportOptions
from quic_relay.hosting import is_relay_only, register_with_relay, relay_address
relay, session, portal = relay_address(), sys.argv[1], Portal()
assert is_relay_only()
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
    probe.bind(("0.0.0.0", 0))
    port = probe.getsockname()[1]
"""
