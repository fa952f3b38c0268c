"""Exact independent draws from the posterior of the random-intercept model, without Markov chains.

With a flat prior on the coefficients, everything given gamma = tau2/sigma2 is conjugate: sigma2 is inverse gamma, the
coefficients and the practice effects are normal. The posterior of rho = gamma/(1 + gamma), one dimension, is tabulated
on the midpoints of equal cells and drawn by inversion, uniform within a cell; where that is too coarse, on cells fitted
to the posterior of each trial (`simtrial.kernels.fitted_cells`). Under a prior whose density of rho has a pole at 0,
the cells are those of the square root of rho. Priors are those of `simtrial.kernels.variance_priors`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats, Ints
from simtrial.core import compiled
from simtrial.kernels.fitted_cells import FittedCells, fit_cells, largest_size, log_likelihood
from simtrial.kernels.random_intercept_criterion import SizeSums
from simtrial.kernels.random_intercept_grid import grid_parts
from simtrial.kernels.small_matrices import apply, cholesky, sweep
from simtrial.kernels.variance_priors import UNIFORM_ICC, VariancePrior

POINTS = 200
_CHUNK = 8  # grid points that numpy evaluates together: keeps the work in cache
FULL = 0.05
"""Mass of one equal cell above which a trial gets cells of its own.

