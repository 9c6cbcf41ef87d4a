"""What a figure depends on: the machine, its kernel, and the versions of what was measured."""

import os
import pathlib
import platform
import re
import subprocess

CPU = pathlib.Path("/sys/devices/system/cpu")


def read(path: pathlib.Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def first_line(command: list[str]) -> str | None:
    """The first line that a command says anything in, wherever it does."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return next((line.strip() for line in done.stdout.splitlines() if line.strip()), None)


def processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", read(pathlib.Path("/proc/cpuinfo")) or "", re.M)
    return found[1] if found else platform.machine()


def mitigations() -> str:
    """Those that cost something, by name; what the CPU is not affected by is left out."""
    found = []
    for path in sorted((CPU / "vulnerabilities").glob("*")):
        state = read(path) or ""
        if state and not state.startswith("Not affected"):
            found.append(f"{path.name}: {state}")
    return "; ".join(found) or "none needed"


def facts(root: pathlib.Path) -> dict[str, str]:
    """For people: a line each."""
    cores = os.cpu_count() or 1
    governor = read(CPU / "cpu0/cpufreq/scaling_governor")
    hypervisor = first_line(["systemd-detect-virt", "--vm"])
    commit = first_line(["git", "-C", str(root), "describe", "--always", "--dirty"])
    found = {
        "processor": f"{processor()}, {cores} cores",
        "machine": f"{platform.machine()}, "
                   + (f"virtual ({hypervisor})" if hypervisor not in (None, "none") else
                      "virtual or not: unknown" if hypervisor is None else "physical"),
        "kernel": platform.release(),
        "governor": governor or "not visible",
        "mitigations": mitigations(),
        "system": (re.search(r'^PRETTY_NAME="(.*)"$',
                             read(pathlib.Path("/etc/os-release")) or "", re.M) or [0, "?"])[1],
        "compilers": f"{first_line(['swift', '--version'])}; {first_line(['cc', '--version'])}",
        "quic-relay": commit or "no commit",
    }
    return found


def load_average() -> float:
    """Runnable and waiting threads, in the last minute."""
    return os.getloadavg()[0]
