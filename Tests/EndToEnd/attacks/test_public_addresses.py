"""--deny-special-sources, where addresses look as they do on the public internet."""

from __future__ import annotations

import pytest

from attacks.hostile import RELAY, Hostile, StartLabRelay
from deployed_client import CLIENT_PORT, SERVER_PORT, DeployedClient
from peers import Address, exchange, ping_pong, registration
from test_deployed_client import expect_nothing_but, meet, talk
from test_version_two import keyed

ANY = "0.0.0.0"

SPECIAL = {
    "10/8": "10.1.2.3",
    "172.16/12": "172.31.255.254",
    "192.168/16": "192.168.1.1",
    "link-local": "169.254.10.10",
    "unique local": "fd12:3456:789a::1",
    "link-local, IPv6": "fe80::1234",
}


@pytest.mark.parametrize("is_mapped_anew", [False, True], ids=["same mapping", "new mapping"])
def test_the_deployed_client_on_its_own_ports(
    hostile: Hostile, start_lab_relay: StartLabRelay, is_mapped_anew: bool
) -> None:
    """Bound to 0.0.0.0:5555 and :5556, as it is."""
    start_lab_relay("--deny-special-sources")
    here, there = hostile.accomplice.host, hostile.other.host
    with here.inside():
        server = DeployedClient(RELAY[4], ANY, SERVER_PORT)
    with there.inside():
        client = DeployedClient(RELAY[4], ANY, CLIENT_PORT)
    with server, client:
        meet(server, client, hostile.new_session())
        with here.inside():
            server.hand_over()
        with there.inside():
            client.hand_over(40_042 if is_mapped_anew else None)
        initial, answer = talk(server, client)
        expect_nothing_but(server, b"punch", initial)
        expect_nothing_but(client, b"punch-ack", answer)


@pytest.mark.parametrize("host", SPECIAL.values(), ids=SPECIAL.keys())
def test_nobody_else_is_heard(hostile: Hostile, start_lab_relay: StartLabRelay, host: str) -> None:
    relay = start_lab_relay("--deny-special-sources")
    version = 6 if ":" in host else 4
    tap, session = hostile.tap(hostile.relay_host), hostile.new_session()
    hostile.spoofer().send(
        Address(host, SERVER_PORT),
        RELAY[version],
        registration(session),
        keyed("REG", session, "00000000000000aa"),
        b"data",
    )
    a, b = (hostile.peer(site, version) for site in (hostile.accomplice, hostile.other))
    for peer in (a, b):
        peer.register(session)
    ping_pong(a, b)
    exchange(a, b, "public addresses")
    tap.settle()
    assert tap.count(lambda seen: seen.destination.host == host) == 0
    relay.stop()
    assert len(relay.events("session_opened")) == 1
    (stopped,) = relay.events("stopped")
    assert int(stopped.fields["dropped_refused_source"]) == 3
