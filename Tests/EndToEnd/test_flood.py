"""A flood costs no session: what comes from outside, or from one peer, is limited before the others are.

What a machine can read differs, so the relay is held up here: stopped most of the time, it can read only a
fraction of what comes, whatever the machine.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults import Faults
from peers import Peer, ping_pong
from relay_process import Relay, StartRelay
from waiting import wait_until

# The relay runs for the first part of each round and stands still for the rest.
_RUN_SECONDS = 0.02
_STAND_SECONDS = 0.03
_FLOOD_BYTES = 1_200
_SENDERS = 8
_PINGS = 200
_TRIAL = 40
_PING_SECONDS = 0.01
# Small, so that a few moments of the flood fill it.
_QUEUE_BYTES = 1 << 20


def _may_filter() -> bool:
    """Whether the relay, started by us, may load a program into the kernel (CAP_BPF, capability(7))."""
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff"))
    return bool(int(effective.split()[1], 16) & (1 << 39 | 1 << 21))


needs_filter = pytest.mark.skipif(not _may_filter(), reason="limits in the kernel need CAP_BPF: run as root")


@contextlib.contextmanager
def _in_background(work: threading.Thread, ends: threading.Event) -> Iterator[None]:
    work.start()
    try:
        yield
    finally:
        ends.set()
        work.join()


@contextlib.contextmanager
def _held_up(relay: Relay) -> Iterator[None]:
    """Lets the relay run for a part of the time only."""
    ends = threading.Event()
    process = relay.process.pid

    def work() -> None:
        while not ends.wait(_RUN_SECONDS):
            os.kill(process, signal.SIGSTOP)
            time.sleep(_STAND_SECONDS)
            os.kill(process, signal.SIGCONT)

    with _in_background(threading.Thread(target=work), ends):
        yield


@contextlib.contextmanager
def _flooded(senders: list[Peer]) -> Iterator[None]:
    """Sends as fast as one thread can."""
    ends = threading.Event()
    payload = b"\x41" * _FLOOD_BYTES

    def work() -> None:
        while not ends.is_set():
            for sender in senders:
                sender.send(payload)

    with _in_background(threading.Thread(target=work), ends):
        yield


def _passed(a: Peer, b: Peer, count: int = _PINGS) -> int:
    """How many of a number of datagrams get through, sent at leisure."""
    received: set[bytes] = set()
    for number in range(count):
        a.send(b"ping %d" % number)
        time.sleep(_PING_SECONDS)
        received |= set(b.receive_all(quiet_seconds=0.001))
    received |= set(b.receive_all())
    return len({datagram for datagram in received if datagram.startswith(b"ping ")})


def _start(
    start_relay: StartRelay, *options: str, variables: dict[str, str] | None = None
) -> Relay:
    size = ("--receive-buffer-bytes", str(_QUEUE_BYTES))
    return start_relay(*size, *options, variables=variables)


@needs_filter
def test_flood_of_strangers_costs_no_session(start_relay: StartRelay) -> None:
    relay = _start(start_relay)
    a, b = relay.pair("127.0.0.2", "127.0.0.3")
    ping_pong(a, b)
    strangers = [relay.peer(f"127.9.{number}.1") for number in range(_SENDERS)]
    with _flooded(strangers):
        with _held_up(relay):
            wait_until(lambda: relay.events("overloaded"), "the relay to notice the flood")
            # It has to find the limit first, and tell the kernel its peers.
            wait_until(lambda: _passed(a, b, _TRIAL) == _TRIAL, "the limits to be found")
            passed = _passed(a, b)
        limits = relay.events("overloaded")[0].fields
        assert limits["strangers_per_sec"] != "unlimited"
        assert limits["peer_bytes_per_sec"] == "unlimited"
        assert passed >= 0.9 * _PINGS, f"{passed} of {_PINGS} datagrams got through"
    wait_until(lambda: relay.events("overload_ended"), "the limits to go with the flood", 60)
    ended = relay.events("overload_ended")[0].fields
    assert int(ended["refused_strangers"]) > 0 and int(ended["refused_peers"]) == 0
    # And there are none any more: a newcomer is as welcome as ever.
    ping_pong(*relay.pair("127.0.0.4", "127.0.0.5"))
    relay.stop()
    assert int(relay.summary()["dropped_stranger_limit"]) == int(ended["refused_strangers"])


@needs_filter
def test_a_filter_whose_check_was_interrupted_is_loaded_again(
    start_relay: StartRelay, faults: Faults
) -> None:
    """The kernel gives up checking a program when a signal waits, such as one that stops the relay."""
    relay = _start(start_relay, variables=faults.environment)
    faults.fail("load", errno.EAGAIN, times=3)
    strangers = [relay.peer(f"127.9.{number}.1") for number in range(_SENDERS)]
    with _flooded(strangers), _held_up(relay):
        wait_until(
            lambda: relay.events("overloaded") or relay.events("overload_filter_failed"),
            "the relay to notice the flood",
        )
    assert relay.events("overload_filter_failed") == []
    assert faults.faults("load") == 3


@needs_filter
def test_peer_that_sends_too_much_costs_no_other_session(start_relay: StartRelay) -> None:
    relay = _start(start_relay)
    a, b = relay.pair("127.0.0.2", "127.0.0.3")
    ping_pong(a, b)
    greedy, victim = relay.pair("127.0.0.4", "127.0.0.5")
    ping_pong(greedy, victim)
    with _flooded([greedy]), _held_up(relay):
        wait_until(lambda: relay.events("overloaded"), "the relay to notice the flood")
        wait_until(lambda: _passed(a, b, _TRIAL) == _TRIAL, "the limits to be found")
        passed = _passed(a, b)
    assert relay.events("overloaded")[0].fields["peer_bytes_per_sec"] != "unlimited"
    assert passed >= 0.9 * _PINGS, f"{passed} of {_PINGS} datagrams got through"
    ping_pong(a, b)
    relay.stop()
    assert int(relay.summary()["dropped_peer_limit"]) > 0


def test_filter_can_be_left_out(start_relay: StartRelay) -> None:
    relay = _start(start_relay, "--no-overload-filter")
    a, b = relay.pair("127.0.0.2", "127.0.0.3")
    ping_pong(a, b)
    strangers = [relay.peer(f"127.9.{number}.1") for number in range(_SENDERS)]
    with _flooded(strangers), _held_up(relay):
        time.sleep(1)
    relay.stop()
    assert not relay.events("overloaded")
    assert "dropped_stranger_limit" not in relay.summary()
    assert int(relay.summary()["dropped_receive_buffer_full"]) > 0
