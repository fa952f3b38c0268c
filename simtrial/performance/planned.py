"""Monte Carlo standard errors to be expected of a number of replicates, by formula, before anything is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

RATE_AIM = 0.005
"""Monte Carlo standard error of a rate that is commonly thought small enough: half a percentage point."""


@dataclass(frozen=True)
class Planned:
    """What a number of replicates gives of one measure: in words, its formula, and its Monte Carlo standard error.

    ``needed`` are the replicates for an error of ``aim``, None where the formula knows no aim.
    """

    measure: str
    formula: str
    error: str
    aim: str = ""
    needed: int | None = None


def planned(replicates: int, nominal: float = 0.95) -> Sequence[Planned]:
    """Errors of the common measures (Morris, White and Crowther 2019, Table 6) when all fits succeed.

    Parameters
    ----------
    replicates
        n, per cell.
    nominal
        Level of the intervals, taken for their coverage.
    """
    n = replicates
    rates = [(f"coverage, if {100 * nominal:g}%", nominal), ("power or type I error, at worst (50%)", 0.5)]
    if nominal != 0.5:
        rates.append((f"type I error, if {100 * (1 - nominal):g}%", 1 - nominal))
    shares = [
        Planned(
            measure,
            "sqrt(p (1 - p) / n)",
            f"{100 * sqrt(p * (1 - p) / n):.2f} percentage points",
            f"{100 * RATE_AIM:g} percentage points",
            ceil(round(p * (1 - p) / RATE_AIM**2, 6)),
        )
        for measure, p in rates
    ]
    bias = Planned("bias", "empirical SE / sqrt(n)", f"{1 / sqrt(n):.3f} empirical standard errors")
    share = f"{100 / sqrt(2 * (n - 1)):.1f}% of it, if estimates are normal" if n > 1 else "undefined"
    return [*shares, bias, Planned("empirical SE", "empirical SE / sqrt(2 (n - 1))", share)]
