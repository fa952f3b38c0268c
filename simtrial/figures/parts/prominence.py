"""How much a cell stands out: its largest distance from what a perfect method has, in Monte Carlo standard errors."""

from __future__ import annotations

from math import inf, isfinite

import polars as pl

from simtrial.performance import Options
from simtrial.performance.references import distance


def prominence(measured: pl.DataFrame, options: Options) -> float:
    """Largest distance of any method's bias from 0, and of its coverage from the nominal level, in MCSE.

    ``measured`` holds the performance of one cell. One with a method that never succeeds stands out most.
    """
    found = [0.0]
    for method, measure, value, mcse, n in measured.select("method", "measure", "value", "mcse", "n").iter_rows():
        if measure == "bias" and value is not None and mcse:
            found.append(abs(value) / mcse)
        elif measure == "coverage":
            found.append(abs(distance(value, 1 - options.alphas.get(method, 0.05), n) or 0.0))
        elif measure == "n_estimates" and not value:
            return inf
    return max(x for x in found if isfinite(x))
