"""Memory that a worker takes, predicted from a few trials before anything of a run is drawn."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor

from simtrial.errors import SimtrialError
from simtrial.estimands import both_ways, planned
from simtrial.estimators.contained import is_own
from simtrial.generate import simulate
from simtrial.run.available_memory import available, resident
from simtrial.run.block import block_rows
from simtrial.run.sizes import Size, sizes, with_block
from simtrial.scenario import Cell

PEOPLE = 80_000
"""People in the smaller of two blocks that are tried, in the larger one twice as many.

A smaller block would mislead: methods that refit or re-allocate do so in passes of a fixed size, and only beyond one
pass does their memory grow evenly.
"""

LEAST = 150e6
"""Bytes that a worker holds in any case: the interpreter and its packages."""

PER_PERSON, FIXED = 20_000.0, 300e6
"""Bytes for each person of a block, and beside them, that no method of the program comes near: see bench/README.md."""


SPARE = 0.95
"""Share of the memory that a proposed block may take."""


@dataclass(frozen=True)
class Prediction:
    """Bytes of a worker at its peak: ``held`` in any case, and those of a block, or of true values if they are more."""

    held: float
    fixed: float
    per_trial: float
    truths: float

    def of(self, block: int) -> float:
        """Bytes with blocks of this size."""
        return self.held + max(self.fixed + self.per_trial * block, self.truths)

    def fitting(self, bytes_: float) -> int:
        """Largest block, of two significant digits, with which a worker takes no more than this; 0: none."""
        if self.of(1) > bytes_:
            return 0
        block: int = floor((bytes_ - self.held - self.fixed) / self.per_trial)
        unit: int = 10 ** max(len(str(block)) - 2, 0)
        return block // unit * unit


def largest(cells: Sequence[Cell], sizes: Sequence[Size]) -> tuple[Cell, Size]:
    """The cell with the largest trials: most people, and of these most practices."""
    size, at = max((size, -at) for at, size in enumerate(sizes))
    return cells[-at], size


def predicted(cell: Cell, size: Size) -> Prediction:
    """Prediction for a cell whose trials have this size.

    A block of a few trials is drawn and analysed, and one of at least twice as many. The user's own methods are left
    out: what they take is not known, and they may be slow.
    """
    methods = [method for method in cell.scenario.methods if not is_own(method)]
    cell = replace(cell, scenario=replace(cell.scenario, methods=methods))
    block, few = cell.scenario.run.block, max(1, ceil(PEOPLE / size.people))
    held, truths = max(LEAST, resident()), _of_truths(cell, size)
    if not methods:
        return Prediction(held, 0.0, _allocated(lambda: _drawn(cell, few)) / few, truths)
    few = max(1, min(few, block // 2))
    if few > 1:
        block_rows(with_block(cell, 1), 0)  # makes what is made once and kept
    most = 2 * few
    if most >= block - 1:  # the block itself is tried: the smaller one only tells how others would grow
        few = max(1, few // 4)
    low, high = _of_block(cell, few), _of_block(cell, most)
    each = max(high - low, high / 20) / max(most - few, 1)
    return Prediction(held, high - most * each, each, truths)


def _of_block(cell: Cell, block: int) -> float:
    return _allocated(lambda: block_rows(with_block(cell, block), 0))


def _drawn(cell: Cell, trials: int) -> object:
    return simulate(cell.scenario.needed, trials, 0, "", 0)


def _of_truths(cell: Cell, size: Size) -> float:
    """Bytes that the true values take; all practices of a batch are as large as those of a few trials."""
    needed, trials, _ = planned(cell.scenario.estimands, cell.scenario.mechanism)
    few = min(trials, max(1, ceil(PEOPLE / size.people)))
    return _allocated(lambda: both_ways(cell.scenario.estimands, simulate(needed, few, 0, "", 0))) * trials / few


def _allocated(work: Callable[[], object]) -> float:
    """Bytes allocated at the peak of some work."""
    tracemalloc.start()
    try:
        work()
        return float(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


def refuse_too_large(cells: Sequence[Cell], workers: int) -> None:
    """Refuse a run whose workers would together take more memory than there is, before anything is drawn.

    Judged by the cell with the largest trials. Where blocks are so small that no method could take half of the memory,
    nothing is tried.

    Raises
    ------
    SimtrialError
        Naming the block that would fit: it is part of the scenario, so nothing is changed silently.
    """
    there = available()
    if there is None:
        return
    cell, size = largest(cells, sizes(cells))
    if workers * (LEAST + FIXED + PER_PERSON * size.people * cell.scenario.run.block) < there / 2:
        return
    found = predicted(cell, size)
    if workers * found.of(cell.scenario.run.block) > there:
        raise SimtrialError(_refusal(cell, found, workers, there, len(cells) > 1))


def _refusal(cell: Cell, found: Prediction, workers: int, there: float, sweep: bool) -> str:
    block = cell.scenario.run.block
    each = found.of(block)
    where = f" in cell '{cell.label}'" if sweep else ""
    together = f", {gigabytes(workers * each)} in {workers} workers" if workers > 1 else ""
    fits = found.fitting(SPARE * there / workers)
    cure = f"--set run.block={fits} would fit (other trials: the block is part of the scenario)" if fits else ""
    fewer = floor(there / each)
    cure += f"{' or ' if cure else ''}--workers {fewer}" if 0 < fewer < workers else ""
    return (
        f"run.block = {block}{where}: trials drawn together take about {gigabytes(each)} in a worker{together}; "
        f"{gigabytes(there)} are available: {cure or 'not even a block of one trial would fit'}"
    )


def gigabytes(number: float) -> str:
    """Bytes as text, in MB below one GB."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"
