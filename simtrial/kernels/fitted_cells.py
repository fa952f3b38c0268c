"""Cells of the posterior of gamma = tau2/sigma2 that lie where a trial's posterior is, whatever the practice sizes.

On the scale of u = log gamma the log-likelihood bends no more sharply than J/4 for J practices, whatever their sizes:
log(1 + n e^u) has a second derivative of at most 1/4. So a scan in steps of a half sees every mode, one of practices
of thousands beside one of practices of dozens, and those at the ends rho = 0 and 1. Cells are then placed where the
posterior is, with widths in proportion to g(u)^(-1/3), g the density times 1 + the square of rho in SDs from its mean
(equal shares of the error that uniform draws within cells make in the moments of u and of rho), and placed anew from
their own values until these moments no longer move.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats
from simtrial.kernels.random_intercept_criterion import SizeSums, logarithm
from simtrial.kernels.small_matrices import eliminate, unpack
from simtrial.kernels.variance_priors import VariancePrior

CELLS = 256
STEP = 0.5  # of the scan
TOP = 50.0  # u up to which the scan looks; sigma2 is then 1e-22 of tau2, below any rounding of the outcome
TAIL = 25.0  # how far below the smallest scale of gamma the scan begins: mass of e^-25
EDGE = 1e-6  # mass beside the top of the scan above which the posterior does not end there
CUT = 28.0  # log of the share of the largest density below which a posterior is left out
FLOOR = 0.05  # share of the cells spread evenly over where the posterior is, so that nothing between goes unseen
ROUNDS = 12
LEAST = 1e-12  # SD of rho below which its digits end
SETTLED = 1e-4  # SDs by which means, and share by which SDs, may still move
_TOGETHER = 4096  # points times trials evaluated together: keeps the work in cache, and few trials in few calls


@dataclass(frozen=True)
class FittedCells:
    """Posterior of u = log gamma of the trials numbered ``trials``, uniform within cells.

    ``edges`` (cells + 1, trials), ``mass`` (cells, trials), ``cumulative`` its running sum; ``settled`` (trials,)
    whether the moments no longer moved when the cells were placed anew; ``bounded`` (trials,) whether the posterior
    ends below where it can be computed: where it does not, people of a practice do not differ: sigma2 has no posterior.
    """

    trials: NDArray[np.intp]
    edges: Floats
    mass: Floats
    cumulative: Floats
    settled: NDArray[np.bool_]
    bounded: NDArray[np.bool_]

    def quantile(self, share: Floats) -> Floats:
        """Gamma below which a share (trials,) of the posterior lies."""
        at = np.arange(len(share))
        cell = np.minimum((self.cumulative < share).sum(axis=0), len(self.mass) - 1)
        mass = self.mass[cell, at]
        inside = (share - self.cumulative[cell, at] + mass) / np.maximum(mass, 1e-300)
        low, high = self.edges[cell, at], self.edges[cell + 1, at]
        return np.asarray(np.exp(low + np.clip(inside, 0.0, 1.0) * (high - low)))


def largest_size(sums: SizeSums) -> Floats:
    """Rows of the largest practice (trials,)."""
    return np.asarray(np.where(sums.counts > 0, sums.sizes, 0.0).max(axis=0))


def log_likelihood(sums: SizeSums, prior: VariancePrior, gamma: Floats, rss: Floats, logs: Floats) -> Floats:
    """Log of p(y | gamma), coefficients and sigma2 integrated out, up to a constant (points, trials).

    Parameters
    ----------
    gamma, rss, logs
        (points, 1 or trials); residual sum of squares and log|H| + log|X'H^-1 X| there, (points, trials).
    """
    shape, scale = 0.5 * (sums.rows - sums.rank) + prior.shape(sums.rank), prior.scale(gamma)
    if scale is None:
        return np.asarray(-0.5 * logs - shape * logarithm(rss))
    return np.asarray(-0.5 * logs - shape * np.log(0.5 * rss + scale))


def log_density(sums: SizeSums, prior: VariancePrior, u: Floats) -> Floats:
    """Log density of u = log gamma, up to a constant; ``u`` and result (points, trials)."""
    step = max(1, _TOGETHER // u.shape[1])
    parts = [_parts(sums, np.exp(u[k : k + step])) for k in range(0, len(u), step)]
    rss, logs = (np.concatenate(part) for part in zip(*parts, strict=True))
    return np.asarray(log_likelihood(sums, prior, np.exp(u), rss, logs) + prior.log_density(u))


def _parts(sums: SizeSums, gamma: Floats) -> tuple[Floats, Floats]:
    """Residual sum of squares and log|H| + log|X'H^-1 X| at points of each trial's own (points, trials)."""
    p = sums.regressors
    shrink = 1.0 / (1.0 + sums.sizes[None] * gamma[:, None])
    total = np.einsum("gsr,skr->gkr", sums.sizes[None] * shrink, sums.between, optimize=True) + sums.within
    with np.errstate(divide="ignore", invalid="ignore"):  # see `_computable`
        pivots, rest = eliminate(unpack(total.transpose(1, 0, 2), p + 1), p)
        return rest[0, 0], np.log(pivots).sum(axis=0) - np.einsum("sr,gsr->gr", sums.counts, np.log(shrink))


def fit_cells(sums: SizeSums, prior: VariancePrior, trials: NDArray[np.intp], cells: int = CELLS) -> FittedCells:
    """Place cells where the posterior of each trial is, anew until its moments no longer move."""
    count = len(sums.rows)
    scan = _scan(sums, prior)
    edges = np.broadcast_to(scan[:, None], (len(scan), count))
    # the largest density of a cell is above that of its middle by at most J/4 times (STEP/2)^2/2, if the prior is flat
    bend = sums.counts.sum(axis=0) + 4.0 * prior.steepness(sums.rows - sums.rank)
    cut = CUT + bend * STEP**2 / 32.0
    before, top = np.full((4, count), np.nan), np.full(count, TOP)
    for _ in range(ROUNDS):
        log, lost = _computable(log_density(sums, prior, _middles(edges)))
        top = np.minimum(top, np.where(lost, edges[:-1], TOP).min(axis=0))
        mass = _mass(edges, log)
        after = _moments(_middles(edges), mass)
        settled = _alike(before, after)
        if settled.all():
            break
        before, edges = after, _placed(edges, log, after, cut, cells)
    bounded = (mass * (edges[1:] > top - 1.0)).sum(axis=0) < EDGE
    return FittedCells(
        trials=trials,
        edges=edges,
        mass=mass,
        cumulative=np.cumsum(mass, axis=0),
        settled=settled,
        bounded=np.asarray(bounded),
    )


def _computable(log: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Log density, none where it has no value, and where that is (points, trials).

    With gamma above some 1e15 rounding of what people differ in covers all that means of practices say: where columns
    use up what people differ in, pivots are then below 0.
    """
    lost = ~(log < np.inf)
    return np.where(lost, np.where(lost.all(axis=0), 0.0, -np.inf), log), lost


