"""Intervals by inversion of a randomisation test: the effects that re-allocated statistics do not reject."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats

TIE = 1e-9  # statistics this close, relative to the largest, are equal


def interval(moved: Floats, arm: Floats, own: Floats, there: Bools, alpha: float) -> Floats:
    """Effects not rejected, less the estimate: the hull of the d at which p(d) > alpha.

    With u = ``moved``, a_b = ``arm`` (draws, trials) and a = ``own`` (trials,), a draw is as extreme as the trial at d
    where |u - d a_b| >= a |d|: between the roots u / (a_b - a) and u / (a_b + a), which lie on both sides of 0, if
    |a_b| < a, else outside of them. So the number of such draws changes only at roots, and is counted from 0 outwards.

    Returns
    -------
    ends
        (2, trials); infinite where effects are not rejected however large.
    """
    roots = []
    for bottom in (arm - own, arm + own):
        flat = np.abs(bottom) <= TIE * own
        roots.append(np.where(flat, np.inf, moved / np.where(flat, 1.0, bottom)))
    always = (moved == 0) & (np.abs(np.abs(arm) - own) <= TIE * own)
    inside = np.abs(arm) <= own * (1.0 + TIE)
    count = there.sum(axis=0)
    needed = np.floor(alpha * (count + 1) + 1e-9)
    ends = []
    for sign in (-1.0, 1.0):
        first, second = (np.where(np.isinf(root), np.inf, sign * root) for root in roots)
        leaves = np.where(inside, np.maximum(np.where(np.isinf(first), -1.0, first), second), np.minimum(first, second))
        leaves = np.where(inside & np.isinf(second), _alone(first), leaves)
        leaves = np.where(inside & np.isinf(first), _alone(second), leaves)
        returns = np.where(inside, np.inf, np.maximum(first, second))
        away = always | (leaves < 0) | ~there
        leaves = np.where(away, np.inf, leaves)
        returns = np.where(away, np.inf, returns)
        ends.append(sign * _last(np.concatenate([leaves, returns, np.full((1, len(own)), np.inf)]), count, needed))
    return np.stack(ends)


def _alone(root: Floats) -> Floats:
    """Where a draw leaves that has one root: nowhere on this side if the root is on the other."""
    return np.where(root >= 0, root, np.inf)


def _last(events: Floats, count: NDArray[np.intp], needed: Floats) -> Floats:
    """Last place up to which ``needed`` draws are in; of ``events`` (2 draws + 1, trials) the first half leave."""
    draws = len(events) // 2
    order = np.argsort(events, axis=0, kind="stable")
    places = np.take_along_axis(events, order, axis=0)
    change = np.where(np.isinf(places), 0, np.where(order < draws, -1, 1))
    before = count + np.concatenate([np.zeros((1, len(count)), dtype=np.intp), np.cumsum(change, axis=0)[:-1]])
    enough = before >= needed
    last = len(events) - 1 - np.argmax(enough[::-1], axis=0)
    return np.asarray(places[last, np.arange(len(count))])
