"""What systemd sees of the relay, and what it hands to it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from peers import ACK, Address, Peer, exchange, free_ports, registration
from relay_process import REPOSITORY, RelayPeers, why_no_relay
from service_manager import Service, ServiceManager
from stopped_process import stop_process
from waiting import POLL_SECONDS, wait_until

HOST = "127.0.0.1"
HOST_A, HOST_B = "127.0.0.2", "127.0.0.3"
O_CLOEXEC = 0o2000000

StartService = Callable[..., ServiceManager]


@pytest.fixture
def start_service(tmp_path: Path) -> Iterator[StartService]:
    """Starts the relay as a service; all of a test's services end with it."""
    missing = why_no_relay()
    if missing:
        pytest.fail(missing, pytrace=False)
    with ExitStack() as started:

        def start(*arguments: str, **options: object) -> ServiceManager:
            directory = tmp_path / f"service-{len(list(tmp_path.iterdir()))}"
            directory.mkdir()
            service = Service(list(arguments), **options)  # type: ignore[arg-type]
            return started.enter_context(ServiceManager(directory, service))

        yield start


@pytest.fixture
def peers(rng: random.Random) -> Iterator[RelayPeers]:
    """A free port for the relay and the peers that a test opens on it."""
    opened = RelayPeers(HOST, rng)
    yield opened
    opened.close_peers()


def place(peers: RelayPeers) -> tuple[str, ...]:
    """The options that say where the relay is."""
    return "--bind", HOST, "--port", str(peers.address.port)


def bound_socket(address: Address) -> socket.socket:
    """A socket as a socket unit opens it."""
    opened = socket.socket(address.family, socket.SOCK_DGRAM)
    opened.bind((address.host, address.port))
    return opened


def stop_thread(process: int, name: str) -> subprocess.Popen[str]:
    """Stops one thread of a process until the returned helper ends."""
    program = REPOSITORY / "Tests/EndToEnd/stopped_thread.py"
    helper = subprocess.Popen(
        [sys.executable, str(program), str(process), name], stdout=subprocess.PIPE, text=True
    )
    assert helper.stdout is not None
    assert helper.stdout.readline() == "stopped\n"
    return helper


# Telling


@pytest.mark.parametrize("is_abstract", [False, True], ids=["path", "abstract"])
def test_ready_when_it_forwards_and_not_before(
    start_service: StartService, peers: RelayPeers, is_abstract: bool
) -> None:
    manager = start_service(*place(peers), is_abstract=is_abstract)
    manager.wait_for("READY")
    # Once, without another try: whoever is ordered after the relay may rely on it.
    session = peers.new_session()
    a, b = peers.peer(HOST_A), peers.peer(HOST_B)
    a.register(session)
    b.register(session)
    exchange(a, b, "ready")
    assert manager.noticed("READY") == ["1"]
    assert {notice.process for notice in manager.notices} == {manager.process.pid}
    assert manager.end() == 0


def test_not_ready_if_it_cannot_start(start_service: StartService, peers: RelayPeers) -> None:
    with bound_socket(peers.address):
        manager = start_service(*place(peers))
        assert manager.process.wait(60) == 69
        assert manager.noticed("READY") == []


def test_status_counts_sessions_and_trouble(
    start_service: StartService, peers: RelayPeers
) -> None:
    manager = start_service(*place(peers))
    manager.wait_for("STATUS")
    assert manager.noticed("STATUS") == ["0 sessions, 0 bit/s"]
    session = peers.new_session()
    for host in (HOST_A, HOST_B):
        peers.peer(host).register(session)
    # Both have registered and neither sends QUIC: after some seconds that is a diagnosis.
    wait_until(
        lambda: any("1 session, 1 in trouble" in line for line in manager.noticed("STATUS")),
        "a status line that counts the session and its trouble",
    )


def test_stopping_is_told_once(start_service: StartService, peers: RelayPeers) -> None:
    manager = start_service(*place(peers))
    manager.wait_for("READY")
    assert manager.end() == 0
    assert manager.noticed("STOPPING") == ["1"]
    assert manager.noticed("EXTEND_TIMEOUT_USEC") == []


