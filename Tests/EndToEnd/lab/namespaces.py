"""Network namespaces and the cables between them; needs root."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

# linux/sched.h
_CLONE_NEWNET = 0x40000000

# qr-lab-<process id of the run>-<number of the laboratory>-<what it is>
_PREFIX = "qr-lab-"
_NAMED = Path("/run/netns")
_TOOLS = {
    "ip": "iproute2",
    "tc": "iproute2",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
}
_TRIAL_RULES = """
table ip trial {
    chain outwards { type nat hook postrouting priority srcnat; policy accept; }
}
"""
_WALL_SECONDS = 60.0
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace of its own, with nothing but a loopback interface at first."""

    def __init__(self, name: str) -> None:
        """Makes it; `name` is unique on the machine."""
        self.name = name
        run("ip", "netns", "add", name)
        try:
            self.configure("link set lo up")
        except BaseException:
            self.close()
            raise

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Puts this thread into the namespace: sockets and processes made here belong to it."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            there = os.open(_NAMED / self.name, os.O_RDONLY)
            try:
                _enter(there)
            finally:
                os.close(there)
            try:
                yield
            finally:
                _enter(before)
        finally:
            os.close(before)

    def configure(self, *lines: str) -> None:
        """Runs these lines of ip(8), all or up to the first that fails."""
        run("ip", "-n", self.name, "-batch", "-", text="\n".join(lines) + "\n")

    def run(self, *command: str, text: str = "") -> str:
        """Runs a command in the namespace and returns what it prints."""
        with self.inside():
            return run(*command, text=text)

    def set(self, **values: int | str) -> None:
        """Sets sysctls below net, named with `__` for the slash: `ipv4__ip_forward=1`."""
        with self.inside():
            for name, value in values.items():
                Path("/proc/sys/net", *name.split("__")).write_text(str(value))

    def sent_bytes(self, link: str) -> int:
        """What the interface has sent so far, headers included."""
        with self.inside():
            lines = Path("/proc/thread-self/net/dev").read_text().splitlines()
        for line in lines:
            name, _, figures = line.partition(":")
            if name.strip() == link:
                return int(figures.split()[8])
        raise AssertionError(f"no {link} in {self.name}")

    def close(self) -> None:
        """Removes it; what still runs in it loses its network when it ends."""
        run("ip", "netns", "del", self.name)


def connect(a: Namespace, a_link: str, b: Namespace, b_link: str) -> None:
    """Puts a cable between two namespaces; both ends are up."""
    a.configure(f"link add {a_link} type veth peer name {b_link} netns {b.name}")
    for namespace, link in ((a, a_link), (b, b_link)):
        namespace.configure(f"link set {link} up")


def run(*command: str, text: str = "") -> str:
    """Runs a command, which must succeed, and returns what it prints."""
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=_WALL_SECONDS, check=False
    )
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()} {done.stdout.strip()}\n{text}")
    return done.stdout


def why_no_namespaces() -> str | None:
    """What keeps this machine from having namespaces with NATs, if anything."""
    if os.geteuid() != 0:
        return "the network laboratory needs root, for namespaces and NATs"
    missing = [package for tool, package in _TOOLS.items() if shutil.which(tool) is None]
    if missing:
        return f"the network laboratory needs these Debian packages: {', '.join(missing)}"
    name = f"{_PREFIX}{os.getpid()}-trial"
    try:
        trial = Namespace(name)
    except OSError as error:
        return f"no network namespaces here: {error}"
    try:
        trial.run("nft", "-f", "-", text=_TRIAL_RULES)
        trial.run("conntrack", "-F")
    except OSError as error:
        return f"no NAT in network namespaces here: {error}"
    finally:
        trial.close()
    return None


def unique_prefix(number: int) -> str:
    """What the names of this run's laboratory of that number begin with."""
    return f"{_PREFIX}{os.getpid()}-{number}-"


def remove_leftovers() -> list[str]:
    """Removes what runs left behind that were killed, programs included, and tells their names."""
    removed = []
    for path in sorted(_NAMED.glob(f"{_PREFIX}*")) if _NAMED.is_dir() else []:
        owner = path.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdecimal() and Path("/proc", owner).exists():
            continue
        # Nobody else puts a program into a namespace of this name.
        for process in run("ip", "netns", "pids", path.name).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process), signal.SIGKILL)
        run("ip", "netns", "del", path.name)
        removed.append(path.name)
    return removed


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")
