"""The random-intercept model whose variances differ by arm: its likelihood, derivatives and information.

y = X beta + u_j + e with u_j ~ N(0, t_a) and e ~ N(0, s_a) in arm a. The four variances are theta = (s_0, s_1, t_0,
t_1), control first. With n_j rows in cluster j and cluster means z_j of the columns of [X y],

    M(theta) = sum_a [W_a / s_a + sum_j w_j z_j z_j'],   w_j = n_j / (s_a + n_j t_a)

is [X y]'V^-1[X y] as a sum of non-negative terms (W_a: within-cluster products of the arm). Derivatives of w_j are
-w^2/n and -w^2 by s and t, then 2w^3/n^2, 2w^3/n and 2w^3. The criterion is log|V| + log|C| + q, C the X block of M and
q the residual sum of squares, without log|C| under ML; -2 log-likelihood less a constant.

V is linear in theta and all its derivatives commute within a cluster, so the expected information is half the negative
second derivative of log|V| + log|C| (Searle, Casella and McCulloch 1992, doi:10.1002/9780470316856, chapter 6).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats, Ints
from simtrial.kernels.random_intercept_criterion import less_fitted
from simtrial.kernels.segments import count_by, sum_by
from simtrial.kernels.small_matrices import apply, pairs, quadratic, sweep, unpack

PLACES = ((0, 2), (1, 3))
"""Where s_a and t_a of each arm stand in theta."""


@dataclass(frozen=True)
class ArmSums:
    """Cross-products of cluster means over clusters of one arm and size (slots), with pooled within-cluster products.

    Attributes
    ----------
    sizes, counts
        (arms, trials, slots): rows of a cluster, 1 in empty slots, and how many clusters of that size.
    between
        (arms, trials, K, slots): sums of z z', packed, K = q(q+1)/2.
    within
        (arms, trials, K): within-cluster products, packed.
    regressors
        p; the last column of q = p + 1 is the response.
    rank
        (trials,): rank of X.
    dropped
        (p, trials): 1 where a column is left out; its products are 0.
    """

    sizes: Floats
    counts: Floats
    between: Floats
    within: Floats
    regressors: int
    rank: Floats
    dropped: Floats

    def take(self, trials: Ints) -> ArmSums:
        """Return the sums of chosen trials, in the order given."""
        return replace(
            self, sizes=self.sizes[:, trials], counts=self.counts[:, trials], between=self.between[:, trials],
            within=self.within[:, trials], rank=self.rank[trials], dropped=self.dropped[:, trials],
        )  # fmt: skip

    @property
    def arrays(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """The sums as the compiled kernels take them."""
        ordered = np.ascontiguousarray
        return (
            ordered(self.sizes), ordered(self.counts), ordered(self.between), ordered(self.within),
            ordered(self.dropped),
        )  # fmt: skip

    @cached_property
    def clusters(self) -> Floats:
        """Clusters of each arm (arms, trials)."""
        return np.asarray(self.counts.sum(axis=-1))

    @cached_property
    def people(self) -> Floats:
        """Rows of each arm (arms, trials)."""
        return np.asarray((self.counts * self.sizes).sum(axis=-1))


def arm_sums(
    means: Floats, within: dict[tuple[int, int], Floats], treated: NDArray[np.bool_], sizes: Floats,
    cluster_trial: Ints, slot: Ints, kept: NDArray[np.bool_],
) -> ArmSums:  # fmt: skip
    """Sum over the clusters of each arm.

    Parameters
    ----------
    means
        Cluster means of X and the response (q, clusters).
    within
        Products of deviations in each cluster (clusters,) by pair of columns i <= j; absent ones are 0.
    treated, sizes, cluster_trial, slot
        Whether in the intervention arm, rows, trial and slot of each cluster (clusters,).
    kept
        Regressors that are not dropped (p, trials).
    """
    trials, slots = kept.shape[1], int(slot.max(initial=0)) + 1
    side = treated.astype(np.intp) * trials + cluster_trial
    key, packed = side * slots + slot, list(zip(*pairs(len(means)), strict=True))
    counts = count_by(key, 2 * trials * slots).reshape(2, trials, slots)
    total = sum_by(sizes, key, 2 * trials * slots).reshape(2, trials, slots)
    between, inside = np.empty((2, trials, len(packed), slots)), np.zeros((2, trials, len(packed)))
    for k, (i, j) in enumerate(packed):
        between[:, :, k] = sum_by(means[i] * means[j], key, 2 * trials * slots).reshape(2, trials, slots)
        if (i, j) in within:
            inside[:, :, k] = sum_by(within[i, j], side, 2 * trials).reshape(2, trials)
    return ArmSums(
        sizes=np.where(counts > 0, total / np.maximum(counts, 1.0), 1.0),
        counts=counts,
        between=between,
        within=inside,
        regressors=len(kept),
        rank=kept.sum(axis=0).astype(np.float64),
        dropped=(~kept).astype(np.float64),
    )


def less_least_squares(sums: ArmSums, beta: Floats) -> ArmSums:
    """Take X beta, beta (p, trials), from the response: what is left is else a difference of large sums every time."""
    between = less_fitted(np.ascontiguousarray(sums.between.transpose(2, 0, 3, 1)), beta)
    within = less_fitted(np.ascontiguousarray(sums.within.transpose(2, 0, 1)), beta)
    return replace(sums, between=between.transpose(1, 3, 0, 2).copy(), within=within.transpose(1, 2, 0).copy())


@dataclass(frozen=True)
class Evaluation:
    """The criterion at one theta per trial with two derivatives, trials last.

    ``value`` (trials,), ``slope`` (4, trials), ``curvature`` (4, 4, trials); ``inverse`` C^-1 (p, p, trials),
    ``coefficients`` (p, trials), ``first`` derivatives of C (4, p, p, trials); ``information`` expected, by REML or ML
    as fitted, ``restricted`` by REML (4, 4, trials); ``plain`` its part without the coefficients, that of ML.
    """

    value: Floats
    slope: Floats
    curvature: Floats
    inverse: Floats
    coefficients: Floats
    first: Floats
    information: Floats
    restricted: Floats
    plain: Floats


def products(sums: ArmSums, theta: Floats) -> Floats:
    """M(theta) for every trial (q, q, trials), with 1 for dropped columns; ``theta`` (4, trials)."""
    total = np.zeros(sums.within.shape[1:])
    for arm, (at_s, at_t) in enumerate(PLACES):
        s, t, n = theta[at_s][:, None], theta[at_t][:, None], sums.sizes[arm]
        total += (sums.between[arm] @ (n / (s + n * t))[:, :, None])[..., 0] + sums.within[arm] / s
    return _with_dropped(sums, unpack(total.T, sums.regressors + 1))


def _with_dropped(sums: ArmSums, matrix: Floats) -> Floats:
    diagonal = np.arange(sums.regressors)
    matrix[diagonal, diagonal] += sums.dropped
    return matrix


def log_determinant(sums: ArmSums, theta: Floats) -> Floats:
    """log|V| (trials,)."""
    total = np.zeros(theta.shape[1])
    for arm, (at_s, at_t) in enumerate(PLACES):
        s, t, n = theta[at_s], theta[at_t], sums.sizes[arm]
        total += (sums.people[arm] - sums.clusters[arm]) * np.log(s)
        total += (sums.counts[arm] * np.log(s[:, None] + n * t[:, None])).sum(axis=1)
    return total


def value(sums: ArmSums, theta: Floats, reml: bool) -> Floats:
    """The criterion alone (trials,)."""
    _, _, rest, log_c = sweep(products(sums, theta), sums.regressors)
    return np.asarray(log_determinant(sums, theta) + rest[0, 0] + (log_c if reml else 0.0))


def evaluate(sums: ArmSums, theta: Floats, reml: bool) -> Evaluation:
    """Evaluate the criterion and its derivatives at ``theta`` (4, trials); formulas in the head of the file."""
    p, trials = sums.regressors, theta.shape[1]
    matrix, first = _matrices(sums, theta)
    inverse, coefficients, rest, log_c = sweep(matrix, p)
    beta = coefficients[:, 0]
    v = np.concatenate([-beta, np.ones((1, trials))])
    weigh = _packed_weights(inverse, v)
    by_c, by_q = np.zeros((4, 4, trials)), np.zeros((4, 4, trials))  # <C^-1, C_ij> and v'M_ij v
    logs, logs2 = np.empty((4, trials)), np.zeros((4, 4, trials))
    for arm, (at_s, at_t) in enumerate(PLACES):
        s, t, n, count = theta[at_s][:, None], theta[at_t][:, None], sums.sizes[arm], sums.counts[arm]
        w = n / (s + n * t)
        slots = weigh @ sums.between[arm]  # (trials, 2, slots)
        inside = 2.0 * (weigh @ sums.within[arm][:, :, None])[..., 0] / s**3
        rest_rows = sums.people[arm] - sums.clusters[arm]
        for i, j, power in ((at_s, at_s, 2), (at_s, at_t, 1), (at_t, at_t, 0)):
            both = (slots @ (2.0 * w**3 / n**power)[:, :, None])[..., 0] + (inside if power == 2 else 0.0)
            by_c[i, j], by_q[i, j] = by_c[j, i], by_q[j, i] = both.T
            logs2[i, j] = logs2[j, i] = -(count * w * w / n**power).sum(axis=1)
        logs2[at_s, at_s] -= rest_rows / s[:, 0] ** 2
        logs[at_s] = rest_rows / s[:, 0] + (count * w / n).sum(axis=1)
        logs[at_t] = (count * w).sum(axis=1)
    change = np.einsum("ijr,ajkr->aikr", inverse, first[:, :p, :p])
    across = np.einsum("aijr,bjir->abr", change, change)
    steps = np.einsum("aijr,jr->air", first, v)
    slope_q = np.einsum("air,ir->ar", steps, v)
    curvature_q = by_q - 2.0 * np.einsum("air,ijr,bjr->abr", steps[:, :p], inverse, steps[:, :p], optimize=True)
    restricted, plain = -0.5 * (logs2 + by_c - across), -0.5 * logs2
    information = restricted if reml else plain
    slope = logs + slope_q + (np.einsum("aiir->ar", change) if reml else 0.0)
    total = log_determinant(sums, theta) + rest[0, 0] + (log_c if reml else 0.0)
    return Evaluation(
        value=total,
        slope=slope,
        curvature=curvature_q - 2.0 * information,
        inverse=inverse,
        coefficients=beta,
        first=first[:, :p, :p],
        information=information,
        restricted=restricted,
        plain=plain,
    )


def _matrices(sums: ArmSums, theta: Floats) -> tuple[Floats, Floats]:
    """M as in `products`, and its four first derivatives (4, q, q, trials)."""
    size, total = sums.regressors + 1, np.zeros(sums.within.shape[1:])
    first = np.empty((4, size, size, theta.shape[1]))
    for arm, (at_s, at_t) in enumerate(PLACES):
        s, t, n = theta[at_s][:, None], theta[at_t][:, None], sums.sizes[arm]
        w, inside = n / (s + n * t), sums.within[arm] / s
        made = sums.between[arm] @ np.stack([w, -w * w / n, -w * w], axis=-1)
        total += made[:, :, 0] + inside
        first[at_s] = unpack((made[:, :, 1] - inside / s).T, size)
        first[at_t] = unpack(made[:, :, 2].T, size)
    return _with_dropped(sums, unpack(total.T, size)), first


def _packed_weights(inverse: Floats, v: Floats) -> Floats:
    """What turns packed matrices A into tr(C^-1 A_X) and v'Av (trials, 2, K)."""
    rows, columns = pairs(len(v))
    twice = np.where(rows == columns, 1.0, 2.0)[:, None]
    padded = np.zeros((len(v), *v.shape))
    padded[:-1, :-1] = inverse
    return np.stack([padded[rows, columns] * twice, v[rows] * v[columns] * twice]).transpose(2, 0, 1)


def expected_df(at: Evaluation, contrast: Floats, tied: Floats, known: NDArray[np.bool_]) -> Floats:
    """Satterthwaite df of a contrast (p, trials) with expected information (trials,).

    ``tied`` (4, k) says which parameter each variance is; those not ``known`` (k, trials) are held where they are.
    """
    g = apply(at.inverse, contrast)
    spread = np.stack([quadratic(g, matrix) for matrix in at.first])
    by_parameter = np.einsum("ak,ar->rk", tied, spread) * known.T
    information = information_of(at.information, tied, known)
    with np.errstate(divide="ignore", invalid="ignore"):  # a dropped column has no spread
        solved = np.linalg.solve(information, by_parameter[:, :, None])[:, :, 0]
        return np.asarray(2.0 * quadratic(contrast, at.inverse) ** 2 / (by_parameter * solved).sum(axis=1))


def information_of(matrix: Floats, tied: Floats, known: NDArray[np.bool_]) -> Floats:
    """Information (4, 4, trials) in terms of the parameters (trials, k, k), the identity for those not known."""
    of = np.einsum("ak,abr,bl->rkl", tied, matrix, tied)
    return np.asarray(np.where(known.T[:, :, None] & known.T[:, None, :], of, np.eye(tied.shape[1])))
