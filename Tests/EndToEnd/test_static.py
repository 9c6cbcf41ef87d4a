"""The statically linked program, where `make static` has made it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from dashboard import StartDashboard
from relay_process import REPOSITORY

STATIC = REPOSITORY / ".build/static/release/quic-relay"
# What any Linux with glibc has; vdso is the kernel's.
SYSTEM_LIBRARIES = {"ld-linux-x86-64", "ld-linux-aarch64", "libc", "libgcc_s", "libm", "linux-vdso"}


@pytest.fixture
def static(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program, which is the one under test from here on."""
    if not STATIC.is_file():
        pytest.skip("make static has not been run")
    monkeypatch.setenv("QUIC_RELAY_BINARY", str(STATIC))
    return STATIC


def test_it_needs_libc_and_its_kin_only(static: Path) -> None:
    said = subprocess.run(["ldd", str(static)], capture_output=True, text=True, check=True).stdout
    libraries = set(re.findall(r"^\s*(?:\S*/)?([\w-]+)\.so", said, re.M))
    assert "libc" in libraries, said
    assert libraries <= SYSTEM_LIBRARIES, said


def test_it_draws_in_a_terminal(static: Path, start_dashboard: StartDashboard) -> None:
    relay = start_dashboard()
    relay.wait_for_dashboard()
    relay.show("127.0.0.2", "127.0.0.3")
