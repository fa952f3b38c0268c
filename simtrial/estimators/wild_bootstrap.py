"""Wild cluster bootstrap: whole practices change the sign of their residuals, with the null hypothesis imposed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.arrays import Floats
from simtrial.batch import ObservedBatch
from simtrial.core import compiled
from simtrial.estimators import Estimates, Method, register, report, rounding_variance
from simtrial.estimators.ols import covariance
from simtrial.estimators.randomisation_test import stream_of
from simtrial.flags import BIT
from simtrial.kernels.small_matrices import sweep
from simtrial.moments.moments import Moments

WEBB = np.sqrt(np.array([0.5, 1.0, 1.5]))
DRAWS_AT_ONCE = 50
TIE = 1e-9  # squared statistics this close are equal
EXACT = 1e-12  # scores this small, relative to the largest, are zero
DOUBLINGS, BISECTIONS = 40, 45
OF_ARM = np.array([[0.0, 1.0], [1.0, 0.0]])  # outcome, then arm, of arm and outcome


@register("wild-bootstrap")
class WildBootstrap(Method):
    """Least squares with a bootstrap-t test and the interval of effects it does not reject.

    Cameron, Gelbach and Miller (2008, doi:10.1162/rest.90.3.414), with the null imposed and t by CR1. ``distribution``
    webb has six points (Webb 2023, doi:10.1111/caje.12661), for fewer than 12 practices.
    """

    draws: ClassVar[bool] = True
    t_interval: ClassVar[bool] = False

    kind: Literal["wild-bootstrap"] = "wild-bootstrap"
    replays: int = Field(999, ge=19, le=100_000, alias="draws", description="bootstrap samples of each trial")
    distribution: Literal["rademacher", "webb"] = Field("rademacher", description="multipliers of residuals")
    p: Literal["symmetric", "equal-tailed"] = Field("symmetric", description="kind of p-value")

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Fit by least squares; test and interval from the same multipliers for every effect tried."""
        generator = stream_of(moments) if rng is None else rng
        estimate = moments.least_squares.coefficients[-1, 0]
        variance = covariance(moments, None, "CR1", "normal")[0][0, 0]
        flat = ~moments.failed & ~(variance > rounding_variance(moments))
        failed = moments.failed | flat
        trials, most = moments.basis.shape[:2]
        shape = (self.replays, trials, most)
        boot = bootstrap(moments, multipliers(generator, shape, self.distribution), OF_ARM)
        clusters = moments.clusters
        factor = np.where(clusters > 1, clusters / np.maximum(clusters - 1, 1), 1.0)
        test = Test(boot, estimate, np.where(failed, 1.0, variance / factor), self.p == "equal-tailed")
        p_value, ends = test.p_value(np.zeros(trials)), test.interval(1.0 - self.level)
        flags = moments.flags | np.where(flat, BIT["constant_outcome"], 0)
        flags |= np.where(np.isinf(ends).any(axis=0) & ~failed, BIT["unbounded_interval"], 0)
        made = report(
            moments, (self.target,), estimate[None], variance[None], np.full((1, trials), np.inf), self.level,
            failed=failed, flags=flags, extras={},
        )  # fmt: skip
        lower, upper, p_value = (np.where(made.failed, np.nan, x)[None] for x in (*ends, p_value))
        return replace(made, ci_lower=lower, ci_upper=upper, p_value=p_value)


def multipliers(rng: np.random.Generator, shape: tuple[int, int, int], distribution: str) -> NDArray[np.float32]:
    """Draws of mean 0 and variance 1 (draws, trials, positions): +1 or -1, or Webb's six points."""
    sign = rng.integers(0, 2, shape, dtype=np.int8).astype(np.float32) * 2 - 1
    if distribution == "webb":
        sign *= WEBB.astype(np.float32)[rng.integers(0, 3, shape, dtype=np.int8)]
    return sign


@dataclass(frozen=True)
class Bootstrap:
    """What the bootstrap statistic at effect d is made of, (draws, trials) each.

    Numerator ``y`` - d ``a``; variance without its factor ``yy`` - 2 d ``ya`` + d^2 ``aa``.
    """

    y: Floats
    a: Floats
    yy: Floats
    ya: Floats
    aa: Floats


