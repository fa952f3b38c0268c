"""What of a study a figure is to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """What of a study a figure is to show; empty: all of it, or what the figure shows by default."""

    methods: Sequence[str] = ()
    cells: Sequence[str] = ()
    measures: Sequence[str] = ()
    factor: str | None = None
    replicate: int = 1
    misses: int | None = None
