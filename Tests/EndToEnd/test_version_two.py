"""Version 2 of the registration, STUN, and what a spoofer gains (Documentation/protocol.md)."""

from __future__ import annotations

import secrets
import socket
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from peers import ACK, Peer, registration
from relay_process import Relay, StartRelay, relay_binary

# PROTOCOL: an address that has shown nothing gets this much at once, and this much a second.
ALLOWANCE_BYTES = 16_384
ALLOWANCE_BYTES_PER_SECOND = 65_536

MODES = pytest.mark.parametrize("mode", [(), ("--strict",)], ids=["default", "strict"])


def keyed(verb: str, session: uuid.UUID, key: str, cookie: str | None = None) -> bytes:
    """A line of version 2."""
    shown = f";cookie={cookie}" if cookie else ""
    return f"{verb}:{session};peer={key}{shown}\n".encode("ascii")


def cookie_for(peer: Peer, session: uuid.UUID, key: str) -> str:
    """What a peer's first line is answered with."""
    peer.send(keyed("REG", session, key))
    challenge = peer.receive().decode("ascii")
    assert challenge.startswith("CHL:") and len(challenge) == 37
    return challenge[4:36]


def speak(peer: Peer, session: uuid.UUID, key: str, verb: str = "REG") -> str:
    """Sends a line with a cookie; the answer."""
    peer.send(keyed(verb, session, key, cookie_for(peer, session, key)))
    return peer.receive().decode("ascii")


def shown(peer: Peer) -> str:
    """How the relay shows a peer's own address to it."""
    host = peer.relay.host
    return f"[{host}]:{peer.port}" if ":" in host else f"{host}:{peer.port}"


def test_two_peers_meet_and_one_leaves(relay: Relay) -> None:
    session = relay.new_session()
    a, b = relay.peer(), relay.peer()
    for peer, key in ((a, "000000000000000a"), (b, "000000000000000b")):
        assert speak(peer, session, key) == f"ACK;addr={shown(peer)}\n"
    a.send(b"through")
    b.expect(b"through")
    assert speak(a, session, "000000000000000a", "BYE") == "ACK\n"
    relay.stop()
    ended = relay.events("session_ended", session)
    assert [event.fields["reason"] for event in ended] == ["bye"]


def test_a_peer_moves_at_once_by_its_key(relay: Relay) -> None:
    session = relay.new_session()
    a, b, moved = relay.peer(), relay.peer(), relay.peer()
    speak(a, session, "000000000000000a")
    speak(b, session, "000000000000000b")
    for sender, receiver in ((a, b), (b, a)):
        sender.send(b"alive")
        receiver.expect(b"alive")
    assert speak(moved, session, "000000000000000a").startswith("ACK;addr=")
    b.send(b"after")
    moved.expect(b"after")
    relay.stop()
    assert [event.fields["evidence"] for event in relay.events("rebind", session)] == ["key"]


def test_cookies_and_keys_outlive_a_killed_relay(start_relay: StartRelay, tmp_path: Path) -> None:
    relay = start_relay("--state-dir", str(tmp_path / "state"))
    session = relay.new_session()
    state = tmp_path / "state" / "sessions.state"
    # Not the relay's own peers, which are closed when it ends.
    with Peer(relay.address) as a, Peer(relay.address) as b:
        cookie = cookie_for(a, session, "000000000000000a")
        line = keyed("REG", session, "000000000000000a", cookie)
        a.send(line)
        assert a.receive().startswith(b"ACK;addr=")
        speak(b, session, "000000000000000b")
        written = state.stat().st_mtime_ns if state.exists() else 0
        b.send(b"a change")
        a.expect(b"a change")
        # The state is written once a second, and may have been while this was said.
        for _ in range(2):
            deadline = time.monotonic() + 60
            while not state.exists() or state.stat().st_mtime_ns == written:
                assert time.monotonic() < deadline, "no state is written"
                b.send(b"a change")
                a.expect(b"a change")
                time.sleep(0.05)
            written = state.stat().st_mtime_ns
        relay.kill()
        relay.start_again()
        a.send(line)
        assert a.receive().startswith(b"ACK;addr="), "the cookie was forgotten"
        b.send(b"after")
        a.expect(b"after")


