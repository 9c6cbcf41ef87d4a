"""What of these tests is left out when the relay is built with a sanitizer (`make sanitize`), and why."""

from __future__ import annotations

import warnings

from relay_process import sanitizer

# By the beginning of a test's name, seen from this directory.
_LEFT_OUT = {
    "test_sandbox.py": "the sandbox forbids what a sanitizer needs: relays run without",
    "test_static.py": "the statically linked program is another one",
    "test_resource_limits.py::test_too_little_memory": "a sanitizer takes more than all of it",
    "lab/": "foreign programs wait for handshakes for a time that a relay so slow may exceed",
}


def why_left_out(name: str) -> str | None:
    """Why a test is not run, if it is not."""
    used = sanitizer()
    if used is None:
        return None
    for beginning, reason in _LEFT_OUT.items():
        if name.startswith(beginning):
            return f"under the {used} sanitizer: {reason}"
    return None


def assert_memory_grew_less(grown_bytes: int, wall_bytes: int) -> None:
    """That a relay's memory stayed; a sanitizer's own is not told apart, and then it is not judged."""
    used = sanitizer()
    if used is not None:
        warnings.warn(f"memory is not judged under the {used} sanitizer", stacklevel=2)
        return
    assert grown_bytes < wall_bytes
