"""The random-intercept model by its one-dimensional profile, all trials of a block at once.

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

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simtrial.kernels.symmetric import apply, eliminate, multiply, quadratic, sweep, trace_product, unpack

Floats = NDArray[np.float64]

GRID = np.array([0.0, 0.01, 0.03, 0.07, 0.15, 0.3, 0.6, 1.2, 3.0, 10.0, 100.0])
LONG_GRID = np.concatenate([GRID, 10.0 ** np.arange(3, 9)])
_SHIFT = 0.02  # Newton runs in log(gamma + shift): nearly quadratic both near 0 and far from it
_ITERATIONS = 60


@dataclass(frozen=True)
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

    def take(self, trials: NDArray[np.intp]) -> SizeSums:
        """Return the sums of chosen trials, in the order given."""
        sizes = self.sizes if self.sizes.shape[1] == 1 else self.sizes[:, trials]
        return SizeSums(
            sizes,
            self.counts[:, trials],
            self.between[:, :, trials],
            self.within[:, trials],
            self.regressors,
            self.rows[trials],
            self.rank[trials],
            self.dropped[:, trials],
        )

    def weighted(self, weights: Floats) -> Floats:
        """Sum of ``between`` over slots with weights (slots, trials): full matrices (q, q, trials)."""
        return unpack(np.einsum("skr,sr->kr", self.between, weights), self.regressors + 1)

    def products(self, gamma: Floats) -> Floats:
        """M(gamma) for every trial (q, q, trials); ``gamma`` (trials,)."""
        a = self.sizes / (1.0 + self.sizes * gamma)
        packed = self.within + np.einsum("skr,sr->kr", self.between, np.broadcast_to(a, self.counts.shape))
        return unpack(packed, self.regressors + 1)


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Fit:
    """A fitted random-intercept model per trial.

    ``gamma`` tau2/sigma2 (exactly 0 on the boundary), ``sigma2``, ``tau2``, ``deviance`` -2 log-likelihood (REML in the
    convention of lme4), ``converged`` (trials,); ``at`` the evaluation at the optimum; ``reml`` which criterion.
    """

    sums: SizeSums
    gamma: Floats
    sigma2: Floats
    deviance: Floats
    converged: NDArray[np.bool_]
    at: Evaluation
    nu: Floats
    reml: bool

    @property
    def tau2(self) -> Floats:
        """Between-cluster variance (trials,)."""
        return self.gamma * self.sigma2

    @cached_property
    def information(self) -> Information:
        """Expected information of the two variances at the fit."""
        return expected_information(self)


def evaluate(sums: SizeSums, gamma: Floats, nu: Floats, reml: bool) -> Evaluation:
    """Evaluate f, f' and f'' at ``gamma`` (trials,); formulas in the head of the file, q = v'Mv, v = (-beta, 1)."""
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
    value = 0.5 * (nu * np.log(rss) + logs + (log_determinant if reml else 0.0))
    slope = 0.5 * (nu * rss1 / rss + ones + (trace1 if reml else 0.0))
    curvature = 0.5 * (nu * (rss2 / rss - (rss1 / rss) ** 2) - squares + (trace2 if reml else 0.0))
    return Evaluation(
        value, slope, curvature, inverse, beta, rss, rss1, rss2, first[:p, :p], log_determinant, trace1, trace2, squares
    )


def profile(sums: SizeSums, grid: Floats, nu: Floats, reml: bool) -> Floats:
    """F on a grid of gamma common to all trials: (points, trials)."""
    rss, logs, log_determinant = grid_parts(sums, grid)
    return np.asarray(0.5 * (nu * np.log(rss) + logs + (log_determinant if reml else 0.0)))


def grid_parts(sums: SizeSums, grid: Floats) -> tuple[Floats, Floats, Floats]:
    """q, sum log(1 + n gamma) and log|C| on a grid of gamma common to all trials: each (points, trials)."""
    p, trials = sums.regressors, len(sums.rows)
    shrink = 1.0 / (1.0 + sums.sizes[None] * grid[:, None, None])
    a = sums.sizes[None] * shrink
    slots, packed = sums.between.shape[:2]
    if sums.sizes.shape[1] == 1:
        flat = a[:, :, 0] @ sums.between.reshape(slots, packed * trials)
        total = flat.reshape(len(grid), packed, trials) + sums.within
    else:
        total = np.einsum("gsr,skr->gkr", a, sums.between) + sums.within
    pivots, rest = eliminate(unpack(total.transpose(1, 0, 2), p + 1), p)
    logs = -np.einsum("sr,gsr->gr", sums.counts, np.broadcast_to(np.log(shrink), (len(grid), *sums.counts.shape)))
    return rest[0, 0], logs, np.log(pivots).sum(axis=0)


def fit(sums: SizeSums, reml: bool = True) -> Fit:
    """Fit every trial by REML or ML to the global optimum, gamma = 0 included.

    All minima bracketed by a grid are refined by safeguarded Newton steps and the lowest kept; gamma = 0 is a minimum
    exactly when f'(0) >= 0. Trials must have full rank X and nu > 0.
    """
    nu = sums.rows - sums.rank if reml else sums.rows
    gamma, converged = _optimum(sums, nu, reml, GRID)
    last = np.flatnonzero(gamma > 0.9 * GRID[-1])
    if len(last):
        gamma[last], converged[last] = _optimum(sums.take(last), nu[last], reml, LONG_GRID)
    at = evaluate(sums, gamma, nu, reml)
    deviance = 2.0 * at.value + nu * (1.0 + np.log(2.0 * np.pi / nu))
    return Fit(sums, gamma, at.rss / nu, deviance, converged, at, nu, reml)


def _optimum(sums: SizeSums, nu: Floats, reml: bool, grid: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the minimiser of f per trial and whether its refinement converged."""
    values = profile(sums, grid, nu, reml)
    falls = evaluate(sums, np.zeros(len(nu)), nu, reml).slope < 0.0
    gamma, best = np.zeros(len(nu)), np.where(falls, np.inf, values[0])
    converged = np.ones(len(nu), dtype=bool)
    rows, trials = _brackets(values, falls)
    if len(rows) == 0:
        return gamma, converged
    low, high = grid[np.maximum(rows - 1, 0)], grid[np.minimum(rows + 1, len(grid) - 1)]
    start = _parabola(values, grid, rows, trials)
    found, value, done = _refine(sums.take(trials), nu[trials], reml, low, high, start)
    order = np.argsort(-value, kind="stable")  # the lowest value is written last
    better = order[value[order] < best[trials[order]]]
    gamma[trials[better]], converged[trials[better]] = found[better], done[better]
    return gamma, converged


