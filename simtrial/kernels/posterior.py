"""Exact independent draws from the posterior of the random-intercept model, without Markov chains.

With a flat prior on the coefficients, everything given gamma = tau2/sigma2 is conjugate: sigma2 is inverse gamma, the
coefficients and the practice effects are normal. The posterior of rho = gamma/(1 + gamma), one dimension, is tabulated
on the midpoints of a grid and drawn by inversion, uniform within a cell. Two priors:

uniform-icc     rho uniform on (0, 1), p(sigma2) proportional to 1/sigma2
inverse-gamma   tau2 ~ IG(shape, scale) and sigma2 ~ IG(shape, scale), independent
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simtrial.kernels.criterion import SizeSums, grid_parts
from simtrial.kernels.symmetric import Floats, apply, cholesky, sweep

POINTS = 200
_CHUNK = 8  # grid points evaluated together: keeps the work in cache


@dataclass(frozen=True)
class InverseGamma:
    """Inverse-gamma priors of tau2 and sigma2, each (shape, scale); IW(df, S) is shape df/2, scale S/2."""

    tau2: tuple[float, float]
    sigma2: tuple[float, float]


@dataclass(frozen=True)
class Posterior:
    """Tabulated posterior of rho per trial.

    ``mass`` (points, trials) sums to 1 over points; ``rho`` (points,) the midpoints; ``cumulative`` its running sum.
    """

    sums: SizeSums
    prior: InverseGamma | None
    rho: Floats
    mass: Floats
    cumulative: Floats


@dataclass(frozen=True)
class Draw:
    """One draw of the parameters per trial: gamma, sigma2 (trials,) and coefficients (p, trials)."""

    gamma: Floats
    sigma2: Floats
    coefficients: Floats


def posterior(sums: SizeSums, prior: InverseGamma | None = None, points: int = POINTS) -> Posterior:
    """Tabulate p(rho | y) of every trial; ``prior`` None is uniform-icc."""
    rho = (np.arange(points) + 0.5) / points
    gamma = rho / (1.0 - rho)
    parts = [grid_parts(sums, gamma[k : k + _CHUNK]) for k in range(0, points, _CHUNK)]
    rss, logs, log_determinant = (np.concatenate(part) for part in zip(*parts, strict=True))
    log = -0.5 * (logs + log_determinant)
    nu = sums.rows - sums.rank
    if prior is None:
        log -= 0.5 * nu * np.log(rss)
    else:
        (a, b), (a0, b0) = prior.tau2, prior.sigma2
        log -= (0.5 * nu + a + a0) * np.log(0.5 * rss + b0 + b / gamma[:, None])
        log -= ((a + 1.0) * np.log(gamma) + 2.0 * np.log1p(-rho))[:, None]
    mass = np.exp(log - log.max(axis=0))
    mass /= mass.sum(axis=0)
    return Posterior(sums, prior, rho, mass, np.cumsum(mass, axis=0))


def draw(table: Posterior, rng: np.random.Generator) -> Draw:
    """Draw gamma by inversion, then sigma2 and the coefficients given it."""
    sums, points = table.sums, len(table.rho)
    trials = np.arange(len(sums.rows))
    uniform = rng.random(len(trials))
    cell = np.minimum((table.cumulative < uniform).sum(axis=0), points - 1)
    below = table.cumulative[cell, trials] - table.mass[cell, trials]
    inside = (uniform - below) / np.maximum(table.mass[cell, trials], 1e-300)
    rho = (cell + np.clip(inside, 1e-9, 1 - 1e-9)) / points
    gamma = rho / (1.0 - rho)
    p = sums.regressors
    inverse, coefficients, rest, _ = sweep(sums.products(gamma), p)
    shape, scale = 0.5 * (sums.rows - sums.rank), 0.5 * rest[0, 0]
    if table.prior is not None:
        (a, b), (a0, b0) = table.prior.tau2, table.prior.sigma2
        shape, scale = shape + a + a0, scale + b0 + b / gamma
    sigma2 = scale / rng.standard_gamma(shape)
    noise = np.sqrt(sigma2) * rng.standard_normal((p, len(trials)))
    return Draw(gamma, sigma2, coefficients[:, 0] + apply(cholesky(inverse), noise))


def practice_effects(
    gamma: Floats, sigma2: Floats, sizes: Floats, residual_means: Floats, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw practice effects given the parameters.

    Parameters
    ----------
    gamma, sigma2
        Parameters of each practice's trial (practices,).
    sizes, residual_means
        Observed rows of each practice, and the mean of their residuals (0 where there are none) (practices,).
    """
    shrink = 1.0 / (1.0 + sizes * gamma)
    mean = sizes * gamma * shrink * residual_means
    return np.asarray(mean + np.sqrt(sigma2 * gamma * shrink) * rng.standard_normal(len(sizes)))
