"""Who gets which slot, and when it is taken away: Documentation/protocol.md.

All on IPv4, whose loopback addresses 127.0.0.2, .3 and .4 stand for three hosts.
"""

from __future__ import annotations

import random
import time

from peers import ACK, Peer, exchange, ping_pong, registration
from relay_process import Relay, StartRelay

HOST_A, HOST_B, HOST_C = "127.0.0.2", "127.0.0.3", "127.0.0.4"

# More than the 16 KiB that an address which is not validated may get at once.
BURST_DATAGRAMS = 40


def _burst(sender: Peer, receiver: Peer, rng: random.Random) -> None:
    datagrams = [rng.randbytes(1_000) for _ in range(BURST_DATAGRAMS)]
    for datagram in datagrams:
        sender.send(datagram)
    for datagram in datagrams:
        receiver.expect(datagram)


def test_third_host_is_refused_in_silence(relay_ipv4: Relay) -> None:
    session = relay_ipv4.new_session()
    a, b = relay_ipv4.pair(HOST_A, HOST_B, session=session)
    third = relay_ipv4.peer(HOST_C)
    for ending in (b"\n", b"", b"\r\n"):
        third.send(registration(session, ending))
    third.send(b"payload of a stranger")
    third.expect_silence()
    exchange(a, b, "undisturbed")
    third.expect_silence()


def test_restarted_peer_is_rebound_at_once(relay_ipv4: Relay, rng: random.Random) -> None:
    session = relay_ipv4.new_session()
    a, b = relay_ipv4.pair(HOST_A, HOST_B, session=session)
    for _ in range(2):
        new = relay_ipv4.peer(str(a.socket.getsockname()[0]))
        new.register(session)
        # The same address registered, so the new port is as trusted as the old one was.
        _burst(b, new, rng)
        _burst(new, b, rng)
        a.expect_silence()
        # Next it is the other one that restarts, while this one lives on at its new port.
        a, b = b, new


def test_restarted_peer_may_keep_its_port(relay_ipv4: Relay, rng: random.Random) -> None:
    session = relay_ipv4.new_session()
    a, b = relay_ipv4.pair(HOST_A, HOST_B, session=session)
    port = a.port
    a.close()
    again = relay_ipv4.peer(HOST_A, port)
    # QUIC on the port of a closed registration socket says nothing to the relay first.
    exchange(b, again, "known address")
    again.register(session)
    _burst(b, again, rng)


def test_behind_one_address_the_longer_silent_peer_has_moved(relay_ipv4: Relay) -> None:
    session = relay_ipv4.new_session()
    a, b = relay_ipv4.pair(HOST_A, HOST_A, session=session)
    newcomer = relay_ipv4.peer(HOST_A)
    # `a` falls silent and `b` is heard before every try, so it must be the place of `a`.
    deadline = time.monotonic() + 10
    while True:
        assert time.monotonic() < deadline, "the newcomer was refused for 10 s"
        b.register(session)
        newcomer.send(registration(session))
        try:
            assert newcomer.receive(0.1) == ACK
            break
        except TimeoutError:
            continue
    exchange(b, newcomer, "moved")
    a.expect_silence()


def test_waiting_peer_that_restarted_leaves_room_for_the_second(relay_ipv4: Relay) -> None:
    session = relay_ipv4.new_session()
    before, after = relay_ipv4.peer(HOST_A), relay_ipv4.peer(HOST_A)
    before.register(session)
    before.close()
    after.register(session)
    # Both slots are taken by one client. Its partner tries five times, 2 s apart: 10 s in all.
    second = relay_ipv4.peer(HOST_B)
    second.try_to_register(session, wall_seconds=10)
    exchange(second, after, "paired")


def test_one_address_is_in_one_session_at_a_time(relay_ipv4: Relay) -> None:
    a, b = relay_ipv4.pair(HOST_A, HOST_B)
    other = relay_ipv4.new_session()
    c = relay_ipv4.peer(HOST_C)
    c.register(other)
    a.register(other)
    ping_pong(a, c)
    b.send(b"to the session that ended")
    a.expect_silence()
    c.expect_silence()
    b.expect_silence()


def test_sessions_do_not_hear_each_other(relay_ipv4: Relay, rng: random.Random) -> None:
    pairs = [relay_ipv4.pair(HOST_A, HOST_B) for _ in range(8)]
    ways = [way for a, b in pairs for way in ((a, b), (b, a))]
    for _ in range(20):
        rng.shuffle(ways)
        sent = [rng.randbytes(100) for _ in ways]
        for (sender, _), payload in zip(ways, sent, strict=True):
            sender.send(payload)
        for (_, receiver), payload in zip(ways, sent, strict=True):
            receiver.expect(payload)


def test_one_sided_keep_alive_does_not_hold_a_session(start_relay: StartRelay) -> None:
    # The grace is longer than the test: only the end of the session can admit the third host.
    relay = start_relay("--session-timeout-secs", "2", "--peer-grace-secs", "60")
    session = relay.new_session()
    a, b = relay.pair(HOST_A, HOST_B, session=session)
    third = relay.peer(HOST_C)
    third.send(registration(session))
    third.expect_silence()
    deadline = time.monotonic() + 30
    while True:
        assert time.monotonic() < deadline, "the session outlived its silent peer by 28 s"
        a.register(session)
        third.send(registration(session))
        try:
            assert third.receive(0.2) == ACK
            break
        except TimeoutError:
            continue
    ping_pong(a, third)
    b.expect_silence()


def test_address_that_never_answers_gets_little(relay_ipv4: Relay, rng: random.Random) -> None:
    session = relay_ipv4.new_session()
    a, victim = relay_ipv4.peer(HOST_A), relay_ipv4.peer(HOST_B)
    a.register(session)
    start = time.monotonic()
    victim.register(session)
    for _ in range(128):
        a.send(rng.randbytes(1_000))
    received = victim.receive_all()
    elapsed = time.monotonic() - start
    # 16 KiB at once and 64 KiB/s after that; a first flight of QUIC (10 datagrams) must fit.
    assert sum(map(len, received)) <= 16_384 + 65_536 * elapsed
    assert len(received) >= 10
    # Whoever answers is not a victim, and then the limit is gone.
    victim.send(b"here I am")
    a.expect(b"here I am")
    _burst(a, victim, rng)
