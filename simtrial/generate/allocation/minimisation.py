"""Minimisation: practices are allocated as they arrive, to the arm that balances the factors better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats, in_order
from simtrial.core import compiled

Ints = NDArray[np.int64]
Rows = NDArray[np.intp]
Imbalance = Literal["range", "variance", "marginal-sum"]
RULES: dict[Imbalance, int] = {"range": 0, "variance": 1, "marginal-sum": 2}
"""Their numbers in the compiled kernel."""


def spans(practice_trial: Rows) -> tuple[Rows, Rows]:
    """First practice of every trial and how many it has (trials,) each; ``practice_trial`` (practices,) is sorted."""
    starts = np.flatnonzero(np.diff(practice_trial, prepend=-1))
    return starts, np.diff(starts, append=len(practice_trial))


def arrivals(practice_trial: Rows, order: Floats | None = None) -> Iterator[Rows]:
    """Go through first arrivals, second arrivals, and so on: practices (trials with so many,), one of each trial.

    ``practice_trial`` (practices,) is sorted; ``order`` (practices,) sorts the arrivals within trials (None: as they
    stand).
    """
    starts, sizes = spans(practice_trial)
    arrived = np.arange(len(practice_trial)) if order is None else np.lexsort((order, practice_trial))
    for place in range(int(sizes.max(initial=0))):
        yield arrived[starts[sizes > place] + place]


def minimise(
    levels: Ints, coins: Floats, practice_trial: Rows, *, best: float, imbalance: Imbalance = "range",
    weights: Sequence[float] | None = None, ratio: Sequence[int] = (1, 1), order: Floats | None = None,
) -> Ints:  # fmt: skip
    """Allocate practices one after the other, all trials at once (Pocock and Simon 1975, doi:10.2307/2529712).

    The factors' levels of the arriving practice hold n_1 practices in intervention and n_0 in control so far. With
    d = n_1/r_1 - n_0/r_0 in each factor, the arm with the smaller of these totals, weighted over factors, is preferred:

    - range: distance of d + 1/r_1 from 0 if intervention is chosen, of d - 1/r_0 if control;
    - variance: the squares of these;
    - marginal-sum: n_1/r_1 and n_0/r_0 themselves, so that excesses of two factors can cancel. With equal ratios
      variance decides alike, as (d + 1)^2 - (d - 1)^2 = 4 d.

    Parameters
    ----------
    levels
        (factors, practices): codes.
    coins
        (practices,): uniforms that decide.
    practice_trial
        (practices,): trial of each practice, sorted.
    best
        Probability of the preferred arm, see `preferred`; ties are decided in the ratio.
    weights
        (factors,): None, 1 each.
    ratio
        Practices in control and in intervention.
    order
        (practices,): sorts the order of arrival; None, as they stand.

    Returns
    -------
    arm
        (practices,).
    """
    control, intervention = ratio
    up, down = preferred(best, ratio)
    share = intervention / (control + intervention)
    factors = len(levels)
    w = np.ones(factors) if weights is None else np.asarray(weights, dtype=np.float64)
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/minimisation.c takes over
        arrived = np.arange(len(practice_trial)) if order is None else np.lexsort((order, practice_trial))
        arm, most = np.empty(len(practice_trial), dtype=np.int64), int(levels.max(initial=0)) + 1
        codes, trial, planned = (np.ascontiguousarray(v, dtype=np.int64) for v in (levels, practice_trial, ratio))
        chances = np.array([up, down, share, 1e-9 * w.sum()])
        core.minimise(
            codes, *in_order(coins), trial, arrived, *in_order(w), planned, chances, arm, most, RULES[imbalance]
        )
        return arm
    # d times r_0 r_1, in whole numbers, so that ties are exact
    trials = int(practice_trial.max(initial=-1)) + 1
    excess = np.zeros((factors, trials, int(levels.max(initial=0)) + 1), dtype=np.int64)
    places, total = _places(excess, levels, practice_trial), excess.reshape(-1)
    arm = np.zeros(len(practice_trial), dtype=np.int64)
    tie = 1e-9 * w.sum()  # weights such as 0.1 do not add up exactly
    for at in arrivals(practice_trial, order):
        place = places[:, at]
        here = total[place]
        score = w @ _preference(here, control, intervention, imbalance)
        tied = np.abs(score) <= tie
        chosen = coins[at] < np.where(tied, share, np.where(score < 0, up, down))
        arm[at] = chosen
        total[place] = here + np.where(chosen, control, -intervention)
    return arm


def steps_against(
    levels: Ints, arm: Ints, practice_trial: Rows, *, imbalance: Imbalance = "range",
    weights: Sequence[float], ratio: Sequence[int] = (1, 1),
) -> tuple[Ints, Ints]:  # fmt: skip
    """Count the steps against the preferred arm, and the steps that had one (trials,), in arms already allocated.

    Arguments as of `minimise`; practices arrive as they stand.
    """
    control, intervention = ratio
    factors, trials = len(levels), int(practice_trial.max(initial=-1)) + 1
    w = np.asarray(weights, dtype=np.float64)
    excess = np.zeros((factors, trials, int(levels.max(initial=0)) + 1), dtype=np.int64)
    places, total = _places(excess, levels, practice_trial), excess.reshape(-1)
    against, steps = np.zeros(trials, dtype=np.int64), np.zeros(trials, dtype=np.int64)
    tie = 1e-9 * w.sum()
    for at in arrivals(practice_trial):
        rows, place = practice_trial[at], places[:, at]
        here = total[place]
        score = w @ _preference(here, control, intervention, imbalance)
        prefers = np.abs(score) > tie
        steps[rows] += prefers
        against[rows] += prefers & ((score < 0) != (arm[at] == 1))
        total[place] = here + np.where(arm[at] == 1, control, -intervention)
    return against, steps


def _places(excess: Ints, levels: Ints, practice_trial: Rows) -> Rows:
    """Where each practice's levels are counted among all of (factors, trials, levels): (factors, practices)."""
    factors, trials, width = excess.shape
    return np.asarray((np.arange(factors)[:, None] * trials + practice_trial) * width + levels)


def _preference(excess: Ints, control: int, intervention: int, imbalance: Imbalance) -> NDArray[Any]:
    """Total if intervention is chosen less that if control is: negative where intervention balances better."""
    if imbalance == "marginal-sum":
        return excess
    if imbalance == "range":
        return np.abs(excess + control) - np.abs(excess - intervention)
    return (excess + control) ** 2 - (excess - intervention) ** 2


def preferred(best: float, ratio: Sequence[int]) -> tuple[float, float]:
    """Probability of intervention where it is preferred, and where control is.

    The arm with fewer planned is chosen with ``best`` when preferred, the other with 1 - (1 - best) r_few / r_many, so
    that the ratio holds overall whenever the arms are preferred in the ratio (biased-coin minimisation: Han, Enas and
    McEntegart 2009, doi:10.1002/sim.3710). Equal ratios: best and 1 - best.
    """
    control, intervention = ratio
    if intervention <= control:
        return best, (1.0 - best) * (intervention / control)
    return 1.0 - (1.0 - best) * (control / intervention), 1.0 - best
