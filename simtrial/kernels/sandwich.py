"""Cluster-robust variances of least squares, all clusters of a block at once, without any matrix larger than p.

Inside cluster j the columns of X_j span 1 + w directions (w columns vary inside clusters): an orthonormal basis U_j
gives R_j = U_j'X_j, and with M = (X'X)^-1 and K_j = R_j M R_j' the leverage acts as H_j = U_j K_j U_j'. So CR2's (I -
H_j)^(-1/2) and CR3's (I - H_j)^-1 are (1 + w)-square matrices B_j (Bell and McCaffrey 2002; Pustejovsky and Tipton
2018, doi:10.1080/07350015.2016.1247004). Where an eigenvalue of I - K_j is zero (a cluster determines a coefficient
alone) the Moore-Penrose inverse is taken and the trial is flagged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simtrial.kernels.segments import sum_by
from simtrial.kernels.symmetric import Floats, apply, multiply, quadratic, trace_product

Correction = Literal["CR0", "CR1", "CR1S", "CR2", "CR3"]

SINGULAR = 1e-9  # eigenvalues of I - K_j below this are zero


@dataclass(frozen=True)
class Basis:
    """Every cluster in its own basis: R_j (k, p, clusters) and U_j'Y_j (k, responses, clusters)."""

    regressors: Floats
    responses: Floats


def basis(sizes: Floats, means: Floats, within: Floats, varying: list[int], p: int) -> Basis:
    """Build R_j and U_j'Y_j from cluster means and within-cluster cross-products.

    Parameters
    ----------
    sizes
        n_j (clusters,).
    means
        Cluster means of [X Y] (q, clusters).
    within
        Cross-products of deviations (V, V, clusters) of the columns ``varying`` of [X Y], ascending.
    p
        Columns of X.
    """
    inner = [at for at, column in enumerate(varying) if column < p]
    outer = [at for at, column in enumerate(varying) if column >= p]
    q, clusters = means.shape
    rows = np.zeros((1 + len(inner), q, clusters))
    rows[0] = np.sqrt(sizes) * means
    work = within.copy()
    for k, at in enumerate(inner):
        scale = within[at, at]
        pivot = work[at, at]
        usable = pivot > 1e-12 * scale
        root = np.sqrt(np.where(usable, pivot, 1.0))
        row = np.where(usable, work[at], 0.0) / root
        for other in [*inner[k:], *outer]:
            rows[1 + k, varying[other]] = row[other]
        work = work - row[:, None] * row[None, :]
    return Basis(rows[:, :p], rows[:, p:])


def _matrix_function(matrix: Floats, power: float) -> tuple[Floats, NDArray[np.bool_]]:
    """A^power for positive semi-definite (k, k, clusters), zero eigenvalues left at zero; and where there were any."""
    k = len(matrix)
    if k == 1:
        value, singular = _power(matrix[0, 0], power)
        return value[None, None], singular
    if k == 2:
        return _matrix_function_2(matrix, power)
    values, vectors = np.linalg.eigh(matrix.transpose(2, 0, 1))
    scaled, singular = _power(values, power)
    return np.einsum("cik,ck,cjk->ijc", vectors, scaled, vectors), np.asarray(singular.any(axis=-1))


def _power(values: Floats, power: float) -> tuple[Floats, NDArray[np.bool_]]:
    singular = values < SINGULAR
    return np.where(singular, 0.0, np.where(singular, 1.0, values) ** power), singular


def _matrix_function_2(matrix: Floats, power: float) -> tuple[Floats, NDArray[np.bool_]]:
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


@dataclass(frozen=True)
class Sandwich:
    """Robust variance of one contrast of the coefficients.

    ``variance`` (responses, responses, trials): covariance matrix of the contrast over the responses; ``df`` Bell and
    McCaffrey's Satterthwaite df (trials,); ``singular`` (trials,) where some cluster has leverage one.
    """

    variance: Floats
    df: Floats
    singular: NDArray[np.bool_]


def sandwich(
    rows: Basis,
    trial: NDArray[np.intp],
    trials: int,
    inverse: Floats,
    coefficients: Floats,
    contrast: Floats,
    correction: Correction,
) -> Sandwich:
    """Cluster-robust variance and df of a contrast, without the scalar factors of CR1 and CR1S.

    Parameters
    ----------
    rows, trial
        Clusters in their bases, and the trial of each (clusters,).
    inverse, coefficients
        M (p, p, trials) and estimates (p, responses, trials).
    contrast
        (p, trials).
    """
    r = rows.regressors
    m = inverse[:, :, trial]
    k = len(r)
    moved = np.stack([np.einsum("pc,pqc->qc", r[i], m) for i in range(k)])
    identity = np.eye(k)[:, :, None]
    leverage = np.einsum("ipc,jpc->ijc", moved, r)
    direction = apply(inverse, contrast)[:, trial]
    base = np.einsum("ipc,pc->ic", r, direction)
    _, singular = _matrix_function(identity - leverage, 1.0)
    if correction in ("CR2", "CR3"):
        adjust, _ = _matrix_function(identity - leverage, -0.5 if correction == "CR2" else -1.0)
        base = apply(adjust, base)
    residual = rows.responses - np.einsum("ipc,prc->irc", r, coefficients[:, :, trial])
    score = np.einsum("ic,irc->rc", base, residual)
    count = len(score)
    variance = np.empty((count, count, trials))
    for i in range(count):
        for j in range(i, count):
            variance[i, j] = variance[j, i] = sum_by(score[i] * score[j], trial, trials)
    df = _bell_mccaffrey(r, base, trial, trials, inverse)
    return Sandwich(variance, df, sum_by(singular, trial, trials) > 0)


def _bell_mccaffrey(r: Floats, base: Floats, trial: NDArray[np.intp], trials: int, inverse: Floats) -> Floats:
    """Satterthwaite df under independent, homoscedastic errors, from G_j = (I - H)_j' A_j X_j M l."""
    length = np.einsum("ic,ic->c", base, base)
    h = np.einsum("ipc,ic->pc", r, base)
    hat = quadratic(h, inverse[:, :, trial])
    p = len(h)
    total = np.empty((p, p, trials))
    for i in range(p):
        for j in range(i, p):
            total[i, j] = total[j, i] = sum_by(h[i] * h[j], trial, trials)
    product = multiply(inverse, total)
    first = sum_by(length - hat, trial, trials)
    second = sum_by(length**2 - 2.0 * length * hat, trial, trials)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(first**2 / (second + trace_product(product, product)))