def _brackets(values: Floats, falls: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Grid rows that hold a local minimum between their neighbours, and their trials."""
    padded = np.concatenate([values[:1] + 1.0, values, values[-1:] + np.inf])
    padded[0] = np.where(falls, np.inf, -np.inf)  # the first row counts when f falls from 0
    low = (values <= padded[:-2]) & (values <= padded[2:])
    rows, trials = np.nonzero(low)
    return rows, trials


def _parabola(values: Floats, grid: Floats, rows: NDArray[np.intp], trials: NDArray[np.intp]) -> Floats:
    """Minimum of the parabola in log(gamma + shift) through three grid points around each row."""
    middle = np.clip(rows, 1, len(grid) - 2)
    u = np.log(grid + _SHIFT)
    x0, x1, x2 = u[middle - 1], u[middle], u[middle + 1]
    y0, y1, y2 = (values[middle + step, trials] for step in (-1, 0, 1))
    left, right = (x1 - x0) * (y1 - y2), (x1 - x2) * (y1 - y0)
    with np.errstate(invalid="ignore", divide="ignore"):
        vertex = x1 - 0.5 * ((x1 - x0) * left - (x1 - x2) * right) / (left - right)
    low, high = grid[np.maximum(rows - 1, 0)], grid[np.minimum(rows + 1, len(grid) - 1)]
    start = np.exp(vertex) - _SHIFT
    inside = (start > low) & (start < high)
    return np.where(inside, start, 0.5 * (low + high))


def _refine(
    sums: SizeSums, nu: Floats, reml: bool, low: Floats, high: Floats, start: Floats
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Newton steps kept inside a shrinking bracket; converged problems leave the batch."""
    found, value = start.copy(), np.full(len(start), np.inf)
    done = np.zeros(len(start), dtype=bool)
    active = np.arange(len(start))
    gamma, low, high = start.copy(), low.copy(), high.copy()
    for _ in range(_ITERATIONS):
        at = evaluate(sums, gamma, nu, reml)
        rising = at.slope > 0.0
        high, low = np.where(rising, gamma, high), np.where(rising, low, gamma)
        new = _step(gamma, at, low, high)
        small = np.abs(new - gamma) <= 1e-6 * (gamma + 1e-3)
        found[active], value[active] = new, at.value
        done[active] = small
        if small.all():
            break
        keep = ~small
        if keep.mean() < 0.7:
            sums, nu, active = sums.take(np.flatnonzero(keep)), nu[keep], active[keep]
            new, low, high = new[keep], low[keep], high[keep]
        gamma = new
    return found, value, done


def _step(gamma: Floats, at: Evaluation, low: Floats, high: Floats) -> Floats:
    """One Newton step in log(gamma + shift), or bisection where it would leave the bracket."""
    t = gamma + _SHIFT
    slope, curvature = t * at.slope, t * t * at.curvature + t * at.slope
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        step = np.clip(-slope / curvature, -1.5, 1.5)
        new = t * np.exp(step) - _SHIFT
    usable = (curvature > 0.0) & (new >= low) & (new <= high)
    return np.where(usable, new, 0.5 * (low + high))


@dataclass(frozen=True)
class Information:
    """Expected information of (tau2, sigma2), in units sigma2 = 1, and the matrices behind it.

    ``inverse`` (2, 2, trials) is w = I^-1; ``first`` the two P_i (p, p, trials) and ``second`` the three Q_ij of
    Kenward and Roger (1997, doi:10.2307/2533558), i, j in (tau2, sigma2); V is linear in both, so R_ij vanishes.
    """

    inverse: tuple[Floats, Floats, Floats]
    first: tuple[Floats, Floats]
    second: tuple[Floats, Floats, Floats]


def expected_information(fit: Fit) -> Information:
    """Expected REML (or ML) information of tau2 and sigma2, from sums over cluster sizes."""
    sums, p = fit.sums, fit.sums.regressors
    b = 1.0 / (1.0 + sums.sizes * fit.gamma)
    b = np.broadcast_to(b, sums.counts.shape)
    a = sums.sizes * b

    def block(weights: Floats) -> Floats:
        return sums.weighted(weights)[:p, :p]

    within = unpack(sums.within, p + 1)[:p, :p]
    within[np.arange(p), np.arange(p)] -= sums.dropped
    p_tau, p_sigma = block(a * a), within + block(a * b)
    q_tt, q_ts, q_ss = block(a**3), block(a * a * b), within + block(a * b * b)
    t_tt, t_ts = (sums.counts * a * a).sum(axis=0), (sums.counts * a * b).sum(axis=0)
    t_ss = (sums.counts * (sums.sizes - 1.0 + b * b)).sum(axis=0)
    if fit.reml:
        phi = fit.at.inverse
        h_tau, h_sigma = multiply(phi, p_tau), multiply(phi, p_sigma)
        t_tt = t_tt - 2.0 * trace_product(phi, q_tt) + trace_product(h_tau, h_tau)
        t_ts = t_ts - 2.0 * trace_product(phi, q_ts) + trace_product(h_tau, h_sigma)
        t_ss = t_ss - 2.0 * trace_product(phi, q_ss) + trace_product(h_sigma, h_sigma)
    i_tt, i_ts, i_ss = 0.5 * t_tt, 0.5 * t_ts, 0.5 * t_ss
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = i_tt * i_ss - i_ts**2
        inverse = (i_ss / determinant, -i_ts / determinant, i_tt / determinant)
    return Information(inverse, (p_tau, p_sigma), (q_tt, q_ts, q_ss))


def variance(fit: Fit, contrast: Floats) -> Floats:
    """Model variance of a contrast (p, trials) of the coefficients (trials,)."""
    return np.asarray(fit.sigma2 * quadratic(contrast, fit.at.inverse))


def expected_df(fit: Fit, contrast: Floats) -> Floats:
    """Satterthwaite df of a contrast with expected information; equals Kenward and Roger's df for one contrast."""
    w_tt, w_ts, w_ss = fit.information.inverse
    g = apply(fit.at.inverse, contrast)
    u_tau, u_sigma = (quadratic(g, matrix) for matrix in fit.information.first)
    spread = w_tt * u_tau**2 + 2.0 * w_ts * u_tau * u_sigma + w_ss * u_sigma**2
    return np.asarray(2.0 * quadratic(contrast, fit.at.inverse) ** 2 / spread)


def observed_df(fit: Fit, contrast: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Satterthwaite df with observed information (lmerTest's), N - p on the boundary.

    Returns
    -------
    df, definite
        (trials,), and where the observed information was positive definite; elsewhere df is that of
        ``expected_df``.
    """
    at, nu = fit.at, fit.nu
    g = apply(at.inverse, contrast)
    value = fit.sigma2 * quadratic(contrast, at.inverse)
    by_gamma = -fit.sigma2 * quadratic(g, at.first)
    h11, h12 = nu, -at.rss1 / fit.sigma2
    h22 = at.rss2 / fit.sigma2 - at.squares
    if fit.reml:
        h22 = h22 + at.trace2
    determinant = h11 * h22 - h12**2
    spread = (h22 * value**2 - 2.0 * h12 * value * by_gamma + h11 * by_gamma**2) / determinant
    boundary = fit.gamma == 0.0
    definite = (determinant > 0.0) | boundary
    df = np.where(definite, value**2 / spread, expected_df(fit, contrast))
    return np.where(boundary, nu, df), definite


def kenward_roger_variance(fit: Fit, contrast: Floats) -> Floats:
    """Kenward and Roger's adjusted variance of a contrast (trials,), c'(Phi + 2 Phi Lambda Phi)c."""
    info, phi = fit.information, fit.at.inverse
    g = apply(phi, contrast)
    moved = [apply(matrix, g) for matrix in info.first]
    total = np.zeros(len(fit.gamma))
    for weight, second, i, j in zip(info.inverse, info.second, (0, 0, 1), (0, 1, 1), strict=True):
        part = quadratic(g, second) - np.einsum("ir,ijr,jr->r", moved[i], phi, moved[j])
        total += (2.0 if i != j else 1.0) * weight * part
    return np.asarray(fit.sigma2 * (quadratic(contrast, phi) + 2.0 * total))
