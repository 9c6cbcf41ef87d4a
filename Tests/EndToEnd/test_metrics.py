"""Metrics and health by HTTP: right, checked by promtool, and no lever for hostile clients."""

from __future__ import annotations

import contextlib
import random
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from peers import exchange
from prometheus import ask, metrics_address, promtool, samples, scrape
from relay_process import Relay, StartRelay, neutral_environment, relay_binary
from sanitized import assert_memory_grew_less
from waiting import wait_until

# Far more than the relay serves at once, which is 64.
IDLE_CLIENTS = 200
CONNECTS = 1_000


@pytest.fixture
def relay(start_relay: StartRelay) -> Relay:
    """A relay that serves metrics, and has reported for the first time."""
    relay = start_relay("--metrics", "0")
    wait_until(lambda: ask(relay, "/readyz")[0] == 200, "the relay is ready")
    return relay


def test_promtool_has_nothing_to_complain_of(relay: Relay) -> None:
    relay.pair()
    status, content_type, body = ask(relay, "/metrics")
    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    checked = promtool("check", "metrics", stdin=body)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_metrics_tell_what_happened(relay: Relay) -> None:
    a, b = relay.pair()
    for number in range(20):
        exchange(a, b, f"exchange {number}")
    # Totals are up to a second old: what comes last tells that the rest is in them.
    relay.peer("127.0.0.9").send(b"from nowhere")
    wait_until(
        lambda: scrape(relay)['quic_relay_datagrams_dropped_total{reason="unknown_source"}'] == 1,
        "the stranger's datagram is counted",
    )
    now = scrape(relay)
    assert now['quic_relay_sessions{state="paired"}'] == 1
    assert now["quic_relay_datagrams_forwarded_total"] == 43
    # Both peers, and the one that found out whether the relay answers, perhaps more than once.
    replied = now["quic_relay_datagrams_replied_total"]
    assert replied >= 3
    dropped = sum(v for k, v in now.items() if k.startswith("quic_relay_datagrams_dropped_total"))
    assert now["quic_relay_datagrams_received_total"] == 43 + replied + dropped
    payload = now["quic_relay_forwarded_bytes_total"] + replied * len(b"ACK\n")
    assert now["quic_relay_egress_bytes_total"] == payload + 28 * (43 + replied)
    assert not re.search(r"127\.0\.0\.\d|[0-9a-f]{8}-", " ".join(now)), "an address or an id"


def test_paths_and_methods(relay: Relay) -> None:
    assert ask(relay, "/healthz") == (200, "text/plain; charset=utf-8", "ok\n")
    assert ask(relay, "/readyz")[0] == 200
    assert ask(relay, "/metrics", "HEAD")[2] == ""
    assert ask(relay, "/")[0] == 404
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert ask(relay, "/metrics", method)[0] == 405


def test_a_draining_relay_lives_and_is_not_ready(start_relay: StartRelay) -> None:
    relay = start_relay("--metrics", "0", "--drain-secs", "3600")
    a, b = relay.pair()
    relay.process.send_signal(signal.SIGTERM)
    wait_until(lambda: ask(relay, "/readyz")[0] == 503, "the relay is not ready any more")
    assert ask(relay, "/readyz")[2] == "the relay is draining\n"
    assert ask(relay, "/healthz")[0] == 200
    assert scrape(relay)['quic_relay_state{state="draining"}'] == 1
    exchange(a, b, "while it drains")


def test_no_client_keeps_others_out(relay: Relay) -> None:
    a, b = relay.pair()
    with contextlib.ExitStack() as clients:
        for number in range(IDLE_CLIENTS):
            client = clients.enter_context(_connection(relay))
            # Some say nothing at all, the others begin and never end.
            if number % 2:
                client.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
        now = scrape(relay)
        assert now["process_open_fds"] < 64 + 40
        exchange(a, b, "among slow clients")
        wait_until(
            lambda: scrape(relay)['quic_relay_sessions{state="paired"}'] == 1,
            "the totals of at most a second ago tell of the pair",
        )


