"""Small symmetric matrices, one per trial along the last axis: packing, elimination, inversion."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats, in_order
from simtrial.core import compiled

ALIASED = 1e-10
"""Share of a column's sum of squares, 1e-5 of its length, up to which what others leave of it counts as none.

Elimination of cross-products leaves of an exact combination some p eps (1 + sum |w_k|)^2 of its squares, w_k its
coefficients in columns of unit length: 1e-15 to 1e-13 in ordinary designs, and less than 1e-10 as long as the sum is
below some 300, which it exceeds only beside columns that are nearly combinations themselves (`DOUBTFUL`). R's 1e-7 of
the length, on a QR of the rows, is 1e-14 of the squares: rounding would be kept. And a column that keeps a share s has
coefficients with a relative error of eps / s: 2e-6 at 1e-10, and 2% at 1e-14.
"""


DOUBTFUL = 1e-5
"""Share of a kept column's sum of squares below which cross-products cannot tell what comes after: 1 / 300^2."""


@lru_cache(maxsize=64)
def pairs(size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and column of each packed entry of a symmetric matrix, upper triangle by columns.

    The entries of a leading block come first, so a variable added at the end adds its entries at the end.
    """
    cols, rows = np.tril_indices(size)
    return rows, cols


@lru_cache(maxsize=64)
def _places(size: int) -> NDArray[np.intp]:
    rows, cols = pairs(size)
    places = np.zeros((size, size), dtype=np.intp)
    places[rows, cols] = places[cols, rows] = np.arange(len(rows))
    return places


def unpack(packed: Floats, size: int) -> Floats:
    """Turn packed upper triangles (at least size(size+1)/2, ...) into full matrices (size, size, ...)."""
    return packed[_places(size)]


def eliminate(matrix: Floats, count: int) -> tuple[Floats, Floats]:
    """Eliminate the first ``count`` variables of symmetric matrices.

    Parameters
    ----------
    matrix
        (q, q, ...), positive semi-definite.
    count
        Variables to eliminate.

    Returns
    -------
    pivots, remainder
        Pivots (count, ...), whose product is the determinant of the leading block, and the Schur complement
        (q - count, q - count, ...).
    """
    work = matrix.copy()
    pivots = np.empty((count, *matrix.shape[2:]))
    for k in range(count):
        pivots[k] = work[k, k]
        ratio = work[k, k + 1 :] / pivots[k]
        for i in range(k + 1, len(work)):
            work[i, i:] -= ratio[i - k - 1] * work[k, i:]
    for i in range(count, len(work)):
        work[i + 1 :, i] = work[i, i + 1 :]
    return pivots, work[count:, count:]


def sweep(matrix: Floats, count: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Least squares on the first ``count`` variables by Gauss-Jordan sweeps.

    Parameters
    ----------
    matrix
        (q, q, ...) cross-products of ``count`` regressors and q - count responses.
    count
        Number of regressors.

    Returns
    -------
    inverse, coefficients, remainder, log_determinant
        (count, count, ...), (count, q - count, ...), residual cross-products (q - count, q - count, ...), (...).
    """
    if (core := compiled()) is not None:
        size, several = len(matrix), matrix.shape[2:]
        flat = matrix.reshape(size, size, -1)
        shapes = (count, count), (count, size - count), (size - count, size - count), ()
        found = [np.empty((*shape, flat.shape[2])) for shape in shapes]
        core.sweep(*in_order(flat), *found)
        inverse, coefficients, rest, logs = (f.reshape(*s, *several) for f, s in zip(found, shapes, strict=True))
        return inverse, coefficients, rest, logs
    work = matrix.copy()
    log_determinant = np.zeros(matrix.shape[2:])
    for k in range(count):
        pivot = work[k, k].copy()
        log_determinant += np.log(pivot)
        row = work[k] / pivot
        column = work[:, k].copy()
        column[k] = 0.0
        for i in range(len(work)):
            if i != k:
                work[i] -= column[i] * row
        work[k] = row
        work[:, k] = -column / pivot
        work[k, k] = 1.0 / pivot
    return work[:count, :count], work[:count, count:], work[count:, count:], log_determinant


def cholesky(matrix: Floats, semidefinite: bool = False) -> Floats:
    """Lower factor L of A = LL' trial by trial (p, p, ...).

    ``semidefinite``: columns of L are 0 where those before determine a variable.
    """
    lower = np.zeros_like(matrix)
    for j in range(len(matrix)):
        left = matrix[j, j] - (lower[j, :j] ** 2).sum(axis=0)
        there = left > 0.0 if semidefinite else np.ones(left.shape, dtype=bool)
        lower[j, j] = np.sqrt(np.where(there, left, left - left))  # 0, or what is no number
        for i in range(j + 1, len(matrix)):
            entry = matrix[i, j] - (lower[i, :j] * lower[j, :j]).sum(axis=0)
            lower[i, j] = np.where(there, entry, 0.0) / np.where(there, lower[j, j], 1.0)
    return lower


def remaining(gram: Floats, scale: Floats, tolerance: float = ALIASED) -> Floats:
    """Share of its sum of squares that the variables before it leave of each, 0 where it is dropped (p, trials).

    Parameters
    ----------
    gram
        Cross-products (p, p, trials).
    scale
        Sum of squares (p, trials) against which each variable's remainder is judged.
    tolerance
        A variable is dropped, and has no part in the others' remainders, if its own is at most this share.
    """
    if (core := compiled()) is not None:  # here and in `sweep` simtrial/core/small_matrices.c takes over
        left = np.empty(scale.shape)
        core.remaining(*in_order(gram, scale), tolerance, left)
        return left
    work, left = gram.copy(), np.zeros_like(scale)
    for k in range(len(work)):
        pivot = work[k, k]
        kept = pivot > tolerance * scale[k]
        safe = np.where(kept, pivot, 1.0)
        left[k] = np.where(kept, pivot, 0.0) / np.where(kept, scale[k], 1.0)
        ratio = np.where(kept, work[k, k + 1 :], 0.0) / safe
        for i in range(k + 1, len(work)):
            work[i, i:] -= ratio[i - k - 1] * work[k, i:]
    return left


def independent(gram: Floats, scale: Floats, tolerance: float = ALIASED) -> NDArray[np.bool_]:
    """Which variables (p, trials) are not combinations of those before them; parameters as of `remaining`."""
    return np.asarray(remaining(gram, scale, tolerance) > 0.0)


def independent_columns(columns: Floats) -> NDArray[np.bool_]:
    """Which columns (p, rows) are not combinations of those before them, from the columns themselves.

    Where earlier columns nearly are combinations, and keep a share s of their length, rounding leaves eps / s of the
    length here and eps / s^2 of it in cross-products. Gram-Schmidt is done twice, which keeps the digits.
    """
    basis = np.empty((0, columns.shape[1]))
    kept = np.zeros(len(columns), dtype=bool)
    for k, column in enumerate(columns):
        left = column
        for _ in range(2):
            left = left - basis.T @ (basis @ left)
        length = np.sqrt(left @ left)
        kept[k] = length > np.sqrt(ALIASED * (column @ column))
        if kept[k]:
            basis = np.vstack([basis, left / length])
    return kept


def quadratic(vector: Floats, matrix: Floats) -> Floats:
    """V'Av for each trial: vectors (p, ...), matrices (p, p, ...) -> (...)."""
    return np.asarray(np.einsum("i...,ij...,j...->...", vector, matrix, vector))


def multiply(left: Floats, right: Floats) -> Floats:
    """Matrix products trial by trial: (p, q, ...) and (q, r, ...) -> (p, r, ...)."""
    return np.asarray(np.einsum("ij...,jk...->ik...", left, right))


def apply(matrix: Floats, vector: Floats) -> Floats:
    """Matrix times vector trial by trial: (p, q, ...) and (q, ...) -> (p, ...)."""
    return np.asarray(np.einsum("ij...,j...->i...", matrix, vector))


def trace_product(left: Floats, right: Floats) -> Floats:
    """tr(AB) trial by trial: (p, q, ...) and (q, p, ...) -> (...)."""
    return np.asarray(np.einsum("ij...,ji...->...", left, right))
