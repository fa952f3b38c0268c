"""People simulated to see what a scenario implies, and sums over them with jackknife errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, nan, sqrt

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats
from simtrial.batch import TrialBatch
from simtrial.generate import Mechanism, drawn_for, simulate
from simtrial.kernels.segments import sum_by

PEOPLE = 20_000
"""People simulated, or one trial where that has more: a fixed effort, with the same streams in every cell."""

GROUPS = 50
"""Groups of practices that the jackknife leaves out one after the other."""

PURPOSE = "implied: "
"""What their random streams begin with."""


@dataclass(frozen=True)
class Quantity:
    """A number that a cell implies, with its Monte Carlo standard error: 0 where it is exact, NaN where unknown.

    ``of`` is an outcome, an expression of receipt or an estimand; ``arm`` empty, control or intervention; ``effort``
    the people simulated (practices, for true values), 0 where none were needed.
    """

    name: str
    of: str
    arm: str
    value: float
    mcse: float
    effort: int


def drawn_people(mechanism: Mechanism) -> TrialBatch:
    """About `PEOPLE` people, always the same ones."""
    return simulate(mechanism, trials_of(mechanism), 0, "", 0, purpose=PURPOSE)


def trials_of(mechanism: Mechanism) -> int:
    """Trials that have about `PEOPLE` people, judged by the first; only what enrols people is drawn for it."""
    enrolling = drawn_for(mechanism, frozenset(), masks=False)
    pilot = simulate(enrolling, 1, 0, "", 0, purpose=f"{PURPOSE}size: ").index.participants
    return max(1, ceil(PEOPLE / max(pilot, 1)))


class PracticeSums:
    """Sums over people by group of practices, and what is made of them, each with its jackknife error."""

    def __init__(self, batch: TrialBatch) -> None:
        self.practice, practices = batch.index.participant_practice, batch.index.practices
        self.practices = practices
        self.group = np.arange(practices) * min(GROUPS, practices) // practices

    def _quantity(self, name: str, of: str, arm: str, terms: Sequence[Floats], f: Callable[..., Floats]) -> Quantity:
        """Function of sums over practices; the first of ``terms`` is the number of people (practices,)."""
        parts = np.stack([np.bincount(self.group, weights=t) for t in terms])
        whole, number = parts.sum(axis=1), parts.shape[1]
        with np.errstate(invalid="ignore", divide="ignore"):
            value, left = float(f(*whole)), f(*(whole[:, None] - parts))
        error = sqrt((number - 1) / number * float(((left - left.mean()) ** 2).sum())) if number > 1 else nan
        return Quantity(name=name, of=of, arm=arm, value=value, mcse=error, effort=int(whole[0]))

    def _by_practice(self, values: Floats) -> Floats:
        return sum_by(values, self.practice, self.practices)

    def moments(self, of: str, arm: str, values: Floats, who: NDArray[np.bool_] | None) -> list[Quantity]:
        """Mean, SD and ICC of a score among some people; blanks do not count."""
        counted = np.isfinite(values) if who is None else who & np.isfinite(values)
        centre = float(values[counted].mean()) if counted.any() else nan
        away = np.where(counted, values - centre, 0.0)
        n, s, q = (self._by_practice(v) for v in (counted.astype(np.float64), away, away**2))

        def variance(n: Floats, s: Floats, q: Floats) -> Floats:
            return np.asarray(q / n - (s / n) ** 2)

        def icc(n: Floats, s: Floats, q: Floats, pairs: Floats, products: Floats, sums: Floats) -> Floats:
            # mean product of two people of one practice about the mean of all, over the variance
            mean = s / n
            return np.asarray((products / pairs - 2.0 * mean * sums / pairs + mean**2) / variance(n, s, q))

        return [
            self._quantity("mean", of, arm, (n, s), lambda n, s: centre + s / n),
            self._quantity("sd", of, arm, (n, s, q), lambda *t: np.sqrt(variance(*t))),
            self._quantity("icc", of, arm, (n, s, q, n * (n - 1.0), s * s - q, s * (n - 1.0)), icc),
        ]

    def correlation(self, of: str, arm: str, one: Floats, other: Floats, who: NDArray[np.bool_]) -> Quantity:
        """Correlation of two scores of a person among some people."""
        counted = who & np.isfinite(one) & np.isfinite(other)
        x, y = (np.where(counted, v - (v[counted].mean() if counted.any() else 0.0), 0.0) for v in (one, other))
        terms = [self._by_practice(v) for v in (counted.astype(np.float64), x, y, x * x, y * y, x * y)]

        def r(n: Floats, x: Floats, y: Floats, xx: Floats, yy: Floats, xy: Floats) -> Floats:
            return np.asarray((xy - x * y / n) / np.sqrt((xx - x * x / n) * (yy - y * y / n)))

        return self._quantity("baseline_correlation", of, arm, terms, r)

    def share(self, name: str, of: str, arm: str, has: NDArray[np.bool_], who: NDArray[np.bool_] | None) -> Quantity:
        """Share of some people who have something; where all or none have, an error of 1 in those seen, not 0."""
        counted = np.ones(len(has)) if who is None else who.astype(np.float64)
        terms = [self._by_practice(counted), self._by_practice(counted * has)]
        found = self._quantity(name, of, arm, terms, lambda n, a: a / n)
        sure = found.value in (0.0, 1.0)
        return Quantity(
            name=name,
            of=of,
            arm=arm,
            value=found.value,
            mcse=1.0 / found.effort if sure else found.mcse,
            effort=found.effort,
        )

    def sizes(self) -> list[Quantity]:
        """Mean and coefficient of variation of people per practice."""
        n = self._by_practice(np.ones(len(self.practice)))
        one = np.ones(self.practices)
        mean = self._quantity("cluster_size_mean", "", "", (n, one), lambda n, k: n / k)
        cv = self._quantity("cluster_size_cv", "", "", (n, one, n * n), lambda n, k, q: np.sqrt(q * k / n**2 - 1.0))
        return [mean, cv]
