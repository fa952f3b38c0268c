"""Confidence sets of a ratio of two effects by resampling: tests that outcome - theta receipt has no arm effect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats
from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates
from simtrial.estimators.compliers.iv_means import ReducedForms
from simtrial.estimators.randomisation_test import FEW, replayed, residual_means
from simtrial.estimators.stated_allocation import stated
from simtrial.estimators.wild_bootstrap import Bootstrap, Test, bootstrap, multipliers
from simtrial.flags import BIT
from simtrial.generate.allocation.allocation import Allocation
from simtrial.kernels.anderson_rubin import Set
from simtrial.kernels.interval_sets import RAY, TWO_RAYS, WHOLE_LINE
from simtrial.kernels.inverted_test import linear, not_rejected, quartic
from simtrial.moments.moments import Moments

TOGETHER = 400_000  # draws of all trials in one pass: some tens of MB


def pair(assumed: float) -> Floats:
    """Outcome less an effect ``assumed`` on never-takers, arm (1 - d), then receipt: sums of arm, outcome, receipt."""
    return np.array([[-assumed, 1.0, assumed], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class Resampled:
    """Sets of every trial, their number of pieces and the p-value of no effect (trials,); what else is to be reported.

    ``failed`` has no set for a reason of its own, given in ``flags``.
    """

    found: Set
    pieces: Floats
    p_value: Floats
    failed: Bools
    flags: NDArray[np.int64]
    extras: Mapping[str, Floats]
    notes: Mapping[str, NDArray[np.str_]]

    def of(self, result: Estimates) -> Estimates:
        """The estimate with this set and test in place of Wald's."""
        failed = result.failed | self.failed
        found = self.found

        def blank(values: Floats) -> Floats:
            return np.where(failed, np.nan, values)

        lower, upper, p_value = result.ci_lower.copy(), result.ci_upper.copy(), result.p_value.copy()
        lower[0], upper[0], p_value[0] = found.lower, found.upper, self.p_value
        flags = result.flags | np.where(result.failed, 0, self.flags)
        flags |= np.where(~failed & np.isin(found.kind, (RAY, TWO_RAYS, WHOLE_LINE)), BIT["unbounded_interval"], 0)
        extras = {**result.extras, "pieces": self.pieces, **self.extras}
        return replace(
            result, estimate=blank(result.estimate), std_error=blank(result.std_error), df=blank(result.df),
            ci_lower=blank(lower), ci_upper=blank(upper), p_value=blank(p_value), failed=failed, flags=flags,
            extras={name: values if name == "n_unknown" else blank(values) for name, values in extras.items()},
            notes={**result.notes, **self.notes, "ci_type": np.where(failed, "", found.kind)},
        )  # fmt: skip


def of_reallocations(
    options: Allocation | None, draws: int, assumed: float, batch: ObservedBatch, moments: Moments,
    unfit: Bools, alpha: float, rng: np.random.Generator,
) -> Resampled:  # fmt: skip
    """Invert the randomisation test of practice means: |Y_b - theta D_b| >= |Y - theta D| in re-allocation b.

    Y and D are the differences of the arms in unweighted practice means of what covariates leave of outcome and
    receipt. ``unfit`` trials are not analysed.
    """
    basis, trials = stated(options, batch), moments.trials
    flags: NDArray[np.int64] = np.where(basis.known, 0, BIT["no_allocation"])
    flags = flags | np.where(basis.impossible, BIT["impossible_allocation"], 0)
    able = np.flatnonzero(basis.known & ~unfit)
    made = _Sets(trials)
    allocations = np.full(trials, np.nan)
    if options is not None and len(able):
        both = pair(assumed) @ residual_means(moments)
        (y, d), drawn = replayed(options, draws, basis.columns, batch, moments, able, (both[0], both[1]), rng)
        own = np.abs(d) > 0.0
        theta = np.where(own, y / np.where(own, d, 1.0), 0.0)
        moved = drawn.y - theta * drawn.a
        tall, wide = (
            np.where(largest > 0.0, largest, 1.0)
            for largest in (np.where(drawn.there, np.abs(values), 0.0).max(axis=0) for values in (moved, drawn.a))
        )
        found, pieces = not_rejected(
            *linear(moved / tall, drawn.a / wide, np.where(own, 0.0, y) / tall, d / wide), drawn.there, alpha
        )
        made.enter(able, found, pieces, theta, tall / wide, drawn.p_value(y))
        allocations[able] = drawn.allocations()
    flags = flags | np.where(allocations < FEW, BIT["few_allocations"], 0)
    return made.resampled(~basis.known, flags, {"allocations": allocations}, basis.notes())


