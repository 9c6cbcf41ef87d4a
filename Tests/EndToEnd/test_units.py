"""The units and what else deploys the relay, as far as that can be seen without systemd running."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
import yaml

from peers import exchange, free_ports
from relay_process import REPOSITORY, RelayPeers, relay_binary
from waiting import wait_until

DEPLOY = REPOSITORY / "deploy"
# What systemd-analyze calls the exposure, from 0 to 10.
EXPOSURE_LIMIT = 2.0


def needs(program: str) -> None:
    """Skips the test where a program is missing."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with a program that is there."""
    for name in ("quic-relay.service", "quic-relay.socket"):
        text = (DEPLOY / name).read_text().replace("@BINDIR@/quic-relay", str(relay_binary()))
        (tmp_path / name).write_text(text)
    return tmp_path


def test_service_is_not_exposed(units: Path) -> None:
    needs("systemd-analyze")
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", str(units / "quic-relay.service")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    level = re.search(r"Overall exposure level for quic-relay\.service: ([0-9.]+)", said)
    assert level is not None, said
    assert float(level[1]) <= EXPOSURE_LIMIT, said


def test_units_are_understood(units: Path) -> None:
    needs("systemd-analyze")
    result = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, sorted(units.glob("quic-relay.*")))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")


def allowed_calls() -> set[str]:
    """The system calls that the service's filter lets pass."""
    lines = (DEPLOY / "quic-relay.service").read_text().splitlines()
    filters = [line.split("=", 1)[1] for line in lines if line.startswith("SystemCallFilter=")]
    assert filters, "the service has no filter of system calls"
    allowed: set[str] = set()
    for words in filters:
        names = {name for word in words.removeprefix("~").split() for name in expanded(word)}
        allowed = allowed - names if words.startswith("~") else allowed | names
    return allowed


def expanded(word: str) -> set[str]:
    """A system call, or the calls of a set and of the sets in it."""
    if not word.startswith("@"):
        return {word}
    said = subprocess.run(
        ["systemd-analyze", "syscall-filter", word], capture_output=True, text=True, check=True
    ).stdout
    members = [line.strip() for line in said.splitlines()[1:]]
    return {n for m in members if m and not m.startswith("#") for n in expanded(m)}


def test_filter_lets_pass_what_the_relay_calls(rng: random.Random, tmp_path: Path) -> None:
    needs("systemd-analyze")
    needs("strace")
    peers = RelayPeers("127.0.0.1", rng)
    trace = tmp_path / "trace"
    metrics = free_ports("127.0.0.1", 1)[0]
    command = ["strace", "--follow-forks", "--output", str(trace), str(relay_binary())]
    command += ["serve", "--no-tui", "--bind", "127.0.0.1", "--port", str(peers.address.port)]
    command += ["--control", str(tmp_path / "control.sock"), "--metrics", f"127.0.0.1:{metrics}"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        first = peers.peer("127.0.0.254")
        first.try_to_register(peers.new_session(), wall_seconds=60)
        a, b = peers.pair()
        exchange(a, b, "traced")
        control = socket.socket(socket.AF_UNIX)
        wait_until(lambda: connects(control, str(tmp_path / "control.sock")), "the control socket")
        control.settimeout(60)
        assert control.recv(65_536), "a greeting"
        control.close()
        with socket.create_connection(("127.0.0.1", metrics), 60) as scraper:
            scraper.sendall(b"GET /metrics HTTP/1.1\r\nHost: relay\r\nConnection: close\r\n\r\n")
            assert scraper.recv(65_536).startswith(b"HTTP/1.1 200")
        relay = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        os.kill(relay, signal.SIGHUP)
        wait_until(lambda: "reload" in (tmp_path / "log").read_text(), "the reload")
        os.kill(relay, signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        peers.close_peers()
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
    calls = set(re.findall(r"^\d+ +(?:<\.\.\. )?([a-z_0-9]+)[( ]", trace.read_text(), re.M))
    assert {"recvmmsg", "sendmmsg", "epoll_wait"} <= calls, "calls are not recognised any more"
    assert calls - allowed_calls() == set()


def connects(client: socket.socket, path: str) -> bool:
    """Whether somebody listens at a path."""
    try:
        client.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    return True


def test_workflow_is_valid() -> None:
    workflow = yaml.safe_load((REPOSITORY / ".github/workflows/ci.yml").read_text())
    jobs = workflow["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    for step in steps:
        assert ("uses" in step) != ("run" in step), step
        # By their major version: minor ones come by themselves, and nothing else does.
        assert re.fullmatch(r"[a-z-]+/[a-z-]+@v\d+", step.get("uses", "a/b@v1")), step
    commands = "\n".join(step.get("run", "") for step in steps)
    assert ".ci/run" in commands
    targets = set(re.findall(r"make ([a-z]+)", commands.replace("install -y make", "")))
    makefile = (REPOSITORY / "Makefile").read_text()
    assert targets and all(f"\n{target}:" in makefile for target in targets)
    machines = jobs["package"]["strategy"]["matrix"]["include"]
    assert [machine["architecture"] for machine in machines] == ["x86_64", "arm64"]


def test_dockerfile_ends_without_shell_and_root() -> None:
    lines = (REPOSITORY / "Dockerfile").read_text().splitlines()
    last = max(index for index, line in enumerate(lines) if line.startswith("FROM "))
    assert lines[last].endswith(":nonroot")
    assert not any(line.startswith("RUN ") for line in lines[last:])


def test_make_installs_and_removes(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("quic-relay.1", "quic-relay.bash", "_quic-relay", "quic-relay.fish"):
        (docs / name).write_text(name)
    root = tmp_path / "root"

    def run(action: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(DEPLOY / "install"), action],
            env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "RELAY": str(relay_binary()),
                "DOCS": str(docs),
                "PREFIX": "/opt/relay",
                "DESTDIR": str(root),
            },
            check=True,
            capture_output=True,
            text=True,
        )

    run("install")
    unit = (root / "opt/relay/lib/systemd/system/quic-relay.service").read_text()
    assert "ExecStart=/opt/relay/bin/quic-relay " in unit
    assert "@BINDIR@" not in unit
    assert (root / "opt/relay/bin/quic-relay").stat().st_mode & 0o777 == 0o755
    settings = root / "etc/quic-relay/quic-relay.toml"
    assert settings.read_text() == (DEPLOY / "quic-relay.toml").read_text()
    # What an operator changed is not overwritten, and not removed.
    settings.write_text("port = 1\n")
    run("install")
    assert settings.read_text() == "port = 1\n"
    said = run("uninstall").stdout
    assert str(settings) in said
    left = [str(p.relative_to(root)) for p in root.rglob("*") if not p.is_dir()]
    assert sorted(left) == ["etc/default/quic-relay", "etc/quic-relay/quic-relay.toml"]
