"""Waits for a condition instead of for a time."""

from __future__ import annotations

import time
from collections.abc import Callable

# A wall guards against hanging; it says nothing about speed.
WAIT_WALL_SECONDS = 60.0
POLL_SECONDS = 0.01


def wait_until(
    condition: Callable[[], object], what: str, wall_seconds: float = WAIT_WALL_SECONDS
) -> None:
    """Returns as soon as the condition holds; `what` says what was awaited in vain."""
    deadline = time.monotonic() + wall_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {wall_seconds:g} s: {what}"
        time.sleep(POLL_SECONDS)
