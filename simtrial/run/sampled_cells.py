"""Cells of a large sweep that are simulated to show what it implies and costs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from simtrial.scenario import Cell

MANY = 100
"""Cells of which each is simulated; of more, only a sample."""

SAMPLE = 5
"""Cells in the sample of a larger sweep."""


def sampled(cells: Sequence[Cell], number: int = SAMPLE) -> list[Cell]:
    """Cells in which the levels of all factors are seen equally often, as far as their number allows; in their order.

    One after the other, each time the first cell whose levels were seen least.
    """
    if len(cells) <= number:
        return list(cells)
    seen = Counter[tuple[str, str]]()
    levels = [[(name, json.dumps(value, sort_keys=True)) for name, value in c.factors.items()] for c in cells]
    chosen: list[int] = []
    for _ in range(number):
        left = (at for at in range(len(cells)) if at not in chosen)
        best = min(left, key=lambda at: sum(seen[level] for level in levels[at]))
        chosen.append(best)
        seen.update(levels[best])
    return [cells[at] for at in sorted(chosen)]


def all_or_sampled(cells: Sequence[Cell], every: bool = False) -> list[Cell]:
    """All cells, or a sample if there are more than `MANY` and not ``every`` one is wanted."""
    return list(cells) if every or len(cells) <= MANY else sampled(cells)
