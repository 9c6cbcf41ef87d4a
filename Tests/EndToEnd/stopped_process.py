"""Stops a process so that it is certain that none of its threads does anything more."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from waiting import wait_until


def stop_process(process: int) -> None:
    """Stops a process and returns when every thread of it has stopped."""
    os.kill(process, signal.SIGSTOP)
    wait_until(lambda: _is_stopped(process), f"process {process} to be stopped")


def _is_stopped(process: int) -> bool:
    # The process counts as stopped when its first thread is (proc_pid_stat(5)).
    tasks = Path(f"/proc/{process}/task").iterdir()
    return all((t / "stat").read_text().rsplit(")", 1)[1].split()[0] == "T" for t in tasks)