Below it a normal posterior has an SD of at least 0.4/0.05 = 8 cells; being uniform within a cell then adds 1/12 of a
squared cell, 0.13% of the variance or 0.07% of the SD. At an end of (0, 1) the posterior falls from its largest value,
and means move by at most 0.05^2/12 of themselves.
"""
LARGE = 40.0
"""Rows of a practice above which a trial gets cells of its own: a mode of width 1/n near 0 could hide in one cell."""
TINY = float(np.finfo(np.float64).tiny / np.finfo(np.float64).eps)  # squares below it have lost digits


@dataclass(frozen=True, kw_only=True)
class Posterior:
    """Tabulated posterior of rho per trial.

    ``mass`` (points, trials) sums to 1 over points; ``rho`` (points,) the midpoints; ``cumulative`` its running sum.
    ``fitted`` are cells of their own for the trials in which equal cells are too coarse, None where there are none;
    ``among`` are the places of these trials among all that random numbers are drawn for, and the sums of all; None:
    there are no others.
    """

    sums: SizeSums
    prior: VariancePrior
    rho: Floats
    mass: Floats
    cumulative: Floats
    fitted: FittedCells | None = None
    among: tuple[Ints, SizeSums] | None = None

    @property
    def proper(self) -> NDArray[np.bool_]:
        """Trials whose posterior is a number in every cell, and ends below rho = 1 (trials,), of all that there are.

        Elsewhere nothing can be drawn: squares over- or underflow, or there is no residual variance. Trials that
        nothing is drawn for count as proper.
        """
        proper = np.isfinite(self.cumulative[-1])
        if self.fitted is not None:
            proper[self.fitted.trials] &= self.fitted.bounded
        if self.among is None:
            return np.asarray(proper)
        every = np.ones(len(self.among[1].rows), dtype=bool)
        every[self.among[0]] = proper
        return every

    def draw(self, rng: np.random.Generator) -> Draw:
        """Draw the parameters of every trial once."""
        return draw(self, rng)


@dataclass(frozen=True)
class Draw:
    """One draw of the parameters per trial: gamma, sigma2 (trials,) and coefficients (p, trials)."""

    gamma: Floats
    sigma2: Floats
    coefficients: Floats


def posterior(
    sums: SizeSums,
    prior: VariancePrior = UNIFORM_ICC,
    points: int = POINTS,
    needed: NDArray[np.bool_] | None = None,
) -> Posterior:
    """Tabulate p(rho | y) of every trial.

    Parameters
    ----------
    prior
        Of the two variances.
    points
        Equal cells.
    needed
        Trials (trials,) that something is drawn for; the others have no posterior here. None: all.
    """
    if needed is not None and not needed.all():
        at = np.flatnonzero(needed)
        return replace(posterior(sums.take(at), prior, points), among=(at, sums))
    root = (np.arange(points) + 0.5) / points
    rho = root**prior.power
    gamma = rho / (1.0 - rho)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # squares of outcomes far out of range
        step = _CHUNK if compiled() is None else points
        parts = [grid_parts(sums, gamma[k : k + step]) for k in range(0, points, step)]
        rss, logs, log_determinant = (np.concatenate(part) for part in zip(*parts, strict=True))
        log = log_likelihood(sums, prior, gamma[:, None], rss, logs + log_determinant)
        density = prior.log_density_of_icc(gamma, rho)
        if density is not None:
            log += density[:, None]
        if prior.power > 1:
            log += (prior.power - 1) * np.log(root)[:, None]
        mass = np.exp(log - log.max(axis=0))
        mass /= np.where(rss.min(axis=0) > TINY, mass.sum(axis=0), np.nan)
    table = Posterior(sums=sums, prior=prior, rho=rho, mass=mass, cumulative=np.cumsum(mass, axis=0))
    coarse = np.flatnonzero(table.proper & ((mass.max(axis=0) > FULL) | (largest_size(sums) > LARGE)))
    if not len(coarse):
        return table
    return replace(table, fitted=fit_cells(sums.take(coarse), prior, coarse))


def draw(table: Posterior, rng: np.random.Generator) -> Draw:
    """Draw gamma by inversion, then sigma2 and the coefficients given it; 0 for trials that nothing is drawn for."""
    sums, points, p = table.sums, len(table.rho), table.sums.regressors
    trials = np.arange(len(sums.rows))
    at, every = (trials, sums) if table.among is None else table.among
    uniform = rng.random(len(every.rows))[at]
    cell = np.minimum((table.cumulative < uniform).sum(axis=0), points - 1)
    below = table.cumulative[cell, trials] - table.mass[cell, trials]
    inside = (uniform - below) / np.maximum(table.mass[cell, trials], 1e-300)
    rho = ((cell + np.clip(inside, 1e-9, 1 - 1e-9)) / points) ** table.prior.power
    gamma = rho / (1.0 - rho)
    if table.fitted is not None:
        gamma[table.fitted.trials] = table.fitted.quantile(uniform[table.fitted.trials])
    root, coefficients, rss = conditional(sums, gamma)
    shape, scale = 0.5 * (every.rows - every.rank) + table.prior.shape(every.rank), 0.5 * rss
    if (added := table.prior.scale(gamma)) is not None:
        scale = scale + added
    sigma2 = scale / rng.standard_gamma(shape)[at]
    noise = np.sqrt(sigma2) * rng.standard_normal((p, len(every.rows)))[:, at]
    beta = coefficients + apply(root, noise)
    if table.among is None:
        return Draw(gamma, sigma2, beta)
    total = len(every.rows)
    return Draw(_spread(gamma, at, total), _spread(sigma2, at, total), _spread(beta, at, total))


def conditional(sums: SizeSums, gamma: Floats) -> tuple[Floats, Floats, Floats]:
    """Lower factor of C^-1 (p, p, trials), coefficients (p, trials) and q (trials,) at ``gamma`` (trials,)."""
    p, trials = sums.regressors, len(gamma)
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/posterior.c takes over
        root, coefficients, rss = np.empty((p, p, trials)), np.empty((p, trials)), np.empty(trials)
        core.conditional(*sums.plain, np.ascontiguousarray(gamma), root, coefficients, rss)
        return root, coefficients, rss
    inverse, found, rest, _ = sweep(sums.products(gamma), p)
    return cholesky(inverse), found[:, 0], rest[0, 0]


def _spread(values: Floats, at: Ints, total: int) -> Floats:
    """Values (..., at) among others that are 0 (..., total)."""
    out = np.zeros((*values.shape[:-1], total))
    out[..., at] = values
    return out


def practice_effects(
    gamma: Floats, sigma2: Floats, sizes: Floats, residual_means: Floats, noise: Floats
) -> Floats:  # fmt: skip
    """Draw practice effects given the parameters.

    Parameters
    ----------
    gamma, sigma2
        Parameters of each practice's trial (practices,).
    sizes, residual_means
        Observed rows of each practice, and the mean of their residuals (0 where there are none) (practices,).
    noise
        Standard normal numbers (practices,).
    """
    shrink = 1.0 / (1.0 + sizes * gamma)
    mean = sizes * gamma * shrink * residual_means
    return np.asarray(mean + np.sqrt(sigma2 * gamma * shrink) * noise)
