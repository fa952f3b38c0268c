"""Permuted blocks within strata."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simtrial.generate.minimisation import Floats, Ints, Rows, arrivals


def strata(levels: Sequence[NDArray[np.int64]], practices: int) -> Ints:
    """Code of the combination of levels each practice has (practices,); no factors: one stratum."""
    code = np.zeros(practices, dtype=np.int64)
    for factor in levels:
        code = code * (int(factor.max(initial=0)) + 1) + factor
    return np.asarray(np.unique(code, return_inverse=True)[1].reshape(practices))


def permuted_blocks(
    stratum: Ints, coins: Floats, sizes: Ints, practice_trial: Rows, *, ratio: Sequence[int] = (1, 1),
    order: Floats | None = None,
) -> Ints:  # fmt: skip
    """Allocate practices from blocks that hold the arms in the ratio, a sequence of blocks for each stratum of a trial.

    A practice that finds no block open in its stratum opens one of the size it brings. Within a block an arm is drawn
    with probability proportional to its places left, which makes every order of the block equally likely.

    Parameters
    ----------
    stratum, coins, sizes, practice_trial
        (practices,): codes; uniforms that decide; the size of the block that the practice would open, a multiple of
        the ratio's sum; and trial of each practice, sorted.
    ratio
        Practices in control and in intervention.
    order
        (practices,): sorts the order of arrival; None, as they stand.

    Returns
    -------
    arm
        (practices,).
    """
    shape = (int(practice_trial.max(initial=-1)) + 1, int(stratum.max(initial=0)) + 1)
    left, treated = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    arm = np.zeros(len(practice_trial), dtype=np.int64)
    for at in arrivals(practice_trial, order):
        cell = practice_trial[at], stratum[at]
        opens = left[cell] == 0
        places = np.where(opens, sizes[at], left[cell])
        offered = np.where(opens, sizes[at] * ratio[1] // (ratio[0] + ratio[1]), treated[cell])
        arm[at] = coins[at] < offered / places
        left[cell] = places - 1
        treated[cell] = offered - arm[at]
    return arm
