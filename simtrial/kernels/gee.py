"""Generalised estimating equations with an identity link and exchangeable correlation, all trials of a block at once.

Var(y_j) = phi ((1 - alpha) I + alpha 11') is proportional to H_j = I + gamma 11' with gamma = alpha/(1 - alpha), so the
coefficients solve the equations of the random-intercept model (`simtrial.kernels.random_intercept_criterion`), gamma <
0 allowed as long as every 1 + n_j gamma is positive, that is alpha > -1/(n_max - 1). From the residuals e of each
solution (Liang and Zeger 1986, doi:10.1093/biomet/73.1.13, section 3.3)

    phi = e'e / (N - p),   alpha = sum_j sum_{i<k} e_ij e_kj / ((P - p) phi),   P = sum_j n_j (n_j - 1) / 2,

or both without p; repeated until alpha stands still, to within what rounding makes of it (`_still`).

H_j^(-1/2) divides the direction of the cluster mean by sqrt(1 + n_j gamma) and leaves the rest of the cluster alone:
the first row of U_j'X_j is rescaled, and Kauermann and Carroll's and Mancl and DeRouen's sandwiches are CR2 and CR3
(`simtrial.kernels.sandwich`) on the rescaled rows: I - X_j M X_j'H_j^-1 is similar to their symmetric I - K_j. Scale
factors common to all clusters cancel from a sandwich.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simtrial.arrays import Bools, Floats
from simtrial.kernels.random_intercept_criterion import SizeSums, less_least_squares
from simtrial.kernels.rounding import ROUNDING
from simtrial.kernels.small_matrices import quadratic, sweep

ITERATIONS = 100
STILL = 1e-13  # a change of alpha below this is rounding, whatever the columns
INSIDE = 1e-6  # alpha is kept this share of the distance to 0 above its lower bound, and below 1
BOUND = 0.75  # of Fay and Graubard's diagonal leverage


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Solution of the estimating equations.

    ``alpha``, ``gamma``, ``phi`` (trials,); ``inverse`` (X'H^-1 X)^-1 (p, p, trials); ``coefficients`` (p, trials);
    ``converged`` whether alpha came to rest strictly inside its bounds; ``identified`` whether there are more pairs
    than the divisor of alpha takes away (else alpha = 0 is used).
    """

    alpha: Floats
    gamma: Floats
    phi: Floats
    inverse: Floats
    coefficients: Floats
    converged: Bools
    identified: Bools


@np.errstate(divide="ignore", invalid="ignore")  # a trial that has no fit divides by 0 beside the others
def fit(sums: SizeSums, exchangeable: bool, corrected: bool) -> Fit:
    """Solve for coefficients, phi and alpha.

    Parameters
    ----------
    sums
        Cross-products of cluster means by size.
    exchangeable
        False: alpha is 0 and least squares are the solution.
    corrected
        Take p from the divisors of phi and of alpha.
    """
    sums, fitted = less_least_squares(sums)
    sizes = np.broadcast_to(sums.sizes, sums.counts.shape)
    every, squared = sums.products(np.zeros(len(sums.rows))), sums.weighted(sizes**2)
    lost = sums.rank if corrected else np.zeros(len(sums.rows))
    pairs = 0.5 * (sums.counts * sizes * (sizes - 1.0)).sum(axis=0)
    identified = pairs > lost
    divisor = np.where(identified, pairs - lost, 1.0)
    largest = np.where(sums.counts > 0, sizes, 0.0).max(axis=0)
    low = (INSIDE - 1.0) / np.maximum(largest - 1.0, 1.0)
    # what an error of a share of e'e does to alpha: sum_j (sum_i e_ij)^2 is up to n_max e'e
    reach = 1.0 + 0.5 * (largest + 1.0) * (sums.rows - lost) / divisor
    alpha, moving = np.zeros(len(pairs)), identified & exchangeable
    before = step = np.full(len(pairs), np.nan)
    for _ in range(ITERATIONS):
        inverse, beta, phi, together, condition = _solve(sums, alpha, every, squared, lost)
        last, step = step, np.clip(together / (divisor * phi), low, 1.0 - INSIDE) - alpha
        moving = moving & ~_still(np.abs(step), np.abs(last), ROUNDING * condition * reach)
        if not moving.any():
            break
        before, alpha = alpha, np.where(moving, np.clip(ahead(alpha, step, before, last), low, 1.0 - INSIDE), alpha)
    inner = (alpha > low + STILL) & (alpha < 1.0 - INSIDE - STILL)
    return Fit(
        alpha=alpha, gamma=alpha / (1.0 - alpha), phi=phi, inverse=inverse, coefficients=beta + fitted,
        converged=~moving & inner, identified=identified | (not exchangeable),
    )  # fmt: skip


