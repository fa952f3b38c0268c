"""Randomisation test: re-allocations by the trial's own algorithm give the null distribution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.arrays import Bools, Floats, Ints
from simtrial.batch import ObservedBatch
from simtrial.core import compiled
from simtrial.estimators import Estimates, Method, register, report
from simtrial.estimators.stated_allocation import stated
from simtrial.flags import BIT
from simtrial.generate.allocation.allocation import Allocation, allocate
from simtrial.kernels import random_intercept_fit
from simtrial.kernels.random_intercept_criterion import SizeSums
from simtrial.kernels.randomisation_interval import TIE, interval
from simtrial.kernels.small_matrices import pairs, sweep
from simtrial.moments.moments import Moments

ROWS = 400_000  # practices re-allocated in one pass: some tens of MB
FEW = 40  # distinct allocations below which a p-value of 0.05 is hardly reached


@register("randomisation-test")
class RandomisationTest(Method):
    """Compare the arms with re-allocations by the trial's own algorithm.

    The statistic is the unweighted difference of cluster means of residuals, from least squares on the covariates
    without arm; or the score of arm in the mixed model without it, the sum over the intervention arm of n_j r_j /
    (1 + n_j gamma), r_j mean residuals and gamma = tau2/sigma2 by REML. Practices without an analysed participant take
    part in the re-allocation.
    """

    draws: ClassVar[bool] = True
    t_interval: ClassVar[bool] = False

    kind: Literal["randomisation-test"] = "randomisation-test"
    replays: int = Field(999, ge=19, le=100_000, alias="draws", description="re-allocations of each trial")
    statistic: Literal["cluster-means", "score"] = Field(
        "cluster-means", description="difference of practice means, or score of arm in the mixed model without it"
    )
    allocation: Allocation | None = Field(
        None, description="how practices were allocated; default: [mechanism.allocation], or [allocation] of the file"
    )

    def reads(self) -> frozenset[str]:
        """Names of the observed columns the method needs, those of the allocation included."""
        return super().reads() | (self.allocation.reads() if self.allocation else frozenset())

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Re-allocate the practices of every trial that can be analysed, all draws of a pass together."""
        basis = stated(self.allocation, batch)
        columns, known = basis.columns, basis.known
        flags = moments.flags | np.where(known, 0, BIT["no_allocation"])
        flags = flags | np.where(basis.impossible, BIT["impossible_allocation"], 0)
        able = np.flatnonzero(known & ~moments.failed)
        found = _Results.empty(moments.trials)
        if self.allocation is not None and len(able):
            generator = stream_of(moments) if rng is None else rng
            score = self.statistic == "score"
            values = (_scores if score else residual_means)(moments)
            observed, drawn = replayed(
                self.allocation, self.replays, columns, batch, moments, able, (values[1], values[0]), generator, score
            )  # fmt: skip
            found.fill(able, observed, drawn, 1.0 - self.level)
        flags = flags | np.where(found.allocations < FEW, BIT["few_allocations"], 0)
        open_ended = np.isinf(found.ends).any(axis=0)
        flags = flags | np.where(open_ended, BIT["unbounded_interval"], 0)
        flat = known & ~moments.failed & np.isnan(found.estimate)
        flags = flags | np.where(flat, BIT["arm_aliased"], 0)
        alike = found.std_error == 0.0  # every re-allocation gives the same statistic, or its mirror image
        flags = flags | np.where(alike, BIT["too_few_clusters"], 0)
        failed = moments.failed | ~known | flat | alike
        made = report(
            moments, (self.target,), found.estimate[None], found.std_error[None] ** 2,
            np.full((1, moments.trials), np.inf), self.level, failed=failed, flags=flags,
            extras={"allocations": found.allocations},
        )  # fmt: skip
        lower, upper, p_value = (np.where(made.failed, np.nan, x)[None] for x in (*found.ends, found.p_value))
        return replace(made, ci_lower=lower, ci_upper=upper, p_value=p_value, notes=basis.notes())


