"""The Debian package in a machine of its own, under the systemd that Debian has."""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from machine import REPOSITORY, Machine, make_pristine, why_no_machine
from peers import Address, Peer, exchange
from stopped_process import stop_process
from waiting import wait_until

UNIT = "quic-relay.service"
SOCKET = "quic-relay.socket"
RELAY = Address("127.0.0.1", 4433)
HOST_A, HOST_B = "127.0.0.2", "127.0.0.3"


@pytest.fixture(scope="module")
def package() -> Path:
    """The package that `make deb` made."""
    packages = sorted((REPOSITORY / ".build/packages").glob("quic-relay_*.deb"))
    assert len(packages) == 1, f"make deb has to make one package: {packages}"
    return packages[0]


@pytest.fixture(scope="module")
def machine(package: Path) -> Iterator[Machine]:
    """A machine with the package installed, and nothing started yet."""
    missing = why_no_machine() or make_pristine()
    if missing:
        pytest.skip(missing)
    with tempfile.TemporaryDirectory() as directory:
        machine = Machine(Path(directory) / "root")
        try:
            shutil.copy(package, machine.root / "srv/quic-relay.deb")
            machine.run("dpkg", "--install", "/srv/quic-relay.deb")
            yield machine
        finally:
            machine.stop()


@pytest.fixture
def relay(machine: Machine, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """The machine with the relay started anew, with the filter of system calls made deadly."""
    # As it is installed, a call that is not allowed fails; here nobody can overlook one.
    extra = "SystemCallErrorNumber=kill\n" + getattr(request, "param", "")
    machine.write(f"/etc/systemd/system/{UNIT}.d/test.conf", f"[Service]\n{extra}")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "reset-failed")
    machine.run("systemctl", "start", UNIT)
    yield machine
    machine.run("systemctl", "stop", UNIT)
    print(machine.log(UNIT)[-4_000:])


@pytest.fixture
def session() -> uuid.UUID:
    """A session id."""
    return uuid.UUID(int=random.SystemRandom().getrandbits(128), version=4)


def peer(machine: Machine, host: str) -> Peer:
    """A peer in the machine."""
    with machine.network():
        return Peer(RELAY, host)


def main_process(machine: Machine) -> int:
    """The relay's number in the machine; 0 while it does not run."""
    return int(machine.properties(UNIT, "MainPID")[0])


def expect_new_process(machine: Machine, former: int) -> None:
    """Waits until systemd has started the relay again, and it is ready."""
    wait_until(
        lambda: main_process(machine) not in (0, former) and machine.is_(UNIT, "active"),
        "the relay to be started again",
    )


