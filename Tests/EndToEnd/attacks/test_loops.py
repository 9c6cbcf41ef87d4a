"""Nothing goes in a circle, and nothing goes where nobody or everybody is."""

from __future__ import annotations

import pytest

from attacks.hostile import RELAY, RELAY_SECOND, Hostile, StartLabRelay, site_address
from attacks.tap import Chosen, Seen
from lab.laboratory import RELAY_PORT, LabRelay
from peers import Address, exchange, ping_pong, registration
from test_version_two import keyed

WORKERS = pytest.mark.parametrize("workers", [1, 2], ids=["one worker", "two workers"])

# Each goes from one relay to the other once, as the other cannot know before that it is a relay's.
_DATAGRAMS = 100

# Which address that is only the system knows, and it refuses to send there (EACCES, ip(7)).
_LOCAL_BROADCAST = "all hosts of the relay's network"

# Where an answer would reach nobody, everybody or the relay itself; the port matters once.
UNANSWERABLE = {
    "port 0": Address("198.18.0.1", 0),
    "this network": Address("0.0.0.7", 5_556),
    "multicast": Address("224.0.0.1", 5_556),
    "all hosts": Address("255.255.255.255", 5_556),
    _LOCAL_BROADCAST: Address("203.0.113.255", 5_556),
    "loopback": Address("127.0.0.1", RELAY_PORT),
    "the relay": RELAY[4],
    "the relay's second address": RELAY_SECOND,
    "port 0, IPv6": Address("2001:db8:1::1", 0),
    "nobody, IPv6": Address("::", 5_556),
    "multicast, IPv6": Address("ff02::1", 5_556),
    "loopback, IPv6": Address("::1", RELAY_PORT),
    "the relay, IPv6": RELAY[6],
    "the relay, IPv4 in IPv6": Address("::ffff:203.0.113.1", RELAY_PORT),
    "multicast, IPv4 in IPv6": Address("::ffff:224.0.0.1", 5_556),
    "this network, IPv4 in IPv6": Address("::ffff:0.0.0.7", 5_556),
}


@pytest.mark.parametrize("name", UNANSWERABLE)
def test_no_answer_and_no_session_for(
    hostile: Hostile, start_lab_relay: StartLabRelay, name: str
) -> None:
    """Registrations of both versions, STUN and data, from an address that cannot be one."""
    relay = start_lab_relay("--stun")
    source = UNANSWERABLE[name]
    version = 6 if ":" in source.host else 4
    destinations = [RELAY[6]] if version == 6 else [RELAY[4], RELAY_SECOND]
    session = hostile.new_session()
    # Somebody waits in that session: what is sent there would go to the forged address.
    honest = hostile.peer(hostile.accomplice, version)
    honest.register(session)
    tap = hostile.tap(hostile.relay_host)
    spoofer = hostile.spoofer()
    for destination in destinations:
        spoofer.send(
            source,
            destination,
            registration(session),
            registration(hostile.new_session()),
            keyed("REG", session, "00000000000000aa"),
            b"data",
            bytes.fromhex("000100002112a442") + bytes(12),
        )
    for _ in range(10):
        honest.send(b"to whoever is there")
    honest.expect_silence()
    # What the honest one sent was taken, so what came before was, too.
    honest.register(session)
    tap.settle(_from_relay)
    answers = tap.seen(_from_relay)
    own = Address(site_address(hostile.accomplice, version), honest.port)
    assert [each.destination for each in answers] == [own], "one acknowledgement, and no more"
    if name != _LOCAL_BROADCAST:
        assert _count(relay, "session_opened") == 1 and not _count(relay, "session_paired")
    relay.stop()


def _from_relay(seen: Seen) -> bool:
    return seen.is_outgoing and seen.source.port == RELAY_PORT


def _count(relay: LabRelay, event: str) -> int:
    return len(relay.events(event))


@WORKERS
@pytest.mark.parametrize("mode", [(), ("--strict",)], ids=["default", "strict"])
def test_two_relays_that_are_each_others_peers(
    hostile: Hostile, start_lab_relay: StartLabRelay, mode: tuple[str, ...], workers: int
) -> None:
    """Each is both peers of the other's session, by its address of either version: a circle."""
    options = (*mode, "--workers", str(workers))
    first = start_lab_relay(*options)
    second = start_lab_relay(*options, host=hostile.other.host)
    others = {v: Address(site_address(hostile.other, v), RELAY_PORT) for v in (4, 6)}
    session = hostile.new_session()
    tap = hostile.tap(hostile.relay_host)
    to_first, to_second = hostile.spoofer(), hostile.spoofer(hostile.other.host)
    for version in (4, 6):
        to_first.send(others[version], RELAY[version], registration(session))
        to_second.send(RELAY[version], others[version], registration(session))
    for number in range(_DATAGRAMS):
        to_first.send(others[4], RELAY[4], b"round and round %d" % number)
        to_second.send(RELAY[6], others[6], b"the other way %d" % number)
    between = _between(*RELAY.values(), *others.values())
    tap.settle(between)
    # What was forged at the first relay's link, what each forwarded once, four acknowledgements.
    assert tap.count(between) <= 3 * _DATAGRAMS + 2 + 4
    # Neither is worse off for it.
    session = hostile.new_session()
    a, b = (hostile.peer(site) for site in (hostile.accomplice, hostile.attacker))
    a.register(session)
    b.register(session)
    ping_pong(a, b)
    exchange(a, b, "undisturbed")
    first.stop()
    second.stop()


@WORKERS
def test_a_relay_that_is_both_peers_of_its_own_session(
    hostile: Hostile, start_lab_relay: StartLabRelay, workers: int
) -> None:
    """By any two of its addresses, as a forger on its own link or host would have it."""
    relay = start_lab_relay("--workers", str(workers))
    session = hostile.new_session()
    tap, spoofer = hostile.tap(hostile.relay_host), hostile.spoofer()
    for source in (RELAY[4], RELAY_SECOND):
        for destination in (RELAY[4], RELAY_SECOND):
            spoofer.send(source, destination, registration(session), b"round and round")
    spoofer.send(RELAY[6], RELAY[6], registration(session), b"round and round")
    tap.settle()
    assert tap.count(_from_relay) == 0
    assert not _count(relay, "session_opened")
    relay.stop()


def _between(*relays: Address) -> Chosen:
    hosts = {relay.host for relay in relays}
    return lambda seen: seen.source.host in hosts and seen.destination.host in hosts
