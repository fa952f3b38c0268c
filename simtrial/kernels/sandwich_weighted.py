"""Weighted least squares with one weight per cluster, and its cluster-robust inference under independent errors.

The weights say what a cluster counts, not how variable it is, so the working model behind CR2 and its degrees of
freedom is that of independent errors with one variance: Phi = I in Pustejovsky and Tipton (2018,
doi:10.1080/07350015.2016.1247004). With M = (sum w_j X_j'X_j)^-1 and Q = sum w_j^2 X_j'X_j,

    B_j = I - 2 w_j X_j M X_j' + X_j M Q M X_j',     A_j = B_j^(-1/2) for CR2, (I - w_j X_j M X_j')^-1 for CR3,

and all of it happens inside the span of X_j, in the bases of `simtrial.kernels.sandwich`.
"""

from __future__ import annotations

import numpy as np

from simtrial.arrays import Floats
from simtrial.kernels.sandwich import POWERS, Correction, Leverage, matrix_power


def cross_products(rows: Floats, responses: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """X'WX (p, p, trials) and X'WY (p, responses, trials).

    Parameters
    ----------
    rows, responses
        R_j (trials, positions, k, p) and U_j'Y_j (trials, positions, k, responses).
    weight
        w_j (trials, positions), 0 where there is no cluster.
    """
    trials, p = rows.shape[0], rows.shape[-1]
    turned = (rows * weight[:, :, None, None]).reshape(trials, -1, p).transpose(0, 2, 1)
    return (
        (turned @ rows.reshape(trials, -1, p)).transpose(1, 2, 0),
        (turned @ responses.reshape(trials, -1, responses.shape[-1])).transpose(1, 2, 0),
    )


def leverage(rows: Floats, inverse: Floats, contrast: Floats, correction: Correction, weight: Floats) -> Leverage:
    """Adjust every cluster for its leverage; ``inverse`` M (p, p, trials), ``contrast`` l (p, trials)."""
    trials, positions, k, p = rows.shape
    m = np.ascontiguousarray(inverse.transpose(2, 0, 1))
    flat = rows.reshape(trials, -1, p)
    q = (rows * (weight**2)[:, :, None, None]).reshape(trials, -1, p).transpose(0, 2, 1) @ flat
    sandwiched = m @ q @ m
    moved, spread = ((flat @ matrix).reshape(rows.shape) for matrix in (m, sandwiched))
    hat, square = (np.einsum("tcip,tcjp->ijtc", part, rows) for part in (moved, spread))
    identity = np.eye(k)[:, :, None, None]
    rest = identity - 2.0 * weight * hat + square if correction == "CR2" else identity - weight * hat
    adjust, singular = matrix_power(rest, POWERS[correction])
    along = (moved.reshape(trials, -1, p) @ contrast.T[:, :, None]).reshape(trials, positions, k)
    weights = weight[:, :, None] * along
    if correction != "CR0":
        weights = np.einsum("ijtc,tcj->tci", adjust, weights)
    return Leverage(weights, _degrees(rows, weights, weight, m, sandwiched), np.asarray(singular.any(axis=-1)))


def _degrees(rows: Floats, weights: Floats, weight: Floats, m: Floats, sandwiched: Floats) -> Floats:
    """Satterthwaite df: (tr P)^2 / tr PP, P_ij = [i = j] |v_i|^2 - (w_i + w_j) h_i'M h_j + h_i'M Q M h_j."""
    h = np.einsum("tck,tckp->tcp", weights, rows)
    turned = h.transpose(0, 2, 1)
    p = (h @ sandwiched) @ turned - (weight[:, :, None] + weight[:, None, :]) * ((h @ m) @ turned)
    at = np.arange(p.shape[1])
    p[:, at, at] += np.einsum("tck,tck->tc", weights, weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.einsum("tcc->t", p) ** 2 / np.einsum("tcd,tcd->t", p, p))
