"""A measure: its value with its Monte Carlo standard error, replicates used, and 95% Monte Carlo interval."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from typing import Literal

import numpy as np

Form = Literal["robust", "jackknife", "normal"]
NOTHING = float("nan")
Z = 1.959963984540054  # upper 2.5% point of the normal distribution


@dataclass(frozen=True)
class Value:
    """A measure: value, Monte Carlo standard error (NaN where there is none), and replicates used.

    ``share``: the value is a share of the n replicates; ``counted``: their number.
    """

    value: float
    mcse: float
    n: int
    share: bool = False
    counted: bool = False

    @property
    def interval(self) -> tuple[float, float]:
        """95% Monte Carlo interval: value and 1.96 errors either way, or Wilson's for shares and counts.

        Wilson's stays honest at 0 and 1, where the standard error is 0.
        """
        if self.n == 0 or np.isnan(self.value) or not (self.share or self.counted):
            return self.value - Z * self.mcse, self.value + Z * self.mcse
        whole = float(self.n) if self.counted else 1.0
        low, high = wilson(self.value / whole, self.n)
        return whole * low, whole * high

    def scaled(self, factor: float) -> Value:
        """Multiply the measure and its error."""
        return Value(self.value * factor, self.mcse * abs(factor), self.n)

    def sound(self, unbounded: bool = False) -> Value:
        """Turn overflow into a missing value; an infinite value stays where it is ``unbounded``."""
        value = NOTHING if np.isinf(self.value) and not unbounded else float(self.value)
        return replace(self, value=value, mcse=float(self.mcse) if np.isfinite(self.mcse) else NOTHING)


Share = Value
"""A share of replicates: the return type by which a measure says that `check` and intervals are to take it as one."""

Width = Value
"""A value that may be infinite, as the width of an unbounded interval is."""


def wilson(p: float, n: int) -> tuple[float, float]:
    """95% interval of a share p of n (Wilson 1927)."""
    z2 = Z * Z / n
    middle = (p + z2 / 2) / (1 + z2)
    half = Z / (1 + z2) * sqrt(p * (1 - p) / n + z2 / (4 * n))
    return 0.0 if p == 0 else max(middle - half, 0.0), 1.0 if p == 1 else min(middle + half, 1.0)


def undefined(n: int = 0) -> Value:
    """Return a measure that cannot be computed."""
    return Value(NOTHING, NOTHING, n)
