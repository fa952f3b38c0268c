"""Permuted blocks within strata."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats, Ints
from simtrial.generate.allocation.minimisation import Rows, arrivals, spans


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


def count_fits(
    practices: Ints, treated: Ints, sizes: Sequence[int], ratio: Sequence[int] = (1, 1)
) -> NDArray[np.bool_]:
    """Whether whole blocks and one that is begun can hold so many practices, so many of them treated (strata,).

    Whole blocks hold m practices, m a sum of ``sizes``, and the arms in the ratio; the one begun at most as many of an
    arm as the largest block has.
    """
    most = int(practices.max(initial=0))
    whole = np.zeros(most + 1, dtype=bool)
    whole[0] = True
    for m in range(1, most + 1):
        whole[m] = any(whole[m - size] for size in sizes if size <= m)
    fits = np.zeros(len(practices), dtype=bool)
    for m in np.flatnonzero(whole).tolist():
        fits |= (m <= practices) & _begun(practices - m, treated - _treated(m, ratio), max(sizes), ratio)
    return fits


def sequence_fits(stratum: Ints, arm: Ints, sizes: Sequence[int], ratio: Sequence[int] = (1, 1)) -> NDArray[np.bool_]:
    """Whether the arms of every stratum (strata,), in the order of the practices, are blocks one after the other.

    ``stratum`` and ``arm`` (practices,); strata are 0, 1, ... and have a practice each. Position i of a stratum can end
    a block if position i - b can, for one of the sizes b, and the arms between are in the ratio.
    """
    order = np.argsort(stratum, kind="stable")
    starts, counts = spans(stratum[order])
    place = np.arange(len(order)) - np.repeat(starts, counts)
    arms = np.zeros((len(counts), int(counts.max(initial=0)) + 1), dtype=np.int64)
    arms[stratum[order], place + 1] = arm[order]
    treated = np.cumsum(arms, axis=1)
    ends = np.zeros(treated.shape, dtype=bool)
    ends[:, 0] = True
    for i in range(1, treated.shape[1]):
        for size in sizes:
            if size <= i:
                ends[:, i] |= ends[:, i - size] & (treated[:, i] - treated[:, i - size] == _treated(size, ratio))
    fits = np.zeros(len(counts), dtype=bool)
    for i in range(treated.shape[1]):
        rest = counts - i
        fits |= ends[:, i] & (rest >= 0) & _begun(rest, treated[:, -1] - treated[:, i], max(sizes), ratio)
    return fits


def _treated(size: int, ratio: Sequence[int]) -> int:
    return size * ratio[1] // (ratio[0] + ratio[1])


def _begun(practices: Ints, treated: Ints, size: int, ratio: Sequence[int]) -> NDArray[np.bool_]:
    """Whether a block of a size can hold these practices in its two arms."""
    control = practices - treated
    most = _treated(size, ratio)
    return (treated >= 0) & (control >= 0) & (treated <= most) & (control <= size - most)