def test_drain_asks_for_time(start_service: StartService, peers: RelayPeers) -> None:
    manager = start_service(*place(peers), "--drain-secs", "3600")
    manager.wait_for("READY")
    a, b = peers.pair(HOST_A, HOST_B)
    manager.process.send_signal(signal.SIGTERM)
    manager.wait_for("EXTEND_TIMEOUT_USEC")
    assert manager.noticed("STOPPING") == ["1"]
    # The first extension does not last: it is asked for again while the peers talk.
    while len(manager.noticed("EXTEND_TIMEOUT_USEC")) < 2:
        exchange(a, b, "draining")
        time.sleep(POLL_SECONDS)
    assert manager.noticed("STATUS")[-1].startswith("draining: 1 session")
    assert manager.end() == 0
    assert manager.noticed("STOPPING") == ["1"]


def test_reload_is_told_from_its_beginning_to_its_end(
    start_service: StartService, peers: RelayPeers
) -> None:
    manager = start_service(*place(peers))
    manager.wait_for("READY")
    for count in range(1, 4):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
        manager.process.send_signal(signal.SIGHUP)
        manager.wait_for("READY", count=1 + count)
        told = [set(notice.fields) for notice in manager.notices]
        assert told.index({"RELOADING", "MONOTONIC_USEC"}) < len(told) - told[::-1].index({"READY"})
        times = [int(value) for value in manager.noticed("MONOTONIC_USEC")]
        assert len(times) == count
        assert before <= times[-1] <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
    assert manager.end() == 0


def test_runs_on_when_nobody_listens(
    start_service: StartService, peers: RelayPeers, tmp_path: Path
) -> None:
    for path in (str(tmp_path / "nobody"), "relative", "/" + "long" * 40, "@"):
        manager = start_service(*place(peers), variables={"NOTIFY_SOCKET": path})
        peer = peers.peer(HOST_A)
        peer.try_to_register(peers.new_session(), wall_seconds=60)
        wait_until(
            lambda manager=manager: manager.events("systemd_unreachable"), f"a warning about {path}"
        )
        assert manager.end() == 0
        assert len(manager.events("systemd_unreachable")) == 1
        assert manager.notices == []


def test_hand_over_names_the_new_process(
    start_service: StartService, peers: RelayPeers
) -> None:
    manager = start_service(*place(peers), watchdog_seconds=2.0)
    manager.wait_for("WATCHDOG")
    first = manager.process.pid
    a, b = peers.pair(HOST_A, HOST_B)
    manager.process.send_signal(signal.SIGUSR2)
    manager.wait_for("MAINPID")
    assert manager.process.wait(60) == 0
    (second,) = (int(number) for number in manager.noticed("MAINPID"))
    assert second != first
    try:
        exchange(a, b, "handed over")
        wait_until(lambda: manager.noticed("READY", second), "the new process to be ready")
        wait_until(
            lambda: len(manager.noticed("WATCHDOG", second)) >= 2, "the new process's signs of life"
        )
        # The socket has been stored by the first, and is the same.
        assert manager.noticed("FDSTORE") == ["1"]
        # The service goes on: nothing says that it stops.
        assert manager.noticed("STOPPING") == []
    finally:
        os.kill(second, signal.SIGTERM)
    wait_until(lambda: manager.noticed("STOPPING", second), "the new process's end")


# Signs of life


def test_watchdog_is_fed_while_the_worker_works(
    start_service: StartService, peers: RelayPeers
) -> None:
    manager = start_service(*place(peers), watchdog_seconds=2.0)
    manager.wait_for("WATCHDOG", count=5)
    assert manager.watchdog_kills == 0
    assert manager.end() == 0


