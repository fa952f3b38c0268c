"""Fits of the random-intercept model to their global optimum, and small-sample inference from them.

The criterion is that of `simtrial.kernels.random_intercept_criterion`. Degrees of freedom: Fai and Cornelius (1996,
doi:10.1080/00949659608811740) by observed information, Kenward and Roger (1997, doi:10.2307/2533558) by expected
information, both from sums over cluster sizes; no matrix is larger than p.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats, in_order
from simtrial.core import compiled
from simtrial.kernels.random_intercept_criterion import Evaluation, SizeSums, less_least_squares, nearly_perfect
from simtrial.kernels.random_intercept_grid import XGrids
from simtrial.kernels.ratio_search import compiled_search, lowest
from simtrial.kernels.small_matrices import apply, multiply, quadratic, trace_product, unpack
from simtrial.kernels.within_basis import Turned, turned


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A fitted random-intercept model per trial.

    ``gamma`` tau2/sigma2 (exactly 0 on the boundary), ``sigma2``, ``tau2``, ``deviance`` -2 log-likelihood (REML in the
    convention of lme4), ``converged`` (trials,); ``at`` the evaluation at the optimum; ``reml`` which criterion;
    ``limit`` where nothing varies within clusters but what X explains, so that gamma is as good as infinite.
    Derivatives, and what is made of them, are of turned columns (`simtrial.kernels.within_basis`), ``inner`` their C^-1
    (p, p, trials).
    """

    turned: Turned
    gamma: Floats
    sigma2: Floats
    deviance: Floats
    converged: NDArray[np.bool_]
    at: Evaluation
    inner: Floats
    nu: Floats
    reml: bool
    limit: Bools

    def moved(self, beta: Floats) -> Fit:
        """The fit with coefficients (p, trials) added that the response was less."""
        return replace(self, at=replace(self.at, coefficients=self.at.coefficients + beta)) if beta.any() else self

    @property
    def tau2(self) -> Floats:
        """Between-cluster variance (trials,)."""
        return self.gamma * self.sigma2

    @property
    def sums(self) -> SizeSums:
        """Cross-products of the turned columns."""
        return self.turned.sums

    def weights(self, contrast: Floats) -> Floats:
        """C^-1 c of contrasts (p, ..., trials), in terms of the turned columns."""
        return np.asarray(np.einsum("ijr,j...r->i...r", self.inner, self.turned.contrast(contrast)))

    @cached_property
    def information(self) -> Information:
        """Expected information of the two variances at the fit."""
        return expected_information(self)


@np.errstate(divide="ignore", invalid="ignore")  # a trial that has no fit divides by 0 beside the others
def fit(sums: SizeSums, reml: bool = True, known: XGrids | None = None, flat_too: bool = True) -> Fit:
    """Fit every trial by REML or ML to the global optimum, gamma = 0 included.

    Trials must have full rank X and nu > 0. ``known`` as of `grid_parts`, of the same X and trials. With nu = 1 under
    REML the criterion is the same at every gamma, and its minimum one of rounding, which takes long to find. Callers
    that fail such trials need none: without ``flat_too`` it is not sought, and gamma is 0 or that of the limit.
    """
    if (quick := _fit_at_once(sums, reml, known, flat_too)) is not None:
        return quick
    sums, beta = less_least_squares(sums)
    nu = sums.rows - sums.rank if reml else sums.rows
    gamma, converged = np.zeros(len(nu)), np.ones(len(nu), dtype=bool)
    endless = np.zeros(len(nu), dtype=bool)
    several = np.flatnonzero(sums.counts.sum(axis=0) < sums.rows)  # else f is flat, and the model is OLS
    columns = turned(sums)
    if len(several):
        own = columns.sums if len(several) == len(nu) else columns.sums.take(several)
        plain = len(several) == len(nu) and not len(columns.trials)
        found = lowest(own, nu[several], reml, known if plain else None, flat_too)
        gamma[several], converged[several], endless[several] = found.gamma, found.converged, found.endless
    return fit_at(columns, gamma, nu, reml, converged, endless).moved(beta)


