"""Cluster-robust variances of least squares, all clusters of a block at once, without any matrix larger than p.

In the orthonormal basis U_j of cluster j (`simtrial.kernels.cluster_basis`) X_j is R_j = U_j'X_j with 1 + w rows, and
with M = (X'X)^-1 = LL' and K_j = R_j M R_j' the leverage acts as H_j = U_j K_j U_j'. So CR2's
(I - H_j)^(-1/2) and CR3's (I - H_j)^-1 are (1 + w)-square matrices B_j (Bell and McCaffrey 2002; Pustejovsky and Tipton
2018, doi:10.1080/07350015.2016.1247004). Where an eigenvalue of I - K_j is zero (a cluster determines a coefficient
alone) the Moore-Penrose inverse is taken and the trial is flagged.

Clusters of a trial stand side by side here, trials first, with empty clusters (zero rows) up to the largest number:
then every product is one stacked matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats, in_order
from simtrial.core import compiled
from simtrial.kernels.cluster_basis import InBases
from simtrial.kernels.small_matrices import cholesky

Correction = Literal["CR0", "CR2", "CR3"]
POWERS: dict[Correction, float] = {"CR0": 0.0, "CR2": -0.5, "CR3": -1.0}

SINGULAR = 1e-9  # eigenvalues of I - K_j below this are zero


@dataclass(frozen=True)
class Leverage:
    """What a design makes of one contrast, whatever the responses.

    ``weights`` (trials, positions, k): B_j R_j M l, what the residuals U_j'e_j are weighted with; ``df`` Bell and
    McCaffrey's Satterthwaite df (trials,); ``singular`` (trials,) where some cluster has leverage one.
    """

    weights: Floats
    df: Floats
    singular: NDArray[np.bool_]


def leverage(rows: Floats, inverse: Floats, contrast: Floats, correction: Correction) -> Leverage:
    """Adjust every cluster for its leverage.

    Parameters
    ----------
    rows
        R_j (trials, positions, k, p).
    inverse, contrast
        M (p, p, trials) and l (p, trials).
    """
    trials, positions, k, p = rows.shape
    if k <= 2 and (core := compiled()) is not None:  # simtrial/core/sandwich.c takes over
        found = Leverage(np.empty((trials, positions, k)), np.empty(trials), np.empty(trials, dtype=bool))
        core.leverage(*in_order(rows, inverse, contrast), POWERS[correction], found.weights, found.df, found.singular)
        return found
    lower = cholesky(inverse, semidefinite=True)
    turned = (rows.reshape(trials, -1, p) @ lower.transpose(2, 0, 1)).reshape(rows.shape)
    moved = np.einsum("ijr,ir->rj", inverse, contrast)
    weights = (rows.reshape(trials, -1, p) @ moved[:, :, None]).reshape(trials, positions, k)
    adjust, singular = matrix_power(_rest(turned, turned), POWERS[correction])
    if correction != "CR0":
        weights = np.einsum("ijtc,tcj->tci", adjust, weights)
    return Leverage(weights, _bell_mccaffrey(turned, weights), np.asarray(singular.any(axis=-1)))


def leverage_in_bases(x: InBases, inverse: Floats, contrast: Floats, correction: Correction) -> Leverage:
    """Adjust every cluster for its leverage, as `leverage` does, from columns that need not be laid out."""
    if x.depth <= 2 and (core := compiled()) is not None:  # simtrial/core/sandwich.c takes over
        trials, rows = x.trials, x.rows
        weights = np.empty((trials, rows.most, x.depth))
        found = Leverage(weights, np.empty(trials), np.empty(trials, dtype=bool))
        core.leverage_in_bases(
            *in_order(x.means, rows.sizes, x.along), rows.cluster_trial, *in_order(inverse, contrast), _only(x),
            POWERS[correction], found.weights, found.df, found.singular,
        )  # fmt: skip
        return found
    return leverage(x.laid_out, inverse, contrast, correction)


def _only(x: InBases) -> int:
    """The column that varies within clusters, -1 without one."""
    return int(x.varies[0]) if len(x.varies) else -1


def hats(rows: Floats, inverse: Floats) -> tuple[Floats, Floats]:
    """R_j M (trials, positions, k, p), and I - K_j (k, k, trials, positions)."""
    m = np.ascontiguousarray(inverse.transpose(2, 0, 1))
    moved = (rows.reshape(len(rows), -1, rows.shape[-1]) @ m).reshape(rows.shape)
    return moved, _rest(moved, rows)


def _rest(one: Floats, other: Floats) -> Floats:
    """I less the symmetric products of rows inside clusters (k, k, trials, positions)."""
    trials, positions, k, _ = one.shape
    rest = np.empty((k, k, trials, positions))
    for i in range(k):
        for j in range(i, k):
            rest[i, j] = rest[j, i] = float(i == j) - np.einsum("tcp,tcp->tc", one[:, :, i], other[:, :, j])
    return rest


def variance(found: Leverage, rows: Floats, responses: Floats, coefficients: Floats) -> Floats:
    """Covariance matrix of the contrast over the responses (responses, responses, trials), without scalar factors.

    Parameters
    ----------
    rows, responses
        R_j (trials, positions, k, p) and U_j'Y_j (trials, positions, k, responses).
    coefficients
        Estimates (p, responses, trials).
    """
    trials, p = rows.shape[0], rows.shape[-1]
    if (core := compiled()) is not None:  # simtrial/core/sandwich_variance.c takes over
        out = np.empty((responses.shape[-1], responses.shape[-1], trials))
        core.variance(*in_order(found.weights, rows, responses, coefficients), out)
        return out
    beta = np.ascontiguousarray(coefficients.transpose(2, 0, 1))
    residual = responses - (rows.reshape(trials, -1, p) @ beta).reshape(responses.shape)
    score = np.einsum("tck,tckr->tcr", found.weights, residual)
    return np.asarray((score.transpose(0, 2, 1) @ score).transpose(1, 2, 0))


def variance_in_bases(found: Leverage, x: InBases, responses: InBases, coefficients: Floats) -> Floats:
    """Covariance of the contrast over the responses, as `variance` has it, from columns that need not be laid out."""
    if x.depth <= 2 and (core := compiled()) is not None:  # simtrial/core/sandwich_variance.c takes over
        count, rows = len(responses.means), x.rows
        out = np.empty((count, count, x.trials))
        core.variance_in_bases(
            *in_order(found.weights, x.means, rows.sizes, x.along), rows.cluster_trial,
            *in_order(responses.means, responses.along, coefficients), _only(x), out,
        )  # fmt: skip
        return out
    return variance(found, x.laid_out, responses.laid_out, coefficients)


def _bell_mccaffrey(turned: Floats, weights: Floats) -> Floats:
    """Satterthwaite df under independent, homoscedastic errors, from G_j = (I - H)_j' A_j X_j M l; R_j L is given."""
    length = np.einsum("tck,tck->tc", weights, weights)
    g = np.einsum("tck,tckp->tcp", weights, turned)
    hat = np.einsum("tcp,tcp->tc", g, g)
    product = g.transpose(0, 2, 1) @ g
    first = (length - hat).sum(axis=1)
    second = (length**2 - 2.0 * length * hat).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(first**2 / (second + np.einsum("tij,tij->t", product, product)))