def test_lintian_finds_nothing_wrong(package: Path) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("lintian is not installed")
    result = subprocess.run(
        ["lintian", "--allow-root", "--fail-on=error,warning", str(package)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_nothing_is_started_by_an_installation(machine: Machine) -> None:
    assert machine.is_(UNIT, "inactive")
    assert machine.is_(SOCKET, "inactive")
    assert machine.run("systemctl", "is-enabled", UNIT, checks=False).strip() == "disabled"
    assert machine.run("quic-relay", "--version").strip()


def test_it_runs_and_says_how_it_is(relay: Machine, session: uuid.UUID) -> None:
    assert relay.properties(UNIT, "ActiveState", "SubState") == ["active", "running"]
    status, stored = relay.properties(UNIT, "StatusText", "NFileDescriptorStore")
    assert status == "0 sessions, 0 bit/s"
    assert stored == "1"
    with peer(relay, HOST_A) as a, peer(relay, HOST_B) as b:
        a.register(session)
        b.register(session)
        exchange(a, b, "under systemd")
        wait_until(
            lambda: relay.properties(UNIT, "StatusText")[0].startswith("1 session"),
            "the session in the status line",
        )


@pytest.mark.parametrize(
    "relay", ["Environment=QUIC_RELAY_METRICS=127.0.0.1:9433\n"], indirect=True
)
def test_everything_works_in_the_sandbox(relay: Machine, session: uuid.UUID) -> None:
    with peer(relay, HOST_A) as a, peer(relay, HOST_B) as b:
        a.register(session)
        b.register(session)
        exchange(a, b, "control")
        # root of the machine may, though the relay is somebody else.
        assert json.loads(relay.run("quic-relay", "status", "--json"))
        assert str(session)[:8] in relay.run("quic-relay", "sessions")
        relay.run("quic-relay", "log-level", "debug")
        settings = relay.root / "etc/quic-relay/quic-relay.toml"
        good = settings.read_text()
        settings.write_text("peer-grace-sec = 20\n")
        assert "failed" in relay.run("systemctl", "reload", UNIT, checks=False)
        settings.write_text("peer-grace-secs = 20\n")
        relay.run("systemctl", "reload", UNIT)
        settings.write_text(good)
        assert "configuration_reloaded changed=1" in relay.log(UNIT)
        assert relay.is_(UNIT, "active")
        exchange(a, b, "reloaded")
        relay.run("quic-relay", "evict", str(session)[:8], "--yes")
    process = relay.process(main_process(relay))
    status = Path(f"/proc/{process}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(fields["CapBnd"], 16) == 0 and int(fields["CapEff"], 16) == 0
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    assert fields["Uid"].split()[0] != "0"
    metrics = metrics_text(relay)
    assert "quic_relay_datagrams_forwarded_total" in metrics


def metrics_text(machine: Machine) -> str:
    """What the machine's relay tells Prometheus."""
    with machine.network():
        connection = http.client.HTTPConnection("127.0.0.1", 9433, timeout=60)
        connection.connect()
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def test_what_comes_while_it_is_dead_is_answered(relay: Machine) -> None:
    for _ in range(3):
        former = main_process(relay)
        stop_process(relay.process(former))
        with peer(relay, HOST_A) as a:
            a.send(f"REG:{uuid.uuid4()}\n".encode())
            os.kill(relay.process(former), signal.SIGKILL)
            expect_new_process(relay, former)
            a.expect(b"ACK\n")
    assert relay.properties(UNIT, "NFileDescriptorStore") == ["1"]
    # A restart on purpose is not a crash, and keeps it, too.
    former = main_process(relay)
    relay.run("systemctl", "restart", UNIT)
    assert main_process(relay) != former
    adopted = [line for line in relay.log(UNIT).splitlines() if "socket_adopted" in line]
    assert len(adopted) == 4
    assert all("from=stored" in line for line in adopted)
    # Nothing of what systemd was told did it take amiss.
    assert "FDSTORE" not in relay.log(UNIT)


def test_it_hands_over_to_a_new_binary(relay: Machine, session: uuid.UUID) -> None:
    former = main_process(relay)
    with peer(relay, HOST_A) as a, peer(relay, HOST_B) as b:
        a.register(session)
        b.register(session)
        exchange(a, b, "before")
        os.kill(relay.process(former), signal.SIGUSR2)
        expect_new_process(relay, former)
        exchange(a, b, "after")
    assert relay.properties(UNIT, "NRestarts", "NFileDescriptorStore") == ["0", "1"]
    # It is asked to end as any other, though systemd did not start it.
    relay.run("systemctl", "stop", UNIT)
    log = relay.log(UNIT).split("handover_done")[1]
    assert " stopped " in log
    assert "SIGKILL" not in log


def test_sessions_outlive_a_restart(relay: Machine, session: uuid.UUID) -> None:
    with peer(relay, HOST_A) as a, peer(relay, HOST_B) as b:
        a.register(session)
        b.register(session)
        exchange(a, b, "before")
        relay.run("systemctl", "restart", UNIT)
        exchange(a, b, "after")


@pytest.mark.parametrize("relay", ["WatchdogSec=2s\n"], indirect=True)
def test_a_worker_that_hangs_is_replaced(relay: Machine) -> None:
    former = main_process(relay)
    program = REPOSITORY / "Tests/EndToEnd/stopped_thread.py"
    with subprocess.Popen(
        [sys.executable, str(program), str(relay.process(former)), "relay-worker"],
        stdout=subprocess.PIPE,
        text=True,
    ) as helper:
        assert helper.stdout is not None
        assert helper.stdout.readline() == "stopped\n"
        expect_new_process(relay, former)
    assert "worker_stalled" in relay.log(UNIT)
    assert int(relay.properties(UNIT, "NRestarts")[0]) >= 1


def test_a_bad_option_is_not_tried_again(machine: Machine) -> None:
    machine.write(
        f"/etc/systemd/system/{UNIT}.d/test.conf", "[Service]\nEnvironment=QUIC_RELAY_PORT=none\n"
    )
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", UNIT, checks=False)
    assert machine.properties(UNIT, "ActiveState", "ExecMainStatus", "NRestarts") == [
        "failed",
        "64",
        "0",
    ]


def test_a_datagram_starts_it(machine: Machine, session: uuid.UUID) -> None:
    machine.write(f"/etc/systemd/system/{UNIT}.d/test.conf", "")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "reset-failed")
    machine.run("systemctl", "start", SOCKET)
    assert machine.is_(UNIT, "inactive")
    with peer(machine, HOST_A) as a, peer(machine, HOST_B) as b:
        a.register(session)
        # It forwards a moment before it says that it is ready.
        wait_until(lambda: machine.is_(UNIT, "active"), "the relay is ready")
        b.register(session)
        exchange(a, b, "activated")
    assert machine.properties(UNIT, "NFileDescriptorStore") == ["0"]
    log = machine.log(UNIT)
    assert "from=passed" in log
    # systemd may ask for more than the relay may, and the relay leaves it at that.
    (listening,) = [line for line in log.splitlines() if " listening " in line][-1:]
    assert "receive_buffer=8388608" in listening
    machine.run("systemctl", "stop", SOCKET, UNIT)


def test_an_upgrade_restarts_it(machine: Machine) -> None:
    machine.run("systemctl", "enable", "--now", UNIT)
    former = main_process(machine)
    machine.run("dpkg", "--install", "/srv/quic-relay.deb")
    assert machine.is_(UNIT, "active")
    assert main_process(machine) not in (0, former)


def test_it_is_removed_without_a_trace(machine: Machine) -> None:
    machine.run("dpkg", "--remove", "quic-relay")
    assert main_process(machine) == 0
    assert not (machine.root / "usr/bin/quic-relay").exists()
    assert (machine.root / "etc/quic-relay/quic-relay.toml").exists()
    machine.write(f"/etc/systemd/system/{UNIT}.d/test.conf", "")
    shutil.rmtree(machine.root / f"etc/systemd/system/{UNIT}.d")
    machine.run("dpkg", "--purge", "quic-relay")
    left = [
        path.relative_to(machine.root)
        for folder in ("etc", "usr", "lib", "var/lib")
        for path in (machine.root / folder).rglob("*quic-relay*")
        if "dpkg" not in path.parts
    ]
    assert left == []