def test_worker_that_hangs_is_replaced(
    start_service: StartService, peers: RelayPeers, rng: random.Random
) -> None:
    manager = start_service(*place(peers), watchdog_seconds=2.0, restarts=True)
    manager.wait_for("WATCHDOG")
    first = manager.process.pid
    with stop_thread(first, "relay-worker"):
        # Nobody reads it now: it has to wait for the next process.
        peer = peers.peer(HOST_A)
        peer.send(registration(peers.new_session()))
        wait_until(lambda: manager.restarts == 1, "the hanging relay to be replaced")
    assert manager.watchdog_kills == 1
    assert manager.events("worker_stalled")
    assert any(line.startswith("stalled: ") for line in manager.noticed("STATUS", first))
    second = manager.process.pid
    manager.wait_for("READY", process=second)
    peer.expect(ACK)
    manager.wait_for("WATCHDOG", count=2, process=second)


# Sockets


def test_passed_socket_is_served_and_survives_a_crash(
    start_service: StartService, peers: RelayPeers
) -> None:
    with bound_socket(peers.address) as passed:
        # Sent before anybody serves: socket activation.
        early = peers.peer(HOST_A)
        early.send(registration(peers.new_session()))
        other = free_ports(HOST, 1)[0]
        manager = start_service(
            "--bind", HOST, "--port", str(other), sockets=[("udp", passed)], restarts=True
        )
        early.expect(ACK)
        manager.wait_for("READY")
        (adopted,) = manager.events("socket_adopted")
        assert adopted.fields["from"] == "passed"
        assert adopted.fields["address"] == f"{HOST}:{peers.address.port}"
        (elsewhere,) = manager.events("socket_elsewhere")
        assert elsewhere.level == "warning"
        # Nothing is stored: the unit has the socket.
        assert manager.store == []
        crash_and_queue(manager, peers)


def test_own_socket_survives_a_crash(start_service: StartService, peers: RelayPeers) -> None:
    manager = start_service(*place(peers), restarts=True)
    manager.wait_for("READY")
    (stored,) = [notice.fields for notice in manager.notices if "FDSTORE" in notice.fields]
    assert stored == {"FDSTORE": "1", "FDNAME": "udp-stored", "FDPOLL": "0"}
    assert [name for name, _ in manager.store] == ["udp-stored"]
    for _ in range(3):
        crash_and_queue(manager, peers)
    assert [event.fields["from"] for event in manager.events("socket_adopted")] == ["stored"] * 3
    assert manager.events("socket_elsewhere") == []
    # It is one socket all the time, and stored once.
    assert len(manager.store) == 1


def crash_and_queue(manager: ServiceManager, peers: RelayPeers) -> None:
    """Kills the relay, and expects what was sent meanwhile to be answered by the next one."""
    first, before = manager.process.pid, manager.restarts
    # Stopped first, so that it is certain who reads what is sent now.
    stop_process(first)
    waiting = [peers.peer(HOST_A) for _ in range(20)]
    for peer in waiting:
        peer.send(registration(peers.new_session()))
    manager.process.send_signal(signal.SIGKILL)
    wait_until(lambda: manager.restarts == before + 1, "the relay to be started again")
    for peer in waiting:
        peer.expect(ACK)
    manager.wait_for("READY", process=manager.process.pid)


def test_stored_socket_gives_way_to_another_port(
    start_service: StartService, peers: RelayPeers
) -> None:
    with bound_socket(Address(HOST, 0)) as outdated:
        manager = start_service(*place(peers), sockets=[("udp-stored", outdated)])
        manager.wait_for("READY")
        assert manager.noticed("FDSTOREREMOVE") == ["1"]
        assert [name for name, _ in manager.store] == ["udp-stored"]
        assert manager.events("socket_adopted") == []
        peers.peer(HOST_A).register(peers.new_session())


@pytest.mark.parametrize("name", ["quic-relay.socket", ""])
def test_only_socket_needs_no_name(
    start_service: StartService, peers: RelayPeers, name: str
) -> None:
    with bound_socket(peers.address) as passed:
        manager = start_service(sockets=[(name, passed)])
        manager.wait_for("READY")
        peers.peer(HOST_A).register(peers.new_session())


