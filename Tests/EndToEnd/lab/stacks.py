"""The QUIC programs of the laboratory: how each is started, what it needs, and its version."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import chromium
from lab.http_origin import CADDY


@dataclass(frozen=True)
class LabStack:
    """A server and a client for transfers in turns."""

    name: str
    program: str
    # What it is made of, with versions, for people.
    describe: Callable[[], str]
    # What it takes besides the arguments of every transfer.
    client_options: tuple[str, ...] = ()
    takes_certificate: bool = True
    # Whether nothing passes while it pauses. quic-portal has keep-alives; curl does nothing between
    # two requests, so that its server repeats what it has not acknowledged.
    rests: bool = True
    # Without agents: it registers its own port.
    registers: bool = False
    # A program that is no part of the Python packages, and the Debian package that has it.
    needs: tuple[tuple[str, str], ...] = ()

    def why_not(self) -> str | None:
        """What is missing to run it, if anything."""
        for program, package in self.needs:
            if shutil.which(program) is None:
                return f"{self.name} needs {program} of the Debian package {package}"
        return None


def _python_packages(*names: str) -> Callable[[], str]:
    return lambda: ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def _with_caddy(client: Callable[[], str]) -> Callable[[], str]:
    return lambda: f"{client()}; caddy {_first_line(str(CADDY), 'version')} ({_quic_go()})"


def _quic_go() -> str:
    """What Debian's caddy was built with, if this machine knows the package."""
    done = subprocess.run(
        ["apt-cache", "show", "caddy"], capture_output=True, text=True, timeout=30, check=False
    )
    found = re.search(r"quic-go \(= ([0-9.]+)", done.stdout)
    return f"quic-go {found[1]}" if found else "quic-go"


def _curl() -> str:
    # Slow to import; the matrix needs only its name.
    from curl_cffi import Curl

    parts = Curl().version().decode().split()
    quic = ", ".join(part for part in parts if part.startswith(("ngtcp2", "BoringSSL")))
    return f"curl_cffi {importlib.metadata.version('curl-cffi')} ({quic})"


def _gtlsclient() -> str:
    return f"gtlsclient {_debian_version('ngtcp2-client')} (ngtcp2, GnuTLS)"


def _chromium() -> str:
    return f"Chromium {_debian_version('chromium-headless-shell')}"


def _debian_version(package: str) -> str:
    return _first_line("dpkg-query", "--show", "--showformat=${Version}\n", package)


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.splitlines()[0]


_CADDY_NEED = (str(CADDY), "caddy, unpacked by make e2e")

AIOQUIC = LabStack("aioquic", "lab/aioquic_turns.py", _python_packages("aioquic"))
QUIC_PORTAL = LabStack(
    "quic-portal",
    "quic_portal_peer.py",
    _python_packages("quic-portal"),
    takes_certificate=False,
    rests=False,
)
REGISTERED_PORTAL = LabStack(
    "quic-portal, no agent",
    "lab/registered_portal.py",
    _python_packages("quic-portal"),
    takes_certificate=False,
    rests=False,
    registers=True,
)
CURL = LabStack(
    "curl_cffi → caddy",
    "lab/http_peer.py",
    _with_caddy(_curl),
    client_options=("--program", "curl_cffi"),
    rests=False,
    needs=(_CADDY_NEED,),
)
NGTCP2 = LabStack(
    "gtlsclient → caddy",
    "lab/http_peer.py",
    _with_caddy(_gtlsclient),
    client_options=("--program", "gtlsclient"),
    needs=(_CADDY_NEED, ("gtlsclient", "ngtcp2-client")),
)
CHROMIUM = LabStack(
    "Chromium → caddy",
    "lab/http_peer.py",
    _with_caddy(_chromium),
    client_options=("--program", "chromium"),
    needs=(_CADDY_NEED, (chromium.PROGRAM, chromium.PROGRAM)),
)

STACKS = (AIOQUIC, QUIC_PORTAL, REGISTERED_PORTAL, CURL, NGTCP2, CHROMIUM)


def kernel() -> str:
    """The kernel whose NATs these are."""
    return Path("/proc/sys/kernel/osrelease").read_text().strip()
