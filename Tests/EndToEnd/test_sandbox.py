"""The relay gives up what it does not need, and nothing gets that back (Documentation/operations.md).

That all else works all the same is what the other tests show: their relays are in it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import signal
import sys
from pathlib import Path

import pytest

from peers import exchange
from relay_process import StartRelay, relay_binary
from restarting import RestartingRelay
from waiting import wait_until

# capabilities(7): what a relay that was started by root keeps, by the option that needs it.
CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_NET_BIND_SERVICE, CAP_BPF = 0, 1, 10, 39

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up")

# What whoever has taken over the relay would try first. It is run in the relay's place by a hand-over,
# and so in its sandbox. Prints the name of each that worked.
ATTEMPTS = """
import ctypes, errno, mmap, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = libc.mmap.restype = ctypes.c_long
def call(name, *arguments):
    return getattr(libc, name)(*arguments) not in (-1,) or ctypes.get_errno()
def opens(*arguments):
    try:
        socket.socket(*arguments).close()
    except OSError as error:
        return error.errno
    return True
attempts = {
    "unshare": call("unshare", 0x10000000),
    "setns": call("setns", 0, 0),
    "mount": call("mount", b"none", b"/mnt", b"tmpfs", 0, None),
    "chroot": call("chroot", b"/"),
    "ptrace": call("ptrace", 16, os.getppid(), 0, 0),
    "setuid": call("setuid", 1),
    "userfaultfd": call("syscall", 323 if os.uname().machine == "x86_64" else 282, 0),
    "io_uring": call("syscall", 425, 1, 0),
    "perf_event_open": call("syscall", 298 if os.uname().machine == "x86_64" else 241, 0, 0, -1, -1, 0),
    "raw socket": opens(socket.AF_INET, socket.SOCK_RAW, 1),
    "packet socket": opens(socket.AF_PACKET, socket.SOCK_RAW, 0),
    "audit socket": opens(socket.AF_NETLINK, socket.SOCK_RAW, 9),
    "writable code": call("mmap", None, 4096, 7, 0x22, -1, 0),
    "udp socket": opens(socket.AF_INET, socket.SOCK_DGRAM, 0),
}
print(*(f"{name}={'done' if result is True else errno.errorcode[result]}".replace(" ", "_")
    for name, result in attempts.items()), file=sys.stderr)
sys.exit(7)
"""


def _status(process: int, thread: str = "") -> dict[str, str]:
    """What the system says of a process, or of one of its threads."""
    path = Path(f"/proc/{process}/task/{thread}/status" if thread else f"/proc/{process}/status")
    lines = (line.partition(":") for line in path.read_text().splitlines())
    return {name: value.strip() for name, _, value in lines}


def _rights(*numbers: int) -> int:
    return sum(1 << number for number in numbers)


@pytest.mark.parametrize(
    ("options", "rights"),
    [
        ((), _rights(CAP_DAC_OVERRIDE, CAP_BPF)),
        (("--no-overload-filter",), _rights(CAP_DAC_OVERRIDE)),
        (("--metrics", "127.0.0.3:999"), _rights(CAP_DAC_OVERRIDE, CAP_BPF, CAP_NET_BIND_SERVICE)),
        (("--metrics", "0", "--workers", "2"), _rights(CAP_DAC_OVERRIDE, CAP_BPF)),
        (("--control-group", "root"), _rights(CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_BPF)),
    ],
    ids=["default", "no-filter", "low-port", "workers", "group"],
)
def test_every_thread_is_confined(
    start_relay: StartRelay, tmp_path: Path, options: tuple[str, ...], rights: int
) -> None:
    relay = start_relay(*options, "--state-dir", str(tmp_path / "state"))
    exchange(*relay.pair(), "in the sandbox")
    process = relay.process.pid
    had = int(_status(os.getpid())["CapEff"], 16)
    threads = os.listdir(f"/proc/{process}/task")
    assert len(threads) > 1
    for thread in threads:
        status = _status(process, thread)
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2"), status["Name"]
        for name in ("CapEff", "CapPrm"):
            assert int(status[name], 16) == had & rights, (status["Name"], name)
        assert int(status["CapInh"], 16) == 0
        assert int(status["CapAmb"], 16) == 0
    assert relay.events("sandbox_incomplete") == []


def test_it_can_be_switched_off(start_relay: StartRelay) -> None:
    relay = start_relay("--no-sandbox")
    ours, theirs = _status(os.getpid()), _status(relay.process.pid)
    for name in ("NoNewPrivs", "Seccomp", "CapEff"):
        assert theirs[name] == ours[name]


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    """A copy of the relay, in whose place others can be put."""
    return Path(shutil.copy(relay_binary(), tmp_path / "relay"))


def _put(text: str, binary: Path) -> None:
    replacement = binary.with_name("new")
    replacement.write_text(text)
    replacement.chmod(0o755)
    replacement.rename(binary)


def test_what_is_forbidden_fails(tmp_path: Path, rng: random.Random, binary: Path) -> None:
    python = shutil.which("python3", path=os.defpath) or sys.executable
    with contextlib.closing(RestartingRelay(tmp_path, rng, binary=binary)) as relay:
        a, b = relay.pair()
        _put(f"#!{python}\n{ATTEMPTS}", binary)
        relay.signal(signal.SIGUSR2)
        wait_until(lambda: relay.event_count("handover_failed") == 1, "the hand-over fails")
        (failed,) = relay.events("handover_failed")
        _, _, words = failed.fields["reason"].rpartition(": ")
        results = dict(word.split("=") for word in words.split())
        assert results.pop("udp_socket") == "done", results
        assert len(results) == 13
        assert set(results.values()) == {errno.errorcode[errno.EPERM]}, results
        exchange(a, b, "afterwards")


def test_it_does_not_pile_up(tmp_path: Path, rng: random.Random) -> None:
    """Each filter costs every system call something, and there is a limit to their length."""
    with contextlib.closing(RestartingRelay(tmp_path, rng)) as relay:
        count = _status(relay.process_id).get("Seccomp_filters")
        a, b = relay.pair()
        for number in range(3):
            relay.restart("hand-over")
            exchange(a, b, f"hand-over {number}")
            status = _status(relay.process_id)
            assert status.get("Seccomp_filters") == count
            assert status["NoNewPrivs"] == "1"


def test_one_without_hands_over_to_one_within_and_back(
    tmp_path: Path, rng: random.Random, binary: Path
) -> None:
    """An upgrade from a relay that knows no sandbox, and the way back, which stays within."""
    within = Path(shutil.copy(relay_binary(), tmp_path / "within"))
    with contextlib.closing(
        RestartingRelay(tmp_path, rng, "--no-sandbox", binary=binary)
    ) as relay:
        a, b = relay.pair()
        before = _status(os.getpid())["Seccomp"]
        assert _status(relay.process_id)["Seccomp"] == before
        # It is started with the arguments of the one before, of which --no-sandbox is the last.
        _put(f'#!/bin/bash\nexec {within} "${{@:1:$#-1}}"\n', binary)
        relay.restart("hand-over")
        exchange(a, b, "within")
        assert _status(relay.process_id)["Seccomp"] == "2"
        assert relay.event_count("sandbox_inherited") == 0
        _put(f'#!/bin/bash\nexec {relay_binary()} "$@" --no-sandbox\n', within)
        relay.restart("hand-over")
        exchange(a, b, "and back")
        assert _status(relay.process_id)["Seccomp"] == "2"
        wait_until(lambda: relay.event_count("sandbox_inherited") == 1, "it is told")