def test_nothing_that_was_passed_is_left_to_children(
    start_service: StartService, peers: RelayPeers, tmp_path: Path
) -> None:
    with (
        bound_socket(peers.address) as passed,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control,
    ):
        control.bind(str(tmp_path / "control"))
        control.listen()
        manager = start_service(sockets=[("udp", passed), ("control", control)])
        manager.wait_for("READY")
        files = Path(f"/proc/{manager.process.pid}/fd")
        names = {f"socket:[{os.fstat(s.fileno()).st_ino}]" for s in (passed, control)}
        descriptors = [file.name for file in files.iterdir() if str(file.readlink()) in names]
        assert sorted(descriptors) == ["3", "4"]
        for descriptor in descriptors:
            lines = (files.parent / "fdinfo" / descriptor).read_text().splitlines()
            (flags,) = [int(line.split()[1], 8) for line in lines if line.startswith("flags:")]
            assert flags & O_CLOEXEC, f"descriptor {descriptor} is inherited"


def test_variables_are_not_left_to_children(
    start_service: StartService, peers: RelayPeers
) -> None:
    if shutil.which("gdb") is None:
        pytest.skip("gdb is not installed, and nothing else looks into a process's environment")
    manager = start_service(*place(peers), watchdog_seconds=60.0, variables={"LISTEN_FDS": "0"})
    manager.wait_for("WATCHDOG")
    names = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_FDNAMES"]
    questions = [f"--eval-command=print ((char *(*)(char *))getenv)(\"{n}\")" for n in names]
    control = '--eval-command=print ((char *(*)(char *))getenv)("PATH")'
    output = subprocess.run(
        ["gdb", "--batch", "-p", str(manager.process.pid), *questions, control],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    ).stdout
    answers = [line.split(" = ", 1)[1] for line in output.splitlines() if line.startswith("$")]
    assert answers[:-1] == ["0x0"] * len(names), output
    assert answers[-1] != "0x0"


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (socket.SOCK_STREAM, "adopt descriptor 3: Protocol wrong type for socket"),
        (socket.SOCK_DGRAM, "descriptor 3 'udp' was passed, but is bound to no port"),
    ],
)
def test_socket_of_no_use_is_refused(
    start_service: StartService, kind: socket.SocketKind, message: str
) -> None:
    with socket.socket(socket.AF_INET, kind) as passed:
        if kind == socket.SOCK_STREAM:
            passed.bind((HOST, 0))
        manager = start_service(sockets=[("udp", passed)])
        assert manager.process.wait(60) == 78
        assert message in manager.output()
        assert len(manager.output().splitlines()) == 1


@pytest.mark.parametrize(
    ("count", "message"),
    [
        ("-1", "LISTEN_FDS='-1' must be a number from 0 to 64"),
        ("65", "from 0 to 64"),
        ("99999999999999999999", "from 0 to 64"),
        ("one", "LISTEN_FDS='one'"),
        ("5", "descriptor 4 was passed, but is not open"),
    ],
)
def test_announcement_that_is_wrong_is_refused(
    start_service: StartService, peers: RelayPeers, count: str, message: str
) -> None:
    with bound_socket(peers.address) as passed:
        manager = start_service(sockets=[("udp", passed)], variables={"LISTEN_FDS": count})
        assert manager.process.wait(60) == 78
        assert message in manager.output()
        assert len(manager.output().splitlines()) == 1


def test_two_sockets_are_refused(start_service: StartService) -> None:
    with bound_socket(Address(HOST, 0)) as one, bound_socket(Address("::1", 0)) as other:
        manager = start_service(sockets=[("udp", one), ("udp", other)])
        assert manager.process.wait(60) == 78
        assert "a relay has one UDP socket, and 2 were passed" in manager.output()


def test_sockets_of_another_process_are_left_alone(
    start_service: StartService, peers: RelayPeers
) -> None:
    with bound_socket(Address(HOST, 0)):
        manager = start_service(
            *place(peers), variables={"LISTEN_FDS": "1", "LISTEN_PID": "1"}
        )
        manager.wait_for("READY")
        assert manager.events("socket_adopted") == []
        peers.peer(HOST_A).register(peers.new_session())