def test_a_thousand_connections_leave_nothing_behind(relay: Relay) -> None:
    a, b = relay.pair()
    before = scrape(relay)
    for number in range(CONNECTS):
        with _connection(relay) as client:
            if number % 3 == 0:
                client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        if number % 100 == 0:
            exchange(a, b, f"after {number}")
    wait_until(
        lambda: scrape(relay)["process_open_fds"] <= before["process_open_fds"],
        "every connection is closed",
    )
    grown = scrape(relay)["process_resident_memory_bytes"] - before["process_resident_memory_bytes"]
    assert_memory_grew_less(grown, 32 << 20)


def test_garbage_is_refused(relay: Relay, rng: random.Random) -> None:
    a, b = relay.pair()
    requests = [
        b"\0" * 100,
        b"GET\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"X: y\r\n" * 10_000,
        b"GET /" + b"a" * 100_000,
        b"POST /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        *(rng.randbytes(rng.randint(1, 5_000)) for _ in range(50)),
    ]
    for request in requests:
        answer = _answer(relay, request)
        assert b" 200 " not in answer.split(b"\r\n", 1)[0], request[:60]
    exchange(a, b, "after garbage")
    assert ask(relay, "/healthz")[0] == 200


def test_a_connection_has_one_request(relay: Relay) -> None:
    answer = _answer(relay, b"GET /healthz HTTP/1.1\r\n\r\n" * 50)
    assert answer.count(b"HTTP/1.1 200") == 1


def test_a_connection_ends_in_time(relay: Relay) -> None:
    with _connection(relay) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert client.recv(1) == b""


def test_loopback_is_the_default_and_other_addresses_are_named(start_relay: StartRelay) -> None:
    local = start_relay("--metrics", "0")
    assert metrics_address(local)[0] == "127.0.0.1"
    (event,) = local.events("metrics_served")
    assert event.fields.keys() == {"address"}
    everywhere = start_relay("--metrics", "0.0.0.0:0")
    assert metrics_address(everywhere)[0] == "0.0.0.0"
    (event,) = everywhere.events("metrics_served")
    assert event.fields["readers"] == "whoever reaches this address"


def test_ipv6(start_relay: StartRelay) -> None:
    relay = start_relay("--metrics", "[::1]:0")
    assert metrics_address(relay)[0] == "::1"
    assert "quic_relay_session_limit" in scrape(relay)


def test_an_address_in_use_is_named(relay: Relay) -> None:
    port = metrics_address(relay)[1]
    second = subprocess.run(
        [str(relay_binary()), "--no-tui", "--port", "0", "--metrics", str(port)],
        capture_output=True,
        text=True,
        env=neutral_environment(),
        timeout=30,
        check=False,
    )
    assert second.returncode == 69
    expected = f"quic-relay: --metrics 127.0.0.1:{port}: Address already in use\n"
    assert second.stderr == expected


def test_samples_are_numbers_that_only_grow(relay: Relay) -> None:
    a, b = relay.pair()
    bodies = []
    for number in range(3):
        exchange(a, b, f"round {number}")
        bodies.append(ask(relay, "/metrics")[2])
    counters = re.findall(r"# TYPE (\S+) counter", bodies[0])
    assert len(counters) > 10
    readings = [samples(body) for body in bodies]
    for sample in readings[0]:
        if sample.split("{")[0] in counters:
            values = [reading[sample] for reading in readings]
            assert values == sorted(values), sample


@contextlib.contextmanager
def _connection(relay: Relay) -> Iterator[socket.socket]:
    """A client that may be hung up on at any time."""
    with socket.create_connection(metrics_address(relay), timeout=30) as client:
        yield client


def _answer(relay: Relay, request: bytes) -> bytes:
    """All that is answered until the relay hangs up."""
    answer = b""
    deadline = time.monotonic() + 60
    with _connection(relay) as client:
        with contextlib.suppress(OSError):
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while part := client.recv(65_536):
                answer += part
                assert time.monotonic() < deadline
    return answer