@MODES
def test_a_spoofer_gains_nothing_by_control_traffic(
    start_relay: StartRelay, mode: tuple[str, ...]
) -> None:
    relay = start_relay(*mode)
    peer = relay.peer()
    session = relay.new_session()
    cookie = secrets.token_hex(16)
    lines = [
        registration(session), registration(relay.new_session(), b""),
        keyed("REG", session, "000000000000000a"), keyed("REG", session, "00000000000000ff", cookie),
        keyed("BYE", session, "000000000000000a", cookie),
        f"REG:{session};peer=zz\n".encode(), f"REG:{session};{'x' * 400}\n".encode(),
        f"REG:{session};peer=000000000000000a;exp=1;mac={'0' * 64}\n".encode(),
    ]
    for line in lines:
        peer.send(line)
        answers = peer.receive_all()
        assert sum(map(len, answers)) <= len(line), f"{line!r} is answered with {answers!r}"


@MODES
def test_a_victim_gets_no_more_than_the_allowance(
    start_relay: StartRelay, mode: tuple[str, ...]
) -> None:
    """A forged registration and an accomplice that sends without a limit: the victim is mute."""
    relay = start_relay(*mode)
    session = relay.new_session()
    victim, accomplice = relay.peer(), relay.peer()
    victim.register(session)
    accomplice.register(session)
    payload = bytes(1_200)
    start = time.monotonic()
    while time.monotonic() - start < 2:
        for _ in range(64):
            accomplice.send(payload)
        time.sleep(0.002)
    got = sum(map(len, victim.receive_all()))
    seconds = time.monotonic() - start
    assert ALLOWANCE_BYTES - len(payload) < got
    assert got <= ALLOWANCE_BYTES + ALLOWANCE_BYTES_PER_SECOND * seconds
    # Once it shows that it receives, by a cookie, the same flood is let through.
    assert speak(victim, session, "000000000000000a").startswith("ACK;addr=")
    for _ in range(64):
        accomplice.send(payload)
    assert len(victim.receive_all()) == 64


@MODES
def test_the_deployed_client_registers_as_ever(
    start_relay: StartRelay, mode: tuple[str, ...]
) -> None:
    """It waits 2 s for exactly ACK, five times; then it repeats its line and reads no answer."""
    relay = start_relay(*mode)
    session = relay.new_session()
    server, client = relay.peer(), relay.peer()
    for peer in (server, client):
        peer.send(registration(session))
        assert peer.receive(2.0) == ACK and ACK.strip() == b"ACK"
    for message in (b"punch", b"punch-ack"):
        client.send(message)
        server.expect(message)
        server.send(message)
        client.expect(message)
    # As with the refresh every 3 s, from a socket that never reads.
    for _ in range(5):
        client.send(registration(session))
    server.send(b"initial")
    received = client.receive_all()
    assert received.count(ACK) == 5 and received.count(b"initial") == 1 and len(received) == 6
    server.expect_silence()


def _stun_client(relay: Relay) -> str:
    run = subprocess.run(
        ["turnutils_stunclient", "-p", str(relay.address.port), relay.address.host],
        capture_output=True, text=True, timeout=60, check=False)
    return run.stdout + run.stderr


def test_a_stun_client_learns_its_address(start_relay: StartRelay) -> None:
    relay = start_relay("--stun")
    output = _stun_client(relay)
    assert "UDP reflexive addr: 127.0.0.1:" in output, output
    relay.stop()
    assert int(relay.summary()["replied"]) >= 1


def test_the_probe_finds_out_that_stun_is_offered(start_relay: StartRelay) -> None:
    relay = start_relay("--stun")
    run = subprocess.run(
        [str(relay_binary()), "probe", f"127.0.0.1:{relay.address.port}", "--seconds", "1"],
        capture_output=True, text=True, timeout=120, check=False)
    assert "stun          ok    this machine is seen as 127.0.0.1:" in run.stdout, run.stdout


def test_stun_is_no_amplifier_worth_having(start_relay: StartRelay) -> None:
    relay = start_relay("--stun", "--ack-rate-per-ip", "20")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(0.5)
        request = bytes.fromhex("000100002112a442") + bytes(12)
        for _ in range(200):
            asker.sendto(request, (relay.address.host, relay.address.port))
        answers = []
        while True:
            try:
                answers.append(asker.recv(2_048))
            except TimeoutError:
                break
    # 20 at once, and those of the time that it took.
    assert 20 <= len(answers) < 60
    assert all(len(answer) <= 2.2 * len(request) for answer in answers)
