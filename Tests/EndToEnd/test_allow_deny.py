"""Lists of addresses, and addresses that nobody has to do with: nothing loops, nothing leaks."""

from __future__ import annotations

import random
import socket
import struct
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from commands import Commands
from peers import Peer, exchange, ping_pong, registration
from relay_process import Relay, StartRelay
from test_version_two import keyed
from waiting import wait_until

STUN_REQUEST = bytes.fromhex("000100002112a442") + bytes(12)

# The one that finds out whether the relay answers comes from 127.0.0.254.
OWN = "127.0.0.254\n"


def write(folder: Path, name: str, text: str) -> str:
    """A file; its path."""
    path = folder / name
    path.write_text(text)
    return str(path)


def ask_in_vain(relay: Relay, host: str) -> None:
    """Asks for everything that there is, and gets nothing."""
    peer = relay.peer(host)
    for line in (
        registration(relay.new_session()), keyed("REG", relay.new_session(), "000000000000000a"),
        STUN_REQUEST, b"payload",
    ):
        peer.send(line)
    peer.expect_silence()


def test_deny_wins_over_allow(start_relay: StartRelay, tmp_path: Path) -> None:
    allow = write(tmp_path, "allow", OWN + "127.0.0.0/30 # four of them\n127.0.1.5\n")
    deny = write(tmp_path, "deny", "127.0.0.3\n127.0.1.0/24\n")
    relay = start_relay("--allow", allow, "--deny", deny, "--stun")
    for denied in ("127.0.0.3", "127.0.0.4", "127.0.1.5", "127.9.9.9"):
        ask_in_vain(relay, denied)
    a, b = relay.pair("127.0.0.1", "127.0.0.2")
    exchange(a, b, "allowed")
    assert relay.summary()["dropped_denied"] == str(4 * 4)


def test_ipv6_has_lists_too(start_relay: StartRelay, tmp_path: Path) -> None:
    deny = write(tmp_path, "deny", "0.0.0.0/0\n2001:db8::/32\n")
    relay = start_relay("--deny", deny, host="::1")
    exchange(*relay.pair(), "allowed")


def test_thousands_of_lines(start_relay: StartRelay, tmp_path: Path, rng: random.Random) -> None:
    lines = [f"{rng.randrange(1, 127)}.{rng.randrange(256)}.{rng.randrange(256)}.0/24" for _ in range(20_000)]
    lines += [f"2001:db8:{rng.randrange(65_536):x}::/48" for _ in range(20_000)]
    lines.insert(rng.randrange(len(lines)), "127.0.0.9")
    relay = start_relay("--deny", write(tmp_path, "deny", "\n".join(lines)))
    ask_in_vain(relay, "127.0.0.9")
    exchange(*relay.pair("127.0.0.8", "127.0.0.10"), "allowed")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_lists_are_read_again(start_relay: StartRelay, tmp_path: Path, workers: str) -> None:
    control = tmp_path / "control.sock"
    deny = tmp_path / "deny"
    deny.write_text("# nobody\n")
    relay = start_relay("--deny", str(deny), "--control", str(control), "--workers", workers)
    wait_until(control.exists, "the control socket")
    commands = Commands(control)
    bad, good = relay.new_session(), relay.new_session()
    a, b = relay.pair("127.0.0.2", "127.0.0.3", session=bad)
    c, d = relay.pair("127.0.0.4", "127.0.0.5", session=good)

    # A bad line keeps the old list, and the answer says so.
    deny.write_text("127.0.0.2\n127.0.0.300\n")
    (line,) = commands.values("reload", code=78)
    assert line["event"] == "configuration_refused"
    assert f"--deny: {deny}:2: '127.0.0.300' must be an address" in line["fields"]["reason"]
    exchange(a, b, "before")

    deny.write_text("127.0.0.2\n")
    assert "notice address_lists_changed allow=all deny=1" in commands.lines("reload")
    wait_until(lambda: relay.events("session_ended", bad), "the session of who is denied ends")
    (ended,) = relay.events("session_ended", bad)
    assert ended.fields["reason"] == "denied"
    ask_in_vain(relay, "127.0.0.2")
    a.send(b"anybody there?")
    b.expect_silence()
    exchange(c, d, "after")

    deny.write_text("")
    commands.lines("reload")
    wait_until(lambda: len(relay.events("reconfigured")) == 2, "the list is empty again")
    a.receive_all()
    a.register(bad)
    assert relay.events("session_ended", good) == []


