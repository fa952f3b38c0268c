"""Enough imputations, trial by trial: a first stage says how many its standard error needs, a second draws the rest.

Draws of the second stage go on where those of the first ended, for all trials of a batch; a trial pools as many of them
as it needs. So its number of imputations depends on its own first stage alone, and its row is that of a fixed number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import numpy as np

from simtrial.arrays import Bools
from simtrial.estimators import Estimates
from simtrial.kernels.rubin import imputations_needed

T = TypeVar("T")


def refuse_what_needs_one_m(m: int, most: int, effects: bool, tipping: bool, resampled: bool) -> None:
    """Raise an error for numbers and options that two stages do not go with."""
    if not 2 <= m <= most:
        raise ValueError(
            f"m_rule = 'two-stage': m = {m} imputations of the first stage; allowed are 2 to m_max = {most}"
        )
    options = {"pooled = 'effects'": effects, "a tipping point": tipping, "resampled = true": resampled}
    if wrong := [name for name, used in options.items() if used]:
        raise ValueError(f"m_rule = 'two-stage': {wrong[0]} needs the same m in every trial; take m_rule = 'fixed'")


def in_two_stages(
    pool: Callable[[Sequence[T]], Estimates], first: list[T], more: Iterator[T], se_cv: float, most: int
) -> Estimates:
    """Pool the analyses of a first stage, draw more where they are too few, and pool as many as each trial needs.

    Parameters
    ----------
    pool
        Pools analyses of completed data, those of every trial alike.
    first, more
        Analyses of the first stage, which become those of both, and an endless supply of others.
    """
    found = pool(first)
    riv = found.extras["riv"]
    needed = imputations_needed(riv / (1.0 + riv), len(first), se_cv, most)
    needed[found.failed] = len(first)
    for m in np.unique(needed[needed > len(first)]).tolist():
        first += [next(more) for _ in range(m - len(first))]
        found = _chosen(needed == m, pool(first), found)
    used = np.where(found.failed, np.nan, needed)
    return replace(found, extras={**found.extras, "m_used": used})


def _chosen(trials: Bools, one: Any, other: Any) -> Any:
    """Results of ``one`` in some trials, of ``other`` in the rest: arrays with trials last, and what they make up."""
    if isinstance(one, np.ndarray):
        return np.where(trials, one, other)
    if isinstance(one, dict):
        return {name: _chosen(trials, one[name], other[name]) for name in one}
    if is_dataclass(one) and not isinstance(one, type):
        own = {f.name: _chosen(trials, getattr(one, f.name), getattr(other, f.name)) for f in fields(one)}
        return replace(one, **own)
    return one
