"""The profiled criterion of the random-intercept model, all trials of a block at once.

y = X beta + u_j + e with u_j ~ N(0, tau2), e ~ N(0, sigma2). With gamma = tau2/sigma2, n_j rows in cluster j and
cluster means z_j of the columns of [X y],

    M(gamma) = W + sum_j a_j z_j z_j',   a_j = n_j / (1 + n_j gamma)

is [X y]'H^-1[X y] as a sum of non-negative terms (W: pooled within-cluster cross-products), so nothing cancels when
gamma is large. Clusters of one size share a_j: their z_j z_j' are summed once, and every evaluation runs over sizes.

The profiled criterion is f(gamma) = (1/2)[nu log q + log|C| + sum_j log(1 + n_j gamma)], where C is the X block of M
and q the residual sum of squares; nu = N - p under REML; under ML nu = N and log|C| is left out (Bates et al. 2015,
doi:10.18637/jss.v067.i01, section 3.4, for one scalar random effect).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats, in_order
from simtrial.core import compiled
from simtrial.kernels.small_matrices import apply, eliminate, multiply, pairs, quadratic, sweep, trace_product, unpack


@dataclass(frozen=True, kw_only=True)
class SizeSums:
    """Cross-products of cluster means, summed over clusters of one size (slots), with pooled within-cluster products.

    Attributes
    ----------
    sizes, counts
        (slots, trials): number of rows of a cluster, and how many clusters of that size; sizes (slots, 1) when the
        slots are the same sizes in every trial.
    between
        (slots, K, trials): sums of z z' over the clusters of a slot, packed, K = q(q+1)/2.
    within
        (K, trials): pooled within-cluster cross-products, packed.
    regressors
        p; the last column of q = p + 1 is the response.
    rows, rank
        (trials,): rows N and rank of X.
    dropped
        (p, trials): 1 where a column is left out; its products are 0 and its place in ``within`` holds a 1.
    """

    sizes: Floats
    counts: Floats
    between: Floats
    within: Floats
    regressors: int
    rows: Floats
    rank: Floats
    dropped: Floats

    @cached_property
    def plain(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Sizes, counts, between and within as the compiled kernels take them: sums of a trial together, by slot."""
        sizes, counts, within = in_order(self.sizes, self.counts, self.within)
        sums = self._by_trial.reshape(-1, len(within))
        return sizes, counts, sums if sums.strides[1] == sums.itemsize else np.ascontiguousarray(sums), within

    @property
    def _by_trial(self) -> Floats:
        """Between with trials first (trials, slots, K)."""
        return self.between.transpose(2, 0, 1)

    def take(self, trials: NDArray[np.intp]) -> SizeSums:
        """Return the sums of chosen trials, in the order given."""
        if self.between.strides[2] > self.between.strides[1]:  # as the compiled kernels have them, and so they stay
            return self._with(self._by_trial[trials].transpose(1, 2, 0), trials)
        return self._with(self.between[:, :, trials], trials)

    def _with(self, between: Floats, trials: NDArray[np.intp]) -> SizeSums:
        sizes = self.sizes if self.sizes.shape[1] == 1 else self.sizes[:, trials]
        return replace(
            self, sizes=sizes, counts=self.counts[:, trials], between=between,
            within=self.within[:, trials], rows=self.rows[trials], rank=self.rank[trials],
            dropped=self.dropped[:, trials],
        )  # fmt: skip

    def weighted(self, weights: Floats) -> Floats:
        """Sum of ``between`` over slots with weights (slots, trials): full matrices (q, q, trials)."""
        return unpack(np.einsum("skr,sr->kr", self.between, weights), self.regressors + 1)

    def products(self, gamma: Floats) -> Floats:
        """M(gamma) for every trial (q, q, trials); ``gamma`` (trials,)."""
        a = self.sizes / (1.0 + self.sizes * gamma)
        packed = self.within + np.einsum("skr,sr->kr", self.between, np.broadcast_to(a, self.counts.shape))
        return unpack(packed, self.regressors + 1)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The criterion f at one gamma per trial with two derivatives, and what they are made of.

    ``inverse`` is C^-1 (p, p, trials), ``coefficients`` (p, trials), ``rss`` q, ``rss1`` and ``rss2`` its derivatives,
    ``first`` and ``second`` the X blocks of dM/dgamma and d2M/dgamma2, ``log_sizes`` sum log(1 + n gamma).
    """

    value: Floats
    slope: Floats
    curvature: Floats
    inverse: Floats
    coefficients: Floats
    rss: Floats
    rss1: Floats
    rss2: Floats
    first: Floats
    log_determinant: Floats
    trace1: Floats
    trace2: Floats
    squares: Floats


def evaluate(sums: SizeSums, gamma: Floats, nu: Floats, reml: bool) -> Evaluation:
    """Evaluate f, f' and f'' at ``gamma`` (trials,); formulas in the head of the file, q = v'Mv, v = (-beta, 1)."""
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/random_intercept_criterion.c takes over
        found = blank_evaluation(sums.regressors, len(gamma))
        core.evaluate(*sums.plain, *in_order(gamma, nu), reml, *found)
        return evaluation_of(found)
    p = sums.regressors
    shrink = 1.0 / (1.0 + sums.sizes * gamma)
    a = np.broadcast_to(sums.sizes * shrink, sums.counts.shape)
    matrix = unpack(sums.within + np.einsum("skr,sr->kr", sums.between, a), p + 1)
    first, second = -sums.weighted(a**2), 2.0 * sums.weighted(a**3)
    inverse, coefficients, rest, log_determinant = sweep(matrix, p)
    beta, rss = coefficients[:, 0], rest[0, 0]
    v = np.concatenate([-beta, np.ones((1, beta.shape[1]))])
    moved = apply(first, v)
    rss1 = np.einsum("ir,ir->r", v, moved)
    rss2 = quadratic(v, second) - 2.0 * quadratic(moved[:p], inverse)
    change = multiply(inverse, first[:p, :p])
    trace1 = np.einsum("iir->r", change)
    trace2 = trace_product(inverse, second[:p, :p]) - trace_product(change, change)
    ones, squares = (sums.counts * a).sum(axis=0), (sums.counts * a**2).sum(axis=0)
    logs = -(sums.counts * np.log(shrink)).sum(axis=0)
    value = 0.5 * (nu * logarithm(rss) + logs + (log_determinant if reml else 0.0))
    slope = 0.5 * (nu * rss1 / rss + ones + (trace1 if reml else 0.0))
    curvature = 0.5 * (nu * (rss2 / rss - (rss1 / rss) ** 2) - squares + (trace2 if reml else 0.0))
    return Evaluation(
        value=value, slope=slope, curvature=curvature, inverse=inverse, coefficients=beta, rss=rss, rss1=rss1,
        rss2=rss2, first=first[:p, :p], log_determinant=log_determinant, trace1=trace1, trace2=trace2, squares=squares,
    )  # fmt: skip


def blank_evaluation(p: int, trials: int) -> tuple[Floats, ...]:
    """Arrays that the compiled kernels fill with an evaluation, in their order."""
    return (*np.empty((2, p, p, trials)), np.empty((p, trials)), *np.empty((10, trials)))


def evaluation_of(found: tuple[Floats, ...]) -> Evaluation:
    """The evaluation in these arrays."""
    inverse, first, beta, value, slope, curvature, rss, rss1, rss2, log_determinant, trace1, trace2, squares = found
    return Evaluation(
        value=value, slope=slope, curvature=curvature, inverse=inverse, coefficients=beta, rss=rss, rss1=rss1,
        rss2=rss2, first=first, log_determinant=log_determinant, trace1=trace1, trace2=trace2, squares=squares,
    )  # fmt: skip


def logarithm(rss: Floats) -> Floats:
    """Logarithm of q; NaN, and no warning, where rounding leaves less than 0 of a fit that is perfect at this gamma."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.log(rss))


