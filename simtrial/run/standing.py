"""How a run goes: what becomes of a chunk, and how far all of them are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Made:
    """What a worker returns of a chunk that it has made: its rows, and the fits among them that failed."""

    rows: int
    failed: int


@dataclass(frozen=True)
class Standing:
    """How far a run is, in replicates: those done, those wanted, those made here, and the failed fits of these."""

    done: int
    wanted: int
    made: int
    failed_fits: int


Progress = Callable[[int, int, float, Standing], None]
"""Called after every chunk with chunks done, chunks in all, seconds since the start, and more of how it stands."""
