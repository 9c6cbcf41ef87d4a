"""Forwarding between a relay and programs on this machine."""

from __future__ import annotations

import socket
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from fake_relay import FakeRelay
from quic_relay import Address, Forwarder, ForwarderProcess, RegistrationError

SESSION = uuid.UUID("0d5a2f0e-6c1b-4d7e-9f39-5a1c37ad5b10")
WALL_SECONDS = 20.0
SOURCES = str(Path(__file__).resolve().parents[1] / "src")


def program() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(WALL_SECONDS)
    return sock


def name(sock: socket.socket) -> Address:
    host, port = sock.getsockname()
    return Address(host, port)


def round_trip(client: socket.socket, server: socket.socket, door: Address, size: int) -> None:
    question, answer = bytes([size % 251]) * size, b"answer" + bytes(size)
    client.sendto(question, door)
    received, source = server.recvfrom(65_535)
    assert received == question
    server.sendto(answer, source)
    assert client.recvfrom(65_535) == (answer, door)


def test_a_client_and_a_server_meet(relay: FakeRelay) -> None:
    with program() as client, program() as server:
        with (
            Forwarder(relay.address, SESSION, forward_to=name(server)) as behind,
            Forwarder(relay.address, SESSION, listen=("127.0.0.1", 0)) as before,
        ):
            for size in (0, 1, 4, 1_200, 1_472, 9_000):
                round_trip(client, server, before.address, size)
            assert before.datagrams_out == behind.datagrams_in == 6
            assert before.datagrams_in == behind.datagrams_out == 6
            assert before.datagrams_lost == behind.datagrams_lost == 0
    assert len(relay.lines) == 2


def test_a_datagram_like_an_acknowledgement_is_carried(relay: FakeRelay) -> None:
    with program() as client, program() as server:
        with (
            Forwarder(relay.address, SESSION, forward_to=name(server)),
            Forwarder(relay.address, SESSION, listen=("127.0.0.1", 0)) as before,
        ):
            client.sendto(b"ACK\n", before.address)
            assert server.recv(100) == b"ACK\n"


def test_the_latest_local_sender_is_answered(relay: FakeRelay) -> None:
    with program() as first, program() as second, program() as server:
        with (
            Forwarder(relay.address, SESSION, forward_to=name(server)),
            Forwarder(relay.address, SESSION, listen=("127.0.0.1", 0)) as before,
        ):
            round_trip(first, server, before.address, 10)
            round_trip(second, server, before.address, 20)


def test_a_server_that_is_not_there_yet_costs_datagrams_only(relay: FakeRelay) -> None:
    with program() as client, program() as server:
        address = name(server)
        server.close()
        with (
            Forwarder(relay.address, SESSION, forward_to=address),
            Forwarder(relay.address, SESSION, listen=("127.0.0.1", 0)) as before,
        ):
            client.sendto(b"too early", before.address)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late:
                late.bind(address)
                late.settimeout(0.1)
                received = b""
                # QUIC sends again, too; the wall is in the number of tries.
                for _ in range(int(WALL_SECONDS / 0.1)):
                    client.sendto(b"again", before.address)
                    try:
                        received = late.recv(100)
                        break
                    except TimeoutError:
                        continue
                assert received in (b"again", b"too early")


def test_strangers_are_not_heard(relay: FakeRelay) -> None:
    with program() as server, program() as stranger:
        with Forwarder(relay.address, SESSION, forward_to=name(server)):
            if relay.address.family == socket.AF_INET:
                stranger.sendto(b"attack", relay.sources[0])
            relay.send(b"from the relay", relay.sources[0])
            assert server.recv(100) == b"from the relay"


def test_a_relay_that_does_not_answer_is_named(relay: FakeRelay) -> None:
    relay.silent_registrations = 1_000
    forwarder = Forwarder(relay.address, SESSION, listen=("127.0.0.1", 0))
    with pytest.raises(RegistrationError, match=str(relay.address.port)):
        forwarder.start(wait_seconds=0.2)


def test_either_side_must_be_named(relay: FakeRelay) -> None:
    with pytest.raises(ValueError, match="either"):
        Forwarder(relay.address, SESSION)
    with pytest.raises(ValueError, match="either"):
        ForwarderProcess(
            relay.address, SESSION, listen=("127.0.0.1", 1), forward_to=("127.0.0.1", 2)
        )


def test_a_process_of_its_own(relay: FakeRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", SOURCES)
    with program() as client, program() as server:
        with (
            ForwarderProcess(relay.address, SESSION, forward_to=name(server)),
            ForwarderProcess(relay.address, SESSION, listen=("127.0.0.1", 0)) as before,
        ):
            round_trip(client, server, before.address, 1_200)
            arguments = Path(f"/proc/{before._process.pid}/cmdline")
            if arguments.exists():
                assert str(SESSION).encode() not in arguments.read_bytes()
        before.stop()


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["--session", str(SESSION), "--wait", "0.1"], 69, "did not acknowledge within 0.1 s"),
        (["--session", "x"], 64, "'x' is not a session id"),
        (["--session", str(SESSION), "--relay", "relay:0"], 64, "'relay:0': the port must be a number from 1 to 65535"),
        (["--listen", "127.0.0.1:0"], 64, "not allowed with argument"),
        ([], 64, "'' is not a session id"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], status: int, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", SOURCES)
    with program() as mute, program() as server:
        run = subprocess.run(
            [sys.executable, "-m", "quic_relay", "--relay", str(name(mute))]
            + ["--forward", str(name(server)), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WALL_SECONDS,
        )
    assert run.returncode == status
    assert complaint in run.stderr
    assert run.stderr.count("\n") == 1
    assert run.stdout == ""