NEARLY_PERFECT = 1e-4  # residual share of the response below which least squares are taken out first


def less_fitted(packed: Floats, beta: Floats) -> Floats:
    """Take X beta from the response in packed cross-products (K, ..., trials); ``beta`` (p, trials).

    Made once, so that what is left of a nearly perfect fit is not a difference of large sums at every evaluation.
    """
    p, new = len(beta), packed.copy()
    at = {pair: k for k, pair in enumerate(zip(*(part.tolist() for part in pairs(p + 1)), strict=True))}
    for i in range(p):
        for k in range(p):
            new[at[i, p]] -= beta[k] * packed[at[min(i, k), max(i, k)]]
    for i in range(p):
        new[at[p, p]] -= beta[i] * (packed[at[i, p]] + new[at[i, p]])
    new[at[p, p]] = np.maximum(new[at[p, p]], 0.0)
    return new


def nearly_perfect(sums: SizeSums, rss: Floats) -> Bools:
    """Whether least squares, which leave ``rss`` (trials,), leave little of the response (trials,)."""
    squares = sums.within[-1] + (sums.sizes * sums.between[:, -1]).sum(axis=0)
    return np.asarray(rss < NEARLY_PERFECT * squares)


def less_least_squares(sums: SizeSums) -> tuple[SizeSums, Floats]:
    """Take least squares from the response where they leave little of it; their coefficients, else 0 (p, trials)."""
    p, beta = sums.regressors, np.zeros_like(sums.dropped)
    near = np.flatnonzero(nearly_perfect(sums, eliminate(sums.products(np.zeros(len(sums.rows))), p)[1][0, 0]))
    if not len(near):
        return sums, beta
    own = sums.take(near)
    beta[:, near] = sweep(own.products(np.zeros(len(near))), p)[1][:, 0]
    between, within = sums.between.copy(), sums.within.copy()
    moved = less_fitted(np.ascontiguousarray(own.between.transpose(1, 0, 2)), beta[:, near])
    between[:, :, near], within[:, near] = moved.transpose(1, 0, 2), less_fitted(own.within, beta[:, near])
    return replace(sums, between=between, within=within), beta


def slope_at_zero(sums: SizeSums, nu: Floats, reml: bool) -> Floats:
    """f'(0) of every trial, whose sign decides whether gamma = 0 is a minimum (trials,)."""
    p = sums.regressors
    sizes = np.broadcast_to(sums.sizes, sums.counts.shape)
    inverse, coefficients, rest, _ = sweep(sums.products(np.zeros(len(nu))), p)
    first = -sums.weighted(sizes**2)
    v = np.concatenate([-coefficients[:, 0], np.ones((1, len(nu)))])
    slope = nu * quadratic(v, first) / rest[0, 0] + (sums.counts * sizes).sum(axis=0)
    return np.asarray(0.5 * (slope + (trace_product(inverse, first[:p, :p]) if reml else 0.0)))