def test_a_relay_takes_up_nobody_who_is_denied(start_relay: StartRelay, tmp_path: Path) -> None:
    deny = tmp_path / "deny"
    deny.write_text("")
    relay = start_relay("--deny", str(deny), "--state-dir", str(tmp_path / "state"))
    sessions = [relay.new_session(), relay.new_session()]
    with (
        Peer(relay.address, "127.0.0.2") as a, Peer(relay.address, "127.0.0.3") as b,
        Peer(relay.address, "127.0.0.4") as c, Peer(relay.address, "127.0.0.5") as d,
    ):
        for session, pair in zip(sessions, ((a, b), (c, d)), strict=True):
            for peer in pair:
                peer.register(session)
            ping_pong(*pair)
        relay.stop()
        deny.write_text("127.0.0.3\n")
        relay.start_again()
        c.send(b"goes on")
        d.expect(b"goes on")
        a.send(b"does not")
        b.expect_silence()


# Addresses that are nobody's, everybody's, or the relay's own.

Forge = Callable[[bytes, tuple[str, int], tuple[str, int]], None]


@pytest.fixture
def forge() -> Forge:
    """Sends a datagram from any address to a relay on this machine; needs root."""
    try:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    except PermissionError:
        pytest.skip("forging addresses needs root (CAP_NET_RAW)")

    def send(payload: bytes, source: tuple[str, int], relay: tuple[str, int]) -> None:
        # The kernel fills in length and checksum of IP (raw(7)); 0 is no checksum of UDP (RFC 768).
        udp = struct.pack("!HHHH", source[1], relay[1], 8 + len(payload), 0)
        header = struct.pack(
            "!BBHHHBBH4s4s", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0,
            socket.inet_aton(source[0]), socket.inet_aton(relay[0]))
        raw.sendto(header + udp + payload, (relay[0], 0))

    return send


def lines_of(session: uuid.UUID) -> list[bytes]:
    """What may make a relay answer, and what relays answer."""
    return [
        registration(session), keyed("REG", session, "000000000000000a"), STUN_REQUEST, b"payload",
        b"ACK\n", b"ERR:full\n", b"CHL:" + b"0" * 32 + b"\n",
    ]


@pytest.mark.parametrize("mode", [(), ("--strict",)], ids=["default", "strict"])
def test_addresses_that_are_never_answered(
    start_relay: StartRelay, forge: Forge, mode: tuple[str, ...]
) -> None:
    relay = start_relay("--stun", *mode)
    here = (relay.address.host, relay.address.port)
    before = relay.peer("127.0.0.9")
    sources = [
        ("127.0.0.2", 0), here, ("0.1.2.3", 9), ("224.0.0.1", 9), ("239.255.255.255", 9),
        ("255.255.255.255", 9), ("127.255.255.255", 9),
    ]
    for source in sources:
        for line in lines_of(relay.new_session()):
            forge(line, source, here)
    # Whoever comes after them is answered: all that the kernel let through has been decided.
    before.register(relay.new_session())
    totals = relay.summary()
    assert relay.events("session_opened") != []
    opened = [event.fields["peer"] for event in relay.events("session_opened")]
    # The kernel lets the loopback network's own broadcast address pass where it filters no paths;
    # nothing can be sent there.
    allowed = ("127.0.0.9:", "127.0.0.254:", "127.255.255.255:")
    assert all(peer.startswith(allowed) for peer in opened), opened
    # From port 0 and from the relay itself, each line once.
    assert int(totals["dropped_refused_source"]) >= 2 * len(lines_of(uuid.uuid4()))


@pytest.mark.parametrize("mode", [(), ("--strict",)], ids=["default", "strict"])
def test_two_relays_pointed_at_each_other_fall_silent(
    start_relay: StartRelay, forge: Forge, mode: tuple[str, ...]
) -> None:
    """Each is told that the other is a peer: alone, in one session, and with somebody else's peer."""
    relays = [start_relay("--stun", *mode), start_relay("--stun", *mode)]
    places = [(relay.address.host, relay.address.port) for relay in relays]
    victims = [relay.peer(f"127.0.0.{number + 2}") for number, relay in enumerate(relays)]
    session = relays[0].new_session()
    for relay, victim in zip(relays, victims, strict=True):
        victim.register(session)
    forged = 0
    for _ in range(3):
        for here, there in (places, places[::-1]):
            for line in lines_of(session) + lines_of(relays[0].new_session()):
                forge(line, there, here)
                forged += 1
    for victim in victims:
        victim.receive_all()
    victims[0].send(b"is it still going round?")
    for victim in victims:
        victim.receive_all()
    received = [int(relay.summary()["received"]) for relay in relays]
    # Each forged line, one datagram at most that it caused at the other relay, and what the victims
    # and those sent who found out whether the relays answer (once or a few times).
    assert sum(received) <= 2 * forged + 2 * 20, received
