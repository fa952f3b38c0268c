"""Seconds of some work, without those in which other programs had the core."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def timed(work: Callable[[], T], own: bool = False) -> tuple[float, T]:
    """Seconds of some work.

    Those in which other programs had the core do not count, where the system tells them: of the program's own work
    what it computes, of the ``own`` methods of the user, who may call other programs, all that it does not stand in
    line for a core.
    """
    wall, computed = _clock(), time.process_time()
    found = work()
    wall, computed = _clock() - wall, time.process_time() - computed
    return (wall if own else min(wall, computed)), found


def _clock() -> float:
    """Seconds without those of waiting for a core."""
    try:
        waited = int(Path("/proc/self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        waited = 0.0
    return time.perf_counter() - waited
