"""A short soak: all that hours of it do, once. `make soak` is the long one."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from conftest import Note
from tmux import why_no_tmux
from soak.station import Plan, Station

_SECONDS = 20.0


@pytest.mark.skipif(bool(why_no_tmux()), reason=f"the dashboard is read, too: {why_no_tmux()}")
@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_is_lost_or_left(seed: int, tmp_path: Path, note: Note, workers: int) -> None:
    with contextlib.closing(Station(Plan(_SECONDS, seed, workers), tmp_path, note)) as station:
        station.run()
