"""Allocation in whole schemes with fixed numbers per arm: complete, and constrained to schemes that balance covariates.

Raab and Butcher 2001, doi:10.1002/1097-0258(20010215)20:3<351::AID-SIM797>3.0.CO;2-C; Li, Lokhnygina, Murray, Heagerty
and DeLong 2016, doi:10.1002/sim.6813.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats, Ints
from simtrial.generate.allocation.minimisation import Rows, spans


def arm_totals(sizes: NDArray[np.intp], ratio: Sequence[int], last: Floats) -> Ints:
    """Practices in intervention (trials,): the ratio's share of ``sizes``.

    A fraction of a practice is decided by the uniform ``last``: with equal ratios an odd practice is a fair coin.
    """
    whole, rest = np.divmod(sizes * ratio[1], ratio[0] + ratio[1])
    return np.asarray(whole + (last < rest / (ratio[0] + ratio[1])), dtype=np.int64)


def complete(coins: Floats, treated: Ints, practice_trial: Rows) -> Ints:
    """Give the intervention to the ``treated`` (trials,) practices of a trial with the smallest coins (practices,)."""
    starts, sizes = spans(practice_trial)
    padded = np.full((len(starts), int(sizes.max(initial=0)) + 1), 2.0)
    padded[practice_trial, np.arange(len(practice_trial)) - starts[practice_trial] + 1] = coins
    padded[:, 0] = -1.0  # so that the smallest 0 coins are those up to -1
    padded.sort(axis=1)
    highest = padded[np.arange(len(starts)), treated]
    return np.asarray(coins <= highest[practice_trial], dtype=np.int64)


def constrained(
    covariates: Floats, weights: Floats, practice_trial: Rows, rng: np.random.Generator, *, candidates: int,
    share: float, ratio: Sequence[int] = (1, 1), treated: int | None = None,
) -> Ints:  # fmt: skip
    """Draw schemes with fixed numbers per arm, and take one of those that balance best.

    Parameters
    ----------
    covariates, weights
        (covariates, practices) standardised within trials, see `standardised`, and the weight of each in each trial
        (covariates, trials).
    practice_trial
        (practices,): trial of each practice, sorted.
    candidates, share
        Schemes drawn for each trial, and the share of them from which one is taken, all equally likely.
    ratio, treated
        Practices in control and in intervention; or the exact number in intervention.

    Returns
    -------
    arm
        (practices,).
    """
    starts, sizes = spans(practice_trial)
    schemes = np.empty((candidates, len(practice_trial)), dtype=np.bool_)
    scores = np.empty((candidates, len(starts)))
    for k in range(candidates):
        coins, last = rng.random(len(practice_trial)), rng.random(len(starts))
        total = arm_totals(sizes, ratio, last) if treated is None else np.full(len(starts), treated)
        schemes[k] = complete(coins, total, practice_trial)
        scores[k] = imbalance(covariates, weights, schemes[k], practice_trial)
    best = np.argsort(scores, axis=0, kind="stable")[: max(1, ceil(share * candidates - 1e-9))]
    taken = best[np.floor(rng.random(len(starts)) * len(best)).astype(np.intp), np.arange(len(starts))]
    return schemes[taken[practice_trial], np.arange(len(practice_trial))].astype(np.int64)


def share_better(
    covariates: Floats, weights: Floats, arm: NDArray[Any], practice_trial: Rows, schemes: int, *,
    ratio: Sequence[int] = (1, 1), treated: int | None = None,
) -> Ints:  # fmt: skip
    """Count how many of so many schemes balance better than the arms seen (trials,); arguments as of `constrained`.

    The schemes are drawn once for every number of practices, by a stream of their own: what is counted for a trial
    does not depend on the others.
    """
    starts, sizes = spans(practice_trial)
    own = imbalance(covariates, weights, arm, practice_trial)
    better = np.zeros(len(starts), dtype=np.int64)
    for size in np.unique(sizes):
        rng = np.random.Generator(np.random.SFC64([3, int(size)]))
        trials = np.flatnonzero(sizes == size)
        each = np.repeat(np.arange(schemes), size)
        total = arm_totals(np.full(schemes, size), ratio, rng.random(schemes))
        total = total if treated is None else np.full(schemes, treated)
        drawn = complete(rng.random(len(each)), total, each).reshape(schemes, size).astype(np.float64)
        both = drawn.sum(axis=1) * (size - drawn.sum(axis=1))
        scale = np.where(both > 0, size / np.maximum(both, 1.0), 0.0)[:, None]
        rows = starts[trials] + np.arange(size)[:, None]
        scores = np.zeros((schemes, len(trials)))
        for values, weight in zip(covariates, weights, strict=True):
            scores += weight[trials] * (drawn @ values[rows] * scale) ** 2
        better[trials] = (scores < own[trials] * (1.0 - 1e-9) - 1e-12).sum(axis=0)
    return better


def imbalance(covariates: Floats, weights: Floats, arm: NDArray[Any], practice_trial: Rows) -> Floats:
    """Weighted sum over covariates of the squared difference of arm means, in SDs (trials,).

    As standardised values add up to 0 in a trial, the difference is S_1 n / (n_1 n_0) with S_1 the sum in intervention;
    0 where an arm is empty.
    """
    starts, sizes = spans(practice_trial)
    treated = np.add.reduceat(arm.astype(np.float64), starts)
    total = np.add.reduceat(covariates * arm, starts, axis=1)
    both = treated * (sizes - treated)
    scale = np.where(both > 0, sizes / np.maximum(both, 1.0), 0.0)
    return np.asarray((weights * (total * scale) ** 2).sum(axis=0))


def standardised(
    factors: Sequence[tuple[Ints, float]], numbers: Sequence[tuple[Floats, float]], practice_trial: Rows
) -> tuple[Floats, Floats]:
    """Covariates of mean 0 and SD 1 (divisor n) within each trial, and their weights.

    A factor becomes an indicator for each level; its weight is divided by the levels that vary in the trial, so that a
    factor of two levels counts as one of its indicators would. What does not vary in a trial is 0 there.

    Returns
    -------
    covariates, weights
        (covariates, practices) and (covariates, trials).
    """
    rows, weights = [], []
    for codes, weight in factors:
        indicators = (codes == np.arange(int(codes.max(initial=0)) + 1)[:, None]).astype(np.float64)
        z, varies = _standardise(indicators, practice_trial)
        rows.append(z)
        weights.append(weight * varies / np.maximum(varies.sum(axis=0), 1))
    for values, weight in numbers:
        z, varies = _standardise(np.asarray(values, dtype=np.float64)[None], practice_trial)
        rows.append(z)
        weights.append(weight * varies)
    return np.concatenate(rows), np.concatenate(weights)


def _standardise(values: Floats, practice_trial: Rows) -> tuple[Floats, NDArray[np.bool_]]:
    """Rows (covariates, practices) with mean 0 and SD 1 in each trial, and where they vary (covariates, trials)."""
    starts, sizes = spans(practice_trial)
    mean = np.add.reduceat(values, starts, axis=1) / sizes
    centred = values - mean[:, practice_trial]
    sd = np.sqrt(np.add.reduceat(centred**2, starts, axis=1) / sizes)
    varies = sd > 1e-12 * (1.0 + np.abs(mean))
    return centred / np.where(varies, sd, np.inf)[:, practice_trial], varies