def matrix_power(matrix: Floats, power: float) -> tuple[Floats, NDArray[np.bool_]]:
    """A^power for positive semi-definite (k, k, ...), zero eigenvalues left at zero; and where there were any."""
    k = len(matrix)
    if k == 1:
        value, singular = _power(matrix[0, 0], power)
        return value[None, None], singular
    if k == 2:
        return _matrix_power_2(matrix, power)
    stacked = np.moveaxis(matrix, (0, 1), (-2, -1))
    finite = np.asarray(np.isfinite(stacked).all(axis=(-2, -1)))
    if not finite.all():  # LAPACK would refuse all of them for one
        stacked = np.where(finite[..., None, None], stacked, np.eye(k))
    values, vectors = np.linalg.eigh(stacked)
    scaled, zero = _power(np.where(finite[..., None], values, np.nan), power)
    return np.einsum("...ik,...k,...jk->ij...", vectors, scaled, vectors), np.asarray(zero.any(axis=-1))


def _power(values: Floats, power: float) -> tuple[Floats, NDArray[np.bool_]]:
    singular = values < SINGULAR
    safe = np.where(singular, 1.0, values)
    found = 1.0 / np.sqrt(safe) if power == -0.5 else safe**power
    return np.where(singular, 0.0, found), singular


def _matrix_power_2(matrix: Floats, power: float) -> tuple[Floats, NDArray[np.bool_]]:
    """The same for 2 x 2 matrices by f(A) = f(l2) I + (f(l1) - f(l2)) / (l1 - l2) (A - l2 I)."""
    middle = 0.5 * (matrix[0, 0] + matrix[1, 1])
    half = np.hypot(0.5 * (matrix[0, 0] - matrix[1, 1]), matrix[0, 1])
    low = middle - half
    (f_high, high_zero), (f_low, low_zero) = _power(middle + half, power), _power(low, power)
    apart = half > 0.0
    slope = np.where(apart, (f_high - f_low) / np.where(apart, 2.0 * half, 1.0), 0.0)
    result = slope * matrix
    for i in (0, 1):
        result[i, i] += f_low - slope * low
    return result, high_zero | low_zero