def of_samples(
    forms: ReducedForms, draws: int, distribution: str, assumed: float, moments: Moments, unfit: Bools, alpha: float,
    rng: np.random.Generator,
) -> Resampled:  # fmt: skip
    """Invert the wild cluster bootstrap of the reduced form: t of arm for outcome - theta receipt, by CR1.

    ``forms`` are the reduced forms with covariance CR1. Residuals keep the null: at every theta samples are drawn from
    outcome - theta receipt without an arm effect.
    """
    trials, most = moments.basis.shape[:2]
    boot = bootstrap(moments, multipliers(rng, (draws, trials, most), distribution), pair(assumed))
    clusters = moments.clusters
    factor = np.where(clusters > 1, clusters / np.maximum(clusters - 1, 1), 1.0)
    joint = np.where(unfit, np.eye(2)[:, :, None], forms.joint / factor)
    p_value = Test(boot, forms.outcome, joint[0, 0], False).p_value(np.zeros(trials))
    made, able = _Sets(trials), np.flatnonzero(~unfit)
    step = max(1, TOGETHER // draws)
    for first in range(0, len(able), step):
        own = able[first : first + step]
        rho, pi, v = forms.outcome[own], forms.receipt[own], joint[:, :, own]
        theta = rho / pi
        at = v[0, 0] - 2.0 * theta * v[0, 1] + theta**2 * v[1, 1]
        unit = np.sqrt(at) / np.abs(pi)
        found, pieces = not_rejected(*_scaled(boot, own, theta, unit, v, at), np.ones((draws, len(own)), bool), alpha)
        made.enter(own, found, pieces, theta, unit, p_value[own])
    return made.resampled(np.zeros(trials, dtype=bool), np.zeros(trials, dtype=np.int64), {}, {})


def _scaled(
    boot: Bootstrap, own: NDArray[np.intp], theta: Floats, unit: Floats, v: Floats, at: Floats
) -> tuple[Floats, Callable[[Floats], Bools]]:
    """The comparison of samples with the trial at theta + unit x, all divided by the standard error at theta."""
    y, a, yy, ya, aa = (getattr(boot, name)[:, own] for name in ("y", "a", "yy", "ya", "aa"))
    root = np.sqrt(at)

    def variance(outcome: Floats, both: Floats, receipt: Floats) -> Floats:
        constant = np.maximum(outcome - 2.0 * theta * both + theta**2 * receipt, 0.0)
        return np.stack([constant, 2.0 * unit * (theta * receipt - both), unit**2 * receipt]) / at

    return quartic((y - theta * a) / root, unit * a / root, variance(yy, ya, aa), variance(v[0, 0], v[0, 1], v[1, 1]))


class _Sets:
    """Sets of trials as they are made."""

    def __init__(self, trials: int) -> None:
        self.lower, self.upper, self.pieces, self.p_value = np.full((4, trials), np.nan)
        self.kind = np.full(trials, "", dtype="U10")

    def enter(
        self, at: NDArray[np.intp], found: Set, pieces: Floats, theta: Floats, unit: Floats, p_value: Floats
    ) -> None:
        """Enter the trials ``at``, whose sets are in units of ``unit`` around ``theta``."""
        self.lower[at], self.upper[at] = theta + unit * found.lower, theta + unit * found.upper
        self.kind[at], self.pieces[at], self.p_value[at] = found.kind, pieces, p_value

    def resampled(
        self, failed: Bools, flags: NDArray[np.int64], extras: Mapping[str, Floats],
        notes: Mapping[str, NDArray[np.str_]],
    ) -> Resampled:  # fmt: skip
        """All of them."""
        found = Set(self.lower, self.upper, self.kind)
        return Resampled(
            found=found,
            pieces=self.pieces,
            p_value=self.p_value,
            failed=failed,
            flags=flags,
            extras=extras,
            notes=notes,
        )