def bootstrap(moments: Moments, drawn: NDArray[np.floating], pair: Floats = OF_ARM) -> Bootstrap:
    """Refit every bootstrap sample from cluster scores.

    Residuals restricted to effect d are e_y - d e_a, those of outcome and arm from the covariates alone. With
    v_j multipliers and M = (X'X)^-1 the sample's coefficients are M sum_k v_k X_k'e_k, and the score of cluster j
    for the arm is v_j l'M X_j'e_j - l'M X_j'X_j M sum_k v_k X_k'e_k: both linear in d.

    Parameters
    ----------
    drawn
        v (draws, trials, positions).
    pair
        What stands for outcome and arm, as sums of arm and responses (2, 1 + responses).
    """
    p, x, used = moments.regressors, moments.basis, pair.shape[1]
    coefficients = sweep(moments.gram[: p - 1 + used, : p - 1 + used], p - 1)[1]
    every = np.concatenate([x[..., p - 1 :], moments.responses[..., : used - 1]], axis=-1)
    rest = (every - np.einsum("tckp,prt->tckr", x[..., : p - 1], coefficients)) @ pair.T
    inverse = np.ascontiguousarray(moments.least_squares.inverse.transpose(2, 0, 1))
    scores = np.einsum("tckp,tckr->trcp", x, rest) @ inverse[:, None]
    side = np.einsum("tck,tckp->tcp", np.einsum("tckp,tp->tck", x, inverse[:, :, -1]), x)
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/wild_bootstrap.c takes over
        made = np.empty((5, *drawn.shape[:2]))
        core.refit(np.ascontiguousarray(drawn, np.float32), *map(np.ascontiguousarray, (scores, side)), *made)
        return Bootstrap(*made)
    parts = [_refit(drawn[at : at + DRAWS_AT_ONCE], scores, side) for at in range(0, len(drawn), DRAWS_AT_ONCE)]
    return Bootstrap(*(np.concatenate(several) for several in zip(*parts, strict=True)))


def _refit(drawn: NDArray[np.floating], scores: Floats, side: Floats) -> tuple[Floats, ...]:
    """Parts of the statistic for some draws, from M X_j'e_j (trials, 2, positions, p) and l'M X_j'X_j."""
    v = np.asarray(drawn.transpose(1, 0, 2), dtype=np.float64)
    coefficients = [v @ scores[:, r] for r in (0, 1)]  # (trials, draws, p)
    own = [v * scores[:, r, None, :, -1] for r in (0, 1)]
    y, a = (own[r] - coefficients[r] @ side.transpose(0, 2, 1) for r in (0, 1))
    effects = [coefficients[r][..., -1] for r in (0, 1)]
    # Signs that are alike in each arm leave no residual of arm, and with few practices some leave nothing of the
    # outcome either; exactly none, or effects far out would be misjudged, and 0/0 would be any number.
    for each, effect, score in ((y, effects[0], own[0]), (a, effects[1], own[1])):
        largest = np.abs(score).max(axis=-1)
        each[np.abs(each) <= EXACT * largest[..., None]] = 0.0
        effect[np.abs(effect) <= EXACT * largest] = 0.0
    pairs = ((y, y), (y, a), (a, a))
    squares = [np.einsum("tdc,tdc->dt", one, other) for one, other in pairs]
    return effects[0].T, effects[1].T, *squares


@dataclass(frozen=True)
class Test:
    """The bootstrap-t test of any effect: ``estimate`` and ``variance`` (trials,), without the factor of CR1."""

    boot: Bootstrap
    estimate: Floats
    variance: Floats
    equal_tailed: bool

    def p_value(self, effect: Floats) -> Floats:
        """P-value of an effect (trials,).

        t and t* are compared as t |t|, so that no root is taken, and 1 is added to both counts for the trial itself.
        """
        boot, count = self.boot, 1 + len(self.boot.y)
        numerator = boot.y - effect * boot.a
        spread = boot.yy - effect * (2.0 * boot.ya - effect * boot.aa)
        numerator = numerator * np.abs(numerator) * self.variance
        distance = self.estimate - effect
        own = distance * np.abs(distance) * np.maximum(spread, 0.0)
        slack = TIE * np.abs(own)
        if not self.equal_tailed:
            return np.asarray((1 + (np.abs(numerator) >= np.abs(own) - slack).sum(axis=0)) / count)
        above = 1 + (numerator >= own - slack).sum(axis=0)
        below = 1 + (numerator <= own + slack).sum(axis=0)
        return np.asarray(np.minimum(2.0 * np.minimum(above, below) / count, 1.0))

    def interval(self, alpha: float) -> Floats:
        """Effects around the estimate that are not rejected (2, trials), by doubling outwards and bisection."""
        if (core := compiled()) is not None:  # here and nowhere else simtrial/core/wild_bootstrap.c takes over
            found, boot = np.empty((2, len(self.estimate))), self.boot
            parts = (boot.y, boot.a, boot.yy, boot.ya, boot.aa, self.estimate, self.variance)
            core.interval(*map(np.ascontiguousarray, parts), found, alpha, self.equal_tailed)
            return found
        ends = []
        for sign in (-1.0, 1.0):
            inner, outer = np.zeros_like(self.estimate), sign * 2.0 * np.sqrt(self.variance)
            still = np.ones(len(inner), dtype=bool)
            for _ in range(DOUBLINGS):
                still = still & (self.p_value(self.estimate + outer) > alpha)
                if not still.any():
                    break
                inner, outer = np.where(still, outer, inner), np.where(still, 2.0 * outer, outer)
            for _ in range(BISECTIONS):
                middle = 0.5 * (inner + outer)
                inside = self.p_value(self.estimate + middle) > alpha
                inner, outer = np.where(inside, middle, inner), np.where(inside, outer, middle)
            ends.append(np.where(still, sign * np.inf, self.estimate + 0.5 * (inner + outer)))
        return np.stack(ends)