def _mass(edges: Floats, log: Floats) -> Floats:
    """Share of the posterior in every cell, from the log density in its middle."""
    mass = np.exp(log - log.max(axis=0)) * np.diff(edges, axis=0)
    return np.asarray(mass / mass.sum(axis=0))


def _scan(sums: SizeSums, prior: VariancePrior) -> Floats:
    """Edges of u from well below every scale at which the posterior bends up to TOP (points,)."""
    low = -np.log(largest_size(sums).max())
    bend = prior.log_bend(0.5 * _parts(sums, np.full((1, len(sums.rows)), np.exp(low - TAIL)))[0])
    if bend is not None:  # the density bends again where the prior tells
        low = min(low, float(bend.min()))
    return np.arange(max(low - TAIL / prior.slowest, -600.0), TOP, STEP)


def _middles(edges: Floats) -> Floats:
    return np.asarray(0.5 * (edges[1:] + edges[:-1]))


def _placed(edges: Floats, log: Floats, found: Floats, cut: Floats, cells: int) -> Floats:
    """New edges (cells + 1, trials), with widths in proportion to g^(-1/3), where g is above its cut.

    ``log`` is the log density in the middle of the cells between the old ``edges``, ``found`` are its moments.
    """
    rho = np.exp(-np.logaddexp(0.0, -_middles(edges)))
    log = log + np.log1p(((rho - found[0]) / np.maximum(found[1], LEAST)) ** 2)
    below = log - log.max(axis=0)
    there = below > -cut
    near = there.copy()
    near[1:] |= there[:-1]
    near[:-1] |= there[1:]
    nodes = np.concatenate([edges[:1], _middles(edges), edges[-1:]])
    weight, inside = (np.concatenate([v[:1], v, v[-1:]]) for v in (np.exp(below / 3.0), near))
    even = np.diff(nodes, axis=0) * (inside[1:] & inside[:-1])
    dense = (weight[1:] + weight[:-1]) * even
    share = (1.0 - FLOOR) * dense / dense.sum(axis=0) + FLOOR * even / even.sum(axis=0)
    rising = np.concatenate([np.zeros((1, share.shape[1])), np.cumsum(share, axis=0)])
    return _inverted(rising / rising[-1], nodes, cells)


def _inverted(rising: Floats, nodes: Floats, cells: int) -> Floats:
    """Nodes at equal steps of functions that rise from 0 to 1, all trials in one interpolation."""
    apart = 2.0 * np.arange(rising.shape[1])
    steps = np.linspace(0.0, 1.0 - 1e-12, cells + 1)
    wanted = (steps[:, None] + apart).T.ravel()
    found = np.interp(wanted, (rising + apart).T.ravel(), np.ascontiguousarray(nodes.T).ravel())
    return np.ascontiguousarray(found.reshape(rising.shape[1], cells + 1).T)


def _moments(u: Floats, mass: Floats) -> Floats:
    """Mean and SD of rho and of u (4, trials)."""
    out = []
    for values in (np.exp(-np.logaddexp(0.0, -u)), u):
        mean = (mass * values).sum(axis=0)
        out += [mean, np.sqrt((mass * (values - mean) ** 2).sum(axis=0))]
    return np.stack(out)


def _alike(before: Floats, after: Floats) -> NDArray[np.bool_]:
    """Trials whose means moved by a small part of the SD, and SDs by a small part of themselves."""
    allowed = SETTLED * np.maximum(after[[1, 1, 3, 3]], LEAST)
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(after - before) <= allowed).all(axis=0))
