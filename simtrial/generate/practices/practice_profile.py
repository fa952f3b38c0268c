"""What a practice is like besides its region and size class: classes within regions, and the size of its register."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats

Ints = NDArray[np.int64]


@lru_cache(maxsize=256)  # the same for every block of a cell
def apportion(shares: tuple[float, ...], total: int) -> Ints:
    """Whole numbers that add up to ``total`` in proportion to shares, by largest remainder."""
    exact = np.asarray(shares) / np.sum(shares) * total
    whole: Ints = np.floor(exact + 1e-9).astype(np.int64)
    order = np.argsort(-(exact - whole), kind="stable")
    whole[order[: total - whole.sum()]] += 1
    whole.flags.writeable = False
    return whole


@lru_cache(maxsize=256)
def fixed_codes(shares: tuple[float, ...], total: int) -> Ints:
    """Code of each of ``total`` practices in the order of the classes, whose numbers are apportioned (total,)."""
    codes = np.repeat(np.arange(len(shares)), apportion(shares, total))
    codes.flags.writeable = False
    return codes


def fixed_classes(shares: Sequence[tuple[float, ...]], stratum: Ints, sizes: Ints, uniform: Floats) -> Ints:
    """Classes in the same numbers in every trial, stratum by stratum and in random order.

    Parameters
    ----------
    shares
        Shares of the classes in each stratum, in any unit.
    stratum, uniform
        (trials, practices): stratum of each practice, and what decides the order.
    sizes
        (strata,): practices in each stratum, the same in every trial.

    Returns
    -------
    codes
        (trials, practices).
    """
    codes = np.zeros(uniform.shape, dtype=np.int64)
    for s, wanted in enumerate(shares):
        if not sizes[s]:
            continue
        inside = stratum == s
        rank = np.argsort(np.argsort(np.where(inside, uniform, 2.0), axis=1, kind="stable"), axis=1, kind="stable")
        classes = np.repeat(np.arange(len(wanted)), apportion(wanted, int(sizes[s])))
        codes[inside] = classes[rank[inside]]
    return codes


def random_classes(shares: Sequence[tuple[float, ...]], stratum: Ints, uniform: Floats) -> Ints:
    """Classes drawn independently with the shares of each practice's stratum (trials, practices)."""
    edges = np.stack([np.cumsum(np.asarray(w) / np.sum(w))[:-1] for w in shares])
    return np.asarray((uniform[..., None] >= edges[stratum]).sum(axis=-1))


def shares_by_region(
    given: Mapping[str, tuple[float, ...]], regions: Sequence[str], other: tuple[float, ...]
) -> list[tuple[float, ...]]:
    """Shares of the classes in each region; ``other`` where none are given. Without any given, one stratum."""
    return [given.get(region, other) for region in regions] if given else [other]


def register_scores(small: NDArray[np.bool_], share: float, uniform: Floats) -> Floats:
    """Rank of each register among all practices, in (0, 1): below ``share`` for small practices, above it for large."""
    rank = np.where(small, share * uniform, share + (1.0 - share) * uniform)
    return np.asarray(np.clip(rank, 1e-16, 1.0 - 1e-16))


def register_sizes(rank: Floats, small: NDArray[np.bool_], share: float, law: tuple[float, float, int]) -> Floats:
    """Whole register sizes at given ranks of a lognormal that is cut off below.

    ``law``: median and sigma of the lognormal before it is cut, lowest size. A small practice has at most the threshold
    (the rounded quantile of ``share``), a large one more.
    """
    from scipy.special import ndtr, ndtri

    median, sigma, lowest = law
    cut = ndtr((np.log(lowest - 0.5) - np.log(median)) / sigma)

    def quantile(p: Floats) -> Floats:
        return np.asarray(np.maximum(np.rint(median * np.exp(sigma * ndtri(cut + (1.0 - cut) * p))), lowest))

    size = quantile(rank)
    threshold = quantile(np.asarray(share))
    return np.where(small | (share <= 0), size, np.maximum(size, threshold + 1.0)) if share < 1 else size