def _fit_at_once(sums: SizeSums, reml: bool, known: XGrids | None, flat_too: bool) -> Fit | None:
    """The same where the compiled search serves and no trial is special; else None."""
    nu = sums.rows - sums.rank if reml else sums.rows
    if compiled() is None or not len(nu) or (sums.counts.sum(axis=0) >= sums.rows).any():
        return None
    columns = turned(sums)
    found = None if len(columns.trials) else compiled_search(sums, nu, reml, known, flat_too)
    if found is None or found.optimum.endless.any() or nearly_perfect(sums, found.at_zero).any():
        return None
    best = found.optimum
    return _fitted(columns, best.gamma, nu, reml, best.converged, best.endless, (found.at, found.at.inverse))


def fit_at(columns: Turned, gamma: Floats, nu: Floats, reml: bool, converged: Bools, limit: Bools) -> Fit:
    """Fit of every trial at a given gamma.

    In the ``limit`` gamma -> infinity all of q is between clusters. sigma2 is then what makes the slope 0 at this
    gamma, -q' / (sum_j n_j / (1 + n_j gamma) + tr C^-1 C'), as a little variation within clusters would: tau2 comes to
    the residual variance of the cluster means, with its own degrees of freedom, and the likelihood is without bound.
    """
    return _fitted(columns, gamma, nu, reml, converged, limit, columns.evaluate(gamma, nu, reml))


def _fitted(
    columns: Turned, gamma: Floats, nu: Floats, reml: bool, converged: Bools, limit: Bools,
    evaluated: tuple[Evaluation, Floats],
) -> Fit:  # fmt: skip
    """The fit from the criterion ``evaluated`` at its gamma, and C^-1 of the turned columns."""
    at, inner = evaluated
    deviance = 2.0 * at.value + nu * (1.0 + np.log(2.0 * np.pi / nu))
    if limit.any():
        with np.errstate(divide="ignore", invalid="ignore"):  # 0/0 of trials outside the limit, which keep their q
            own = 2.0 * at.slope - nu * at.rss1 / at.rss
            between = -nu * at.rss1 / own
        at = replace(at, rss=np.where(limit, between, at.rss))
        deviance = np.where(limit, np.nan, deviance)
    return Fit(
        turned=columns, gamma=gamma, sigma2=at.rss / nu, deviance=deviance, converged=converged, at=at, inner=inner,
        nu=nu, reml=reml, limit=limit,
    )  # fmt: skip


def between_share(fit: Fit, contrast: Floats) -> Floats:
    """Share of a contrast's variance that is in proportion to tau2 (trials,): 0 where all is known within clusters."""
    g = fit.weights(contrast)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(-fit.gamma * quadratic(g, fit.at.first) / quadratic(contrast, fit.at.inverse))


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
    """Expected REML (or ML) information of tau2 and sigma2, from sums over cluster sizes.

    In the limit sigma2 is 0 and taken as known.
    """
    (p_tau, p_sigma, q_tt, q_ts, q_ss), entries = _information(fit)
    return Information(_inverted(fit, entries), (p_tau, p_sigma), (q_tt, q_ts, q_ss))


def _inverted(fit: Fit, entries: Sequence[Floats]) -> tuple[Floats, Floats, Floats]:
    """Inverse of the information, given and returned by its three entries (trials,)."""
    i_tt, i_ts, i_ss = entries
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = i_tt * i_ss - i_ts**2
        inverse = (i_ss / determinant, -i_ts / determinant, i_tt / determinant)
        if fit.limit.any():
            known = (1.0 / i_tt, np.zeros_like(i_tt), np.zeros_like(i_tt))
            w_tt, w_ts, w_ss = (np.where(fit.limit, one, other) for one, other in zip(known, inverse, strict=True))
            inverse = w_tt, w_ts, w_ss
    return inverse


def _information(fit: Fit) -> tuple[tuple[Floats, ...], tuple[Floats, ...]]:
    """P_tau, P_sigma, Q_tt, Q_ts and Q_ss (p, p, trials), and the three entries of the information (trials,)."""
    if (core := compiled()) is not None:  # simtrial/core/random_intercept_fit.c takes over
        p, trials = fit.sums.regressors, len(fit.gamma)
        matrices, entries = np.empty((5, p, p, trials)), np.empty((3, trials))
        given = in_order(fit.sums.dropped, fit.gamma, fit.inner)
        core.expected_information(*fit.sums.plain, *given, fit.reml, *matrices, entries)
        return tuple(matrices), tuple(entries)
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
        phi = fit.inner
        h_tau, h_sigma = multiply(phi, p_tau), multiply(phi, p_sigma)
        t_tt = t_tt - 2.0 * trace_product(phi, q_tt) + trace_product(h_tau, h_tau)
        t_ts = t_ts - 2.0 * trace_product(phi, q_ts) + trace_product(h_tau, h_sigma)
        t_ss = t_ss - 2.0 * trace_product(phi, q_ss) + trace_product(h_sigma, h_sigma)
    return (p_tau, p_sigma, q_tt, q_ts, q_ss), (0.5 * t_tt, 0.5 * t_ts, 0.5 * t_ss)