def replayed(
    options: Allocation, draws: int, columns: Mapping[str, NDArray[Any]], batch: ObservedBatch, moments: Moments,
    able: Ints, values: tuple[Floats, Floats], rng: np.random.Generator, summed: bool = False,
) -> tuple[tuple[Floats, Floats], Drawn]:  # fmt: skip
    """Differences of two ``values`` of clusters as allocated, and in every re-allocation, of the trials ``able``.

    ``summed``: sums over the intervention arm in place of differences of means.
    """
    clusters = np.flatnonzero(np.isin(moments.cluster_trial, able))
    trial = np.searchsorted(able, moments.cluster_trial[clusters])
    starts = np.searchsorted(trial, np.arange(len(able)))
    y, a = (each[clusters] for each in values)
    mark = np.random.Generator(np.random.SFC64(2)).integers(1, 2**63, moments.analysed.most, dtype=np.uint64)
    marks = mark[moments.analysed.position[clusters]]
    practice = moments.analysed.cluster[clusters]
    own = _difference((batch.at("arm", "practice")[practice] == 1)[None], y, a, marks, starts, summed)
    parts = [
        _difference(arm, y, a, marks, starts, summed)
        for arm in _reallocated(options, draws, columns, batch.index.practice_trial, able, practice, rng)
    ]
    joined = Drawn(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("y", "a", "there", "scheme")))
    return (own.y[0], own.a[0]), joined


def stream_of(moments: Moments) -> np.random.Generator:
    """Stream for an analysis that is handed none, inside another method: another for every block of trials."""
    return np.random.Generator(np.random.SFC64([1, *moments.sizes.astype(np.int64).tolist()]))


@dataclass(frozen=True)
class Drawn:
    """Statistics of outcome and of arm (or receipt), ``y`` and ``a``, ``there`` where both arms are analysed.

    ``scheme`` are hashes of the re-allocations; (draws, trials) each.
    """

    y: Floats
    a: Floats
    there: Bools
    scheme: NDArray[np.uint64]

    def p_value(self, own: Floats) -> Floats:
        """Share of re-allocations, the trial's own among them, with an outcome as far from 0 as ``own`` (trials,)."""
        extreme = (self.there & (np.abs(self.y) >= np.abs(own) - TIE * self.largest(own))).sum(axis=0)
        return np.asarray((1 + extreme) / (1 + self.there.sum(axis=0)))

    def largest(self, own: Floats) -> Floats:
        """Largest statistic of the outcome (trials,)."""
        return np.asarray(np.maximum(np.where(self.there, np.abs(self.y), 0.0).max(axis=0), np.abs(own)))

    def allocations(self) -> Floats:
        """Distinct re-allocations and the trial's own (trials,)."""
        ordered = np.sort(np.where(self.there, self.scheme, np.uint64(0)), axis=0)
        return np.asarray(1.0 + (np.diff(ordered, axis=0) != 0).sum(axis=0) - (ordered[0] == 0))


@dataclass(frozen=True)
class _Results:
    """Results of the test for every trial (trials,), ``ends`` (2, trials)."""

    estimate: Floats
    std_error: Floats
    p_value: Floats
    ends: Floats
    allocations: Floats

    @classmethod
    def empty(cls, trials: int) -> _Results:
        """Empty results."""
        blank = np.full((6, trials), np.nan)
        return cls(estimate=blank[0], std_error=blank[1], p_value=blank[2], ends=blank[3:5], allocations=blank[5])

    def fill(self, able: Ints, observed: tuple[Floats, Floats], drawn: Drawn, alpha: float) -> None:
        """Enter the trials ``able``, whose ``observed`` statistics of outcome and arm are (trials,)."""
        y, a = observed
        usable = np.abs(a) > TIE
        estimate = y / np.where(usable, a, 1.0)
        count = drawn.there.sum(axis=0)
        moved = drawn.y - estimate * drawn.a  # statistics of the outcome less the estimated effect
        moved[np.abs(moved) <= TIE * drawn.largest(y)] = 0.0
        spread = (np.where(drawn.there, moved, 0.0) ** 2).sum(axis=0) / np.maximum(count, 1)
        ends = interval(moved, drawn.a, np.abs(a), drawn.there, alpha)
        self.estimate[able] = np.where(usable, estimate, np.nan)
        self.std_error[able] = np.sqrt(spread) / np.where(usable, np.abs(a), 1.0)
        self.p_value[able] = drawn.p_value(y)
        self.ends[:, able] = estimate + ends
        self.allocations[able] = drawn.allocations()


def residual_means(moments: Moments) -> Floats:
    """Cluster means of arm and of every response, each less its regression on the covariates (1 + r, clusters)."""
    return _rest(moments, moments.gram)


