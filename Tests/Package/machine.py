"""A Debian of its own that boots systemd: systemd-nspawn(1) in a folder made by debootstrap(8)."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
# Made once, and copied for each run.
PRISTINE = REPOSITORY / ".build/debcheck/root"
SUITE = "bookworm"
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")

# Walls against hanging for ever: a boot takes seconds, and the first download a minute or two.
DEBOOTSTRAP_WALL_SECONDS = 900
COMMAND_WALL_SECONDS = 180
STOP_WALL_SECONDS = 60

CLONE_NEWNET = 0x40000000


def why_no_machine() -> str | None:
    """What keeps a machine from being started, if anything."""
    if os.geteuid() != 0:
        return "booting a machine needs root"
    for program in ("debootstrap", "systemd-nspawn", "nsenter"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    return None


def make_pristine() -> str | None:
    """Makes the folder that machines are copied from; says why it could not."""
    if PRISTINE.is_dir():
        return None
    unfinished = PRISTINE.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    # All that the package may rely on, and no more.
    packages = "systemd,systemd-sysv,init-system-helpers,libgcc-s1,ncurses-base"
    result = subprocess.run(
        [
            "debootstrap",
            "--variant=minbase",
            f"--include={packages}",
            SUITE,
            str(unfinished),
            MIRROR,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEBOOTSTRAP_WALL_SECONDS,
    )
    if result.returncode != 0:
        return f"debootstrap: {result.stdout[-500:]}{result.stderr[-500:]}"
    unfinished.rename(PRISTINE)
    return None


class Machine:
    """A running machine with a loopback interface as its only network."""

    def __init__(self, root: Path) -> None:
        """Boots a copy of the pristine folder."""
        self.root = root
        subprocess.run(["cp", "-a", "--reflink=auto", str(PRISTINE), str(root)], check=True)
        self._log = root.with_suffix(".log").open("wb")
        self._process = subprocess.Popen(
            [
                "systemd-nspawn",
                f"--directory={root}",
                "--boot",
                "--register=no",
                "--keep-unit",
                "--private-network",
                "--console=pipe",
                f"--machine=quic-relay-test-{os.getpid()}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        )
        self._leader = 0
        try:
            wait_until(self._has_booted, "the machine to boot")
        except BaseException:
            self.stop()
            raise

    def run(self, *command: str, checks: bool = True) -> str:
        """Runs a command in the machine and returns what it says."""
        result = subprocess.run(
            ["nsenter", "--all", f"--target={self._leader}", *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_WALL_SECONDS,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
        )
        said = result.stdout + result.stderr
        assert result.returncode == 0 or not checks, f"{command}: {result.returncode}\n{said}"
        return said

    def properties(self, unit: str, *names: str) -> list[str]:
        """What systemd says of a unit."""
        said = self.run("systemctl", "show", unit, *(f"--property={name}" for name in names))
        values = dict(line.split("=", 1) for line in said.splitlines())
        return [values[name] for name in names]

    def is_(self, unit: str, state: str) -> bool:
        """Whether a unit is in a state."""
        return self.properties(unit, "ActiveState") == [state]

    def log(self, unit: str) -> str:
        """What a unit has logged."""
        return self.run("journalctl", "--quiet", "--no-pager", "--output=cat", f"--unit={unit}")

    def write(self, path: str, text: str) -> None:
        """Writes a file in the machine."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def process(self, number: int) -> int:
        """The number outside of a process that has this number in the machine."""
        inside = os.readlink(f"/proc/{self._leader}/ns/pid")
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                if os.readlink(folder / "ns/pid") != inside:
                    continue
                lines = (folder / "status").read_text().splitlines()
            except OSError:
                continue
            (numbers,) = [line.split()[1:] for line in lines if line.startswith("NSpid:")]
            if int(numbers[-1]) == number:
                return int(folder.name)
        raise AssertionError(f"no process {number} in the machine")

    @contextmanager
    def network(self) -> Iterator[None]:
        """Sockets that are opened meanwhile are in the machine's network."""
        setns = ctypes.CDLL(None, use_errno=True).setns
        with open("/proc/thread-self/ns/net", "rb") as outside:
            with open(f"/proc/{self._leader}/ns/net", "rb") as inside:
                assert setns(inside.fileno(), CLONE_NEWNET) == 0
            try:
                yield
            finally:
                assert setns(outside.fileno(), CLONE_NEWNET) == 0

    def stop(self) -> None:
        """Switches the machine off."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_WALL_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def _has_booted(self) -> bool:
        assert self._process.poll() is None, self.root.with_suffix(".log").read_text()
        if self._leader == 0:
            process = self._process.pid
            children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
            systemds = [
                int(child)
                for child in children
                if Path(f"/proc/{child}/comm").read_text() == "systemd\n"
            ]
            if not systemds:
                return False
            self._leader = systemds[0]
        return self.run("systemctl", "is-system-running", checks=False).strip() in (
            "running",
            "degraded",
        )
