"""Results of one method in one cell, from which measures are made."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats
from simtrial.kernels import interval_sets
from simtrial.performance.summing import present, unit
from simtrial.performance.tiled import by_tile, where

_holds, _width = by_tile(interval_sets.holds), by_tile(interval_sets.width)


@dataclass(frozen=True)
class Sample:
    """Results of one method against one estimand in one cell; arrays (replicates,), NaN where something is missing.

    Of more replicates than are held in memory, the arrays are `simtrial.performance.tiled.Tiled`.
    ``truth`` with its own Monte Carlo error ``truth_mcse``; ``alpha`` the nominal type I error. ``own`` (replicates,)
    takes the place of ``truth`` where every trial has a true value of its own, known without error. ``apart`` and
    ``empty`` (replicates,) say which confidence sets are two rays, or hold nothing (see
    `simtrial.kernels.interval_sets`); left out: none is, every set is the interval between its ends. ``failed`` is of
    all replicates, also where the others are of those that all methods have in common.
    """

    estimate: Floats
    std_error: Floats
    ci_lower: Floats
    ci_upper: Floats
    p_value: Floats
    failed: Bools
    truth: float
    truth_mcse: float = 0.0
    alpha: float = 0.05
    own: Floats | None = None
    apart: Bools | None = None
    empty: Bools | None = None

    def only(self, chosen: NDArray[np.intp]) -> Sample:
        """Return the results of some replicates, by their places."""
        names = ["estimate", "std_error", "ci_lower", "ci_upper", "p_value", "own", "apart", "empty"]
        names += ["failed"] if len(self.failed) == len(self.estimate) else []
        arrays = {name: getattr(self, name) for name in names}
        return replace(self, **{name: a[chosen] for name, a in arrays.items() if a is not None})

    @property
    def theta(self) -> Floats | float:
        """True value of every trial (replicates,), or the one that all of them share."""
        return self.truth if self.own is None else self.own

    def beside_truth(self, *arrays: Floats) -> tuple[tuple[Floats, ...], Floats | float]:
        """Keep the replicates in which no array is missing, nor the trial's own true value; returns both."""
        if self.own is None:
            return present(*arrays), self.truth
        *kept, theta = present(*arrays, self.own)
        return tuple(kept), theta

    def errors(self) -> tuple[Floats, float]:
        """Return e - theta of the replicates that have both, in a unit that lets them be squared, and that unit."""
        d, _, u = self.errors_beside_truth()
        return d, u

    def errors_beside_truth(self) -> tuple[Floats, Floats | float, float]:
        """Return e - theta as `errors` does, theta of the same replicates as it is, and the unit."""
        (e,), theta = self.beside_truth(self.estimate)
        u = unit(e, theta)
        return e / u - theta / u, theta, u

    def holds(self, value: Floats | float) -> Floats:
        """1 where the confidence set holds a value, 0 where not, NaN where there is no set or no value."""
        return _holds(self.ci_lower, self.ci_upper, self._apart, self._empty, value)

    @property
    def width(self) -> Floats:
        """Width of the confidence sets (replicates,): infinite for any that is unbounded, 0 for an empty one."""
        return self.width_in(1.0)

    def width_in(self, unit: float) -> Floats:
        """Width of the confidence sets (replicates,) in a unit, in which that of finite ends is finite."""
        return _width(self.ci_lower / unit, self.ci_upper / unit, self._apart, self._empty)

    @property
    def _apart(self) -> Bools | bool:
        return False if self.apart is None else self.apart

    @property
    def _empty(self) -> Bools | bool:
        return False if self.empty is None else self.empty

    @property
    def rejected(self) -> Floats:
        """1 where the null hypothesis is rejected, 0 where not, NaN without a p-value or set.

        By p-value, or by the confidence set leaving out 0 where there is no p-value.
        """
        by_p = (self.p_value < self.alpha).astype(np.float64)
        return where(np.isnan(self.p_value), 1.0 - self.holds(0.0), by_p)

    @property
    def covered(self) -> Floats:
        """1 where the confidence set holds the true value, 0 where not, NaN without a set or a true value."""
        return self.holds(self.theta)

    def missed(self, above: bool) -> Floats:
        """1 where the set misses the true value from ``above``, or else from below; 0, or NaN as in `covered`.

        An interval or ray misses by the side it lies on. Two rays lie on both sides and an empty set on none: they miss
        by the side of the estimate.
        """
        by_estimate = np.logical_or(self._apart, self._empty)
        low, high = (where(by_estimate, self.estimate, end) for end in (self.ci_lower, self.ci_upper))
        beyond = (low > self.theta) if above else (high < self.theta)
        return where(np.isnan(self.covered), np.nan, beyond & (self.covered == 0.0))