def _still(step: Floats, last: Floats, rounding: Floats) -> Bools:
    """Whether a step is none: below `STILL`, or within what rounding explains and no shorter than the one before."""
    return (step <= STILL) | ((step <= rounding) & (step >= last))


def ahead(alpha: Floats, step: Floats, before: Floats, last: Floats, most: float = 0.5) -> Floats:
    """Next alpha: where two steps shrink by ``most`` or faster, where a straight line through them ends; else one."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = 1.0 + (step - last) / (alpha - before)  # of a step to the one before, in plain repetition
        return np.where(np.abs(ratio) < most, alpha + step / (1.0 - ratio), alpha + step)


def _solve(
    sums: SizeSums, alpha: Floats, every: Floats, squared: Floats, lost: Floats
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Coefficients at alpha, with what their residuals make: inverse, coefficients, phi, sum of products of pairs.

    And the squared condition of [X y] to within a factor of its columns: sum_k M_kk (M^-1)_kk over regressors and
    response, M their cross-products. An error of a share eps in M is up to eps times this, as a share of e'e, in the
    sums of products of residuals.
    """
    p = sums.regressors
    products = sums.products(alpha / (1.0 - alpha))
    inverse, coefficients, rest, _ = sweep(products, p)
    squares = np.einsum("iir->ir", products)
    condition = (squares[:p] * np.einsum("iir->ir", inverse)).sum(axis=0) + squares[p] / rest[0, 0]
    beta = coefficients[:, 0]
    v = np.concatenate([-beta, np.ones((1, beta.shape[1]))])
    # a dropped column has a 1 on the diagonal and a coefficient of 0, so it adds nothing
    total = quadratic(v, every)
    return inverse, beta, total / (sums.rows - lost), 0.5 * (quadratic(v, squared) - total), condition


def whitened(rows: Floats, sizes: Floats, gamma: Floats) -> Floats:
    """Rows of orthonormal cluster bases times H_j^(-1/2): the first, the mean's, over sqrt(1 + n_j gamma).

    Parameters
    ----------
    rows
        (trials, positions, k, columns).
    sizes, gamma
        n_j (trials, positions), 0 where there is no cluster, and (trials,).
    """
    out = rows.copy()
    out[:, :, 0] /= np.sqrt(1.0 + sizes * gamma[:, None])[..., None]
    return out


def fay_graubard(rows: Floats, residual: Floats, inverse: Floats, center: Floats, chosen: Floats) -> Floats:
    """Variance of coefficients by Fay and Graubard (2001, doi:10.1111/j.0006-341X.2001.01198.x), bound 0.75.

    Element k of cluster j's score is divided by sqrt(1 - min(0.75, (C_j M)_kk)), C_j = X_j'H_j^-1 X_j, with the
    covariates on the scale of the user: the correction depends on their origin.

    Parameters
    ----------
    rows, residual
        Whitened X (trials, positions, k, p) and residuals (trials, positions, k).
    inverse
        M of the centred covariates (p, p, trials).
    center
        What was subtracted from each column (p, trials), 0 for the intercept.
    chosen
        Coefficients whose variances are wanted, as places among the p columns (terms,).

    Returns
    -------
    variances
        (terms, trials).
    """
    x = rows + rows[..., :1] * center.T[:, None, None, :]
    m = inverse.transpose(2, 0, 1).copy()
    m[:, 0] -= np.einsum("kr,rkl->rl", center, m)  # T^-1 M T^-1', where X = X_centred T and T = I + e_0 center'
    m[:, :, 0] -= np.einsum("kr,rlk->rl", center, m)
    moved = (x.reshape(len(x), -1, x.shape[-1]) @ m).reshape(x.shape)
    diagonal = np.einsum("tckp,tckp->tcp", moved, x)
    score = np.einsum("tckp,tck->tcp", x, residual) / np.sqrt(1.0 - np.minimum(diagonal, BOUND))
    return np.asarray(((score @ m[:, :, chosen]) ** 2).sum(axis=1).T)
