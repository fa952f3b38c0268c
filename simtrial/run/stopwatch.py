"""Where the time of a block goes: drawing by stage, and each method."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

DRAW, METHOD, OWN_TRUTH, ROWS = "draw", "method", "true values of trials", "rows"
"""Kinds of work; the first two are followed by the stage or the method."""


class Stopwatch:
    """Seconds by kind of work, such as ``draw practices`` or ``method ITT``, over all blocks it is used for.

    Sums by practice are made by the first method that needs them, and count as its time.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, work: str) -> Iterator[None]:
        """Add the seconds of what is done inside."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[work] = self.seconds.get(work, 0.0) + time.perf_counter() - begun

    def rounded(self) -> Mapping[str, float]:
        """Seconds to a microsecond, as a record keeps them."""
        return {work: round(seconds, 6) for work, seconds in self.seconds.items()}
