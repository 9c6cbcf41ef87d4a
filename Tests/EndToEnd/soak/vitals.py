"""What a process holds: memory, descriptors, threads (proc(5))."""

from __future__ import annotations

import os
import re
import statistics
from dataclasses import dataclass
from pathlib import Path

# Of a phase, what passes before memory is judged: tables, rings and pools are touched first then.
WARM_UP_SHARE = 0.3
# A shorter time than this after the warm-up says nothing about leaks of 1 %.
_JUDGED_SECONDS = 300.0
_GROWTH_LIMIT = 0.01
# What a short run may grow by at the most: pages that are touched for the first time.
_SHORT_GROWTH_LIMIT = 0.25
_COURSE_POINTS = 12


@dataclass(frozen=True)
class Holdings:
    """Descriptors and threads of a process."""

    descriptors: int
    threads: int


def holdings(process: int) -> Holdings:
    """What it has now."""
    status = Path(f"/proc/{process}/status").read_text()
    threads = re.search(r"^Threads:\s+(\d+)$", status, re.MULTILINE)
    assert threads
    return Holdings(len(os.listdir(f"/proc/{process}/fd")), int(threads[1]))


def resident_bytes(process: int) -> int:
    """Its resident memory, exactly: the figure in its status is an estimate (proc_pid_smaps(5))."""
    rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    match = re.search(r"^Rss:\s+(\d+) kB$", rollup, re.MULTILINE)
    assert match
    return int(match[1]) << 10


@dataclass(frozen=True)
class Growth:
    """How a process's memory was at the beginning and at the end of a phase, and in between."""

    begin: int
    warm: int
    end: int
    judged_seconds: float
    # Over the whole phase, at equal distances.
    course: tuple[int, ...]

    @property
    def share(self) -> float:
        """By what part it grew since it was warm."""
        return (self.end - self.warm) / self.warm

    @property
    def is_judged(self) -> bool:
        """Whether this was long enough to say that it is flat."""
        return self.judged_seconds >= _JUDGED_SECONDS

    @property
    def is_flat(self) -> bool:
        """Whether it grew by no more than it may."""
        return self.share <= (_GROWTH_LIMIT if self.is_judged else _SHORT_GROWTH_LIMIT)

    def __str__(self) -> str:
        told = "" if self.is_judged else ", too short to be judged by 1 %"
        return (
            f"RSS {self.begin >> 10} KiB at the beginning, {self.warm >> 10} warm, "
            f"{self.end >> 10} at the end: {self.share:+.2%} in {self.judged_seconds:.0f} s{told} "
            f"({' '.join(str(size >> 10) for size in self.course)})"
        )


def growth(samples: list[tuple[float, int]]) -> Growth:
    """From the time and size of samples in their order, at least one."""
    start, end = samples[0][0], samples[-1][0]
    warm_at = start + WARM_UP_SHARE * (end - start)
    warm = [size for at, size in samples if at >= warm_at]
    part = max(1, len(warm) // 10)
    # Medians, since what is served at the moment of a sample is no leak.
    before, after = statistics.median(warm[:part]), statistics.median(warm[-part:])
    step = max(1, len(samples) // _COURSE_POINTS)
    course = tuple(size for _, size in samples[::step])
    return Growth(samples[0][1], int(before), int(after), end - warm_at, course)
