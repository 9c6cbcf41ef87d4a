"""Stops one thread of another process for as long as this one runs (ptrace(2)).

From outside the thread looks as if it hung in the kernel: the others go on. Says "stopped", and
ends when the thread has ended.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
WALL = 0x40000000


def thread_named(process: int, name: str) -> int:
    """The number of a process's thread."""
    for task in Path(f"/proc/{process}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return int(task.name)
    raise SystemExit(f"process {process} has no thread {name}")


def main() -> None:
    """Stops the thread."""
    thread = thread_named(int(sys.argv[1]), sys.argv[2])
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    ptrace.argtypes = [ctypes.c_long] * 4
    ptrace.restype = ctypes.c_long
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        if ptrace(request, thread, 0, 0) != 0:
            raise SystemExit(f"ptrace: {os.strerror(ctypes.get_errno())}")
    os.waitpid(thread, WALL)
    print("stopped", flush=True)
    # A thread that is traced is gone only when its tracer has been told.
    os.waitpid(thread, WALL)


if __name__ == "__main__":
    main()
