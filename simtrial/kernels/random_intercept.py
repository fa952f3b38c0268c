"""Fits of the random-intercept model to their global optimum, and small-sample inference from them.

The criterion is that of `simtrial.kernels.criterion`. Degrees of freedom: Fai and Cornelius (1996,
doi:10.1080/00949659608811740) by observed information, Kenward and Roger (1997, doi:10.2307/2533558) by expected
information, both from sums over cluster sizes; no matrix is larger than p.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simtrial.kernels.criterion import Evaluation, SizeSums, evaluate, profile, slope_at_zero
from simtrial.kernels.symmetric import Floats, apply, multiply, quadratic, trace_product, unpack

GRID = np.array([0.0, 0.02, 0.06, 0.15, 0.35, 0.8, 2.0, 10.0, 100.0])
LONG_GRID = np.concatenate([GRID, 10.0 ** np.arange(3, 9)])
_SHIFT = 0.02  # Newton runs in log(gamma + shift): nearly quadratic both near 0 and far from it
_ITERATIONS = 60


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
    alone = sums.counts.sum(axis=0) == sums.rows  # one row in every cluster: f is flat, and the model is OLS
    gamma[alone], converged[alone] = 0.0, True
    at = evaluate(sums, gamma, nu, reml)
    deviance = 2.0 * at.value + nu * (1.0 + np.log(2.0 * np.pi / nu))
    return Fit(sums, gamma, at.rss / nu, deviance, converged, at, nu, reml)


def _optimum(sums: SizeSums, nu: Floats, reml: bool, grid: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the minimiser of f per trial and whether its refinement converged."""
    values = profile(sums, grid, nu, reml)
    falls = slope_at_zero(sums, nu, reml) < 0.0
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
    start = np.exp(np.clip(vertex, -50.0, 50.0)) - _SHIFT
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
        small = np.abs(new - gamma) <= 3e-6 * (gamma + 1e-3)  # the error left is about its square
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
    with np.errstate(divide="ignore", invalid="ignore"):  # a dropped column, or variances that are not identified
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
    spread = h22 * value**2 - 2.0 * h12 * value * by_gamma + h11 * by_gamma**2
    boundary = fit.gamma == 0.0
    definite = (determinant > 0.0) | boundary
    with np.errstate(divide="ignore", invalid="ignore"):  # nothing is known of a dropped column
        df = value**2 * determinant / spread
    if not definite.all():
        df = np.where(definite, df, expected_df(fit, contrast))
    return np.where(boundary, nu, df), definite


def kenward_roger_variance(fit: Fit, contrast: Floats) -> Floats:
    """Kenward and Roger's adjusted variance of a contrast (trials,), c'(Phi + 2 Phi Lambda Phi)c."""
    info, phi = fit.information, fit.at.inverse
    g = apply(phi, contrast)
    moved = [apply(matrix, g) for matrix in info.first]
    total = np.zeros(len(fit.gamma))
    for weight, second, i, j in zip(info.inverse, info.second, (0, 0, 1), (0, 1, 1), strict=True):
        part = quadratic(g, second) - np.einsum("ir,ijr,jr->r", moved[i], phi, moved[j])
        with np.errstate(invalid="ignore"):  # variances that are not identified
            total += (2.0 if i != j else 1.0) * weight * part
    return np.asarray(fit.sigma2 * (quadratic(contrast, phi) + 2.0 * total))