def variance(fit: Fit, contrast: Floats) -> Floats:
    """Model variance of a contrast (p, trials) of the coefficients (trials,)."""
    return np.asarray(fit.sigma2 * quadratic(contrast, fit.at.inverse))


@dataclass(frozen=True)
class SmallSample:
    """What the expected information says of one contrast: ``df``, and Kenward and Roger's ``variance`` (trials,)."""

    df: Floats
    variance: Floats


def small_sample(fit: Fit, contrast: Floats) -> SmallSample:
    """Satterthwaite df of a contrast (p, trials), which are Kenward and Roger's as well, and their adjusted variance.

    The variance is sigma2 c'(Phi + 2 Phi Lambda Phi)c with Phi = C^-1.
    """
    inverse, (u_tau, u_sigma), parts = _of_contrast(fit, fit.weights(contrast))
    plain, moved = quadratic(contrast, fit.at.inverse), np.zeros(len(fit.gamma))
    w_tt, w_ts, w_ss = inverse
    with np.errstate(divide="ignore", invalid="ignore"):  # a dropped column, or variances that are not identified
        spread = w_tt * u_tau**2 + 2.0 * w_ts * u_tau * u_sigma + w_ss * u_sigma**2
        for weight, part, times in zip(inverse, parts, (1.0, 2.0, 1.0), strict=True):
            moved += times * weight * part
        return SmallSample(2.0 * plain**2 / spread, fit.sigma2 * (plain + 2.0 * moved))


def _of_contrast(fit: Fit, g: Floats) -> tuple[tuple[Floats, Floats, Floats], Sequence[Floats], Sequence[Floats]]:
    """The inverse of the information, and for g = Phi c both g'P_i g and the three g'(Q_ij - P_i Phi P_j)g."""
    if (core := compiled()) is not None:  # here and in `_information` simtrial/core/random_intercept_fit.c takes over
        entries, shares, parts = (np.empty((count, len(fit.gamma))) for count in (3, 2, 3))
        given = in_order(fit.sums.dropped, fit.gamma, fit.inner, g)
        core.small_sample(*fit.sums.plain, *given, fit.reml, entries, shares, parts)
        return _inverted(fit, tuple(entries)), tuple(shares), tuple(parts)
    found = fit.information
    moved = [apply(matrix, g) for matrix in found.first]
    return found.inverse, [quadratic(g, matrix) for matrix in found.first], [
        quadratic(g, second) - np.einsum("ir,ijr,jr->r", moved[i], fit.inner, moved[j])
        for second, i, j in zip(found.second, (0, 0, 1), (0, 1, 1), strict=True)
    ]  # fmt: skip


def observed_df(fit: Fit, contrast: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Satterthwaite df with observed information (lmerTest's), N - p on the boundary.

    Returns
    -------
    df, definite
        (trials,), and where the observed information was positive definite; elsewhere, and in the limit, df is that
        of `small_sample`.
    """
    at, nu = fit.at, fit.nu
    g = fit.weights(contrast)
    value = fit.sigma2 * quadratic(contrast, at.inverse)
    by_gamma = -fit.sigma2 * quadratic(g, at.first)
    h11, h12 = nu, -at.rss1 / fit.sigma2
    h22 = at.rss2 / fit.sigma2 - at.squares
    if fit.reml:
        h22 = h22 + at.trace2
    determinant = h11 * h22 - h12**2
    spread = h22 * value**2 - 2.0 * h12 * value * by_gamma + h11 * by_gamma**2
    boundary = fit.gamma == 0.0
    definite = ((determinant > 0.0) & ~fit.limit) | boundary
    with np.errstate(divide="ignore", invalid="ignore"):  # nothing is known of a dropped column
        df = value**2 * determinant / spread
    if not definite.all():
        df = np.where(definite, df, small_sample(fit, contrast).df)
    return np.where(boundary, nu, df), definite