def _scores(moments: Moments) -> Floats:
    """Cluster scores of arm and of outcome (2, clusters) in the mixed model without arm: n_j r_j / (1 + n_j gamma).

    They add up to 0 in every trial, and are multiplied by 1 + gamma, which changes no comparison. The ratio of their
    sums over the intervention arm is the coefficient of arm by generalised least squares at that gamma.
    """
    p, trials, usable = moments.regressors, moments.trials, moments.usable
    gamma, weighted = np.zeros(trials), np.tile(np.eye(p + 1)[:, :, None], trials)
    if len(usable):
        sums = moments.size_sums()
        gamma[usable] = random_intercept_fit.fit(_without_arm(sums)).gamma
        weighted[:, :, usable] = sums.products(gamma[usable])
    own = gamma[moments.cluster_trial]
    weight = moments.sizes * (1.0 + own) / (1.0 + moments.sizes * own)  # near 1 however large gamma is
    return weight * _rest(moments, weighted)


def _without_arm(sums: SizeSums) -> SizeSums:
    """Leave the last regressor out of the model."""
    at = sums.regressors - 1
    rows, columns = pairs(sums.regressors + 1)
    gone = (rows == at) | (columns == at)
    between = np.where(gone[:, None], 0.0, sums.between)
    within = np.where(gone[:, None], ((rows == at) & (columns == at))[:, None] * 1.0, sums.within)
    dropped = sums.dropped.copy()
    dropped[at] = 1.0
    return replace(sums, between=between, within=within, rank=sums.rank - 1.0, dropped=dropped)


def _rest(moments: Moments, products: Floats) -> Floats:
    """Cluster means of arm and responses, less their regression on the covariates by ``products`` (q, q, trials)."""
    p = moments.regressors
    coefficients = sweep(products, p - 1)[1][:, :, moments.cluster_trial]
    fitted = np.einsum("krc,kc->rc", coefficients, moments.means[: p - 1])
    return np.asarray(moments.means[p - 1 : len(products)] - fitted)


def _reallocated(
    options: Allocation, draws: int, columns: Mapping[str, NDArray[Any]], practice_trial: Ints, able: Ints,
    practice: Ints, rng: np.random.Generator,
) -> Iterator[Bools]:  # fmt: skip
    """Re-allocate all practices of the trials ``able`` in passes; yield the arms of some practices (draws, rows)."""
    rows = np.flatnonzero(np.isin(practice_trial, able))
    trial = np.searchsorted(able, practice_trial[rows])
    place = np.searchsorted(rows, practice)
    per_row = options.candidates // 50 + 1 if options.method == "constrained" else 1
    most = max(1, ROWS // (len(rows) * per_row))
    for first in range(0, draws, most):
        times = min(most, draws - first)
        trials = (trial + len(able) * np.arange(times)[:, None]).ravel()
        tiled = {name: np.tile(values[rows], times) for name, values in columns.items()}
        arm = allocate(options, tiled, trials, rng).reshape(times, len(rows))
        yield arm[:, place] == 1


def _difference(arm: Bools, y: Floats, a: Floats, marks: NDArray[np.uint64], starts: Ints, summed: bool) -> Drawn:
    """Differences of cluster means between arms, or sums over one (draws, trials), from arms (draws, clusters)."""
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/randomisation_test.c takes over
        made, shape = np.empty((2, len(arm), len(starts))), (len(arm), len(starts))
        both, hashes = np.empty(shape, dtype=bool), np.empty(shape, dtype=np.int64)
        core.difference(np.ascontiguousarray(arm), y, a, marks.view(np.int64), starts, summed, *made, both, hashes)
        return Drawn(made[0], made[1], both, hashes.view(np.uint64))
    size = np.diff(starts, append=arm.shape[1])
    treated = np.add.reduceat(arm, starts, axis=1, dtype=np.float64)
    there = (treated > 0) & (treated < size)
    one, zero = np.where(there, treated, 1.0), np.where(there, size - treated, 1.0)
    found = []
    for values in (y, a):
        total = np.add.reduceat(values, starts)
        inside = np.add.reduceat(arm * values, starts, axis=1)
        found.append(np.where(there, inside if summed else inside / one - (total - inside) / zero, 0.0))
    scheme = np.add.reduceat(arm * marks, starts, axis=1)
    return Drawn(found[0], found[1], there, scheme)
