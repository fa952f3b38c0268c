"""Cluster-robust covariances of several least-squares coefficients, and Hotelling's T-squared approximation to them.

HTZ of Pustejovsky and Tipton (2018, doi:10.1080/07350015.2016.1247004, section 3.2): under independent, homoscedastic
errors the covariance D of the q coefficients, standardised to mean I, is taken for a Wishart matrix with
eta = q(q + 1) / sum_st Var(D_st), so that (eta - q + 1)/eta times the Wald F has F(q, eta - q + 1). For one
coefficient these are Bell and McCaffrey's df.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simtrial.arrays import Bools, Floats
from simtrial.kernels import sandwich


@dataclass(frozen=True)
class Leverages:
    """Leverage-adjusted weights of several coefficients (terms, trials, positions, k), and leverage one (trials,)."""

    weights: Floats
    singular: Bools


def leverage(rows: Floats, inverse: Floats, at: list[int], kept: Bools, correction: sandwich.Correction) -> Leverages:
    """Adjust every cluster for its leverage; `simtrial.kernels.sandwich.leverage` for several coefficients at once.

    Parameters
    ----------
    rows, inverse
        R_j (trials, positions, k, p) and M (p, p, trials).
    at, kept
        Places of the coefficients, and where they were not dropped (terms, trials).
    """
    moved, rest = sandwich.hats(rows, inverse)
    weights = np.where(kept[:, :, None, None], moved[..., at].transpose(3, 0, 1, 2), 0.0)
    adjust, singular = sandwich.matrix_power(rest, sandwich.POWERS[correction])
    if correction != "CR0":
        weights = np.einsum("ijtc,stcj->stci", adjust, weights, optimize=True)
    return Leverages(weights, np.asarray(singular.any(axis=-1)))


def covariance(found: Leverages, rows: Floats, responses: Floats, beta: Floats) -> Floats:
    """Covariance of the coefficients (terms, terms, trials), without scalar factors.

    Parameters
    ----------
    rows, responses, beta
        R_j (trials, positions, k, p), U_j'y_j (trials, positions, k, 1), all coefficients (p, trials).
    """
    residual = responses[..., 0] - np.einsum("tckp,pt->tck", rows, beta, optimize=True)
    score = np.einsum("stck,tck->stc", found.weights, residual)
    return np.asarray(np.einsum("atc,btc->abt", score, score))


def hotelling(found: Leverages, rows: Floats, inverse: Floats, kept: Bools) -> tuple[Floats, Floats]:
    """Factor of the Wald F and its denominator df, (trials,) each; NaN where D has no definite mean.

    With g_sj = (I - H)_j'A_j X_j M c_s the covariances are Var(D_st) = sum_jk P_jk,ss P_jk,tt + P_jk,st P_jk,ts for
    P_jk,st = g_sj'g_tk = [j = k] w_sj'w_tj - h_sj'M h_tk, h = R_j'w: sums over j alone but for the last part, where
    those over pairs of clusters are products of S_st = sum_j h_sj h_tj'.
    """
    m = np.ascontiguousarray(inverse.transpose(2, 0, 1))
    q = kept.sum(axis=0).astype(np.float64)
    h = np.einsum("stck,tckp->stcp", found.weights, rows, optimize=True)
    moved = np.einsum("stcp,tpu->stcu", h, m, optimize=True)
    own = np.einsum("atck,btck->tcab", found.weights, found.weights)
    through = np.einsum("atcp,btcp->tcab", moved, h)
    root, definite = _inverse_root((own - through).sum(axis=1), kept)
    h, moved = (np.einsum("tab,btcp->atcp", root, x) for x in (h, moved))
    own, through = (np.einsum("tax,tcxy,tby->tcab", root, x, root, optimize=True) for x in (own, through))
    between = np.einsum("atcp,btcu->abtpu", moved, h, optimize=True)  # M S_st
    total = np.einsum("abtpu,batup->t", between, between) + np.einsum("abtpu,abtup->t", between, between)
    total += (_square(own - through) - _square(through)).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        eta = np.where(definite, q * (q + 1.0) / total, np.nan)
        df = eta - q + 1.0
        return np.where(df > 0, df / eta, np.nan), np.where(df > 0, df, np.nan)


def _square(products: Floats) -> Floats:
    """(tr P)^2 + tr(PP) of symmetric matrices (..., terms, terms)."""
    return np.asarray(np.einsum("...ss->...", products) ** 2 + (products**2).sum(axis=(-2, -1)))


def _inverse_root(matrix: Floats, kept: Bools) -> tuple[Floats, Bools]:
    """A^(-1/2) trial by trial (trials, terms, terms), dropped terms 1, and where A is definite."""
    finite = np.where(np.isfinite(matrix), matrix, 0.0) + np.eye(len(kept)) * ~kept.T[:, :, None]
    values, vectors = np.linalg.eigh(finite)
    definite = (values[:, 0] > sandwich.SINGULAR * values[:, -1]) & kept.any(axis=0)
    power = np.where(definite[:, None], values, 1.0) ** -0.5
    return np.einsum("tik,tk,tjk->tij", vectors, power, vectors), definite
