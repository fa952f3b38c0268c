"""Sessions of a person by their normal score: quantiles of a hurdle zero-truncated negative binomial."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from simtrial.arrays import Floats, Ints, in_order
from simtrial.core import compiled
from simtrial.generate.by_practice import with_practices
from simtrial.generate.distributions.tables import invert, truncated_negative_binomial

CELLS, PER_SCORE = 8192, 800.0
"""Cells of the guide, and how many of them a unit of the score has: from -5.12 to 5.12."""

MARGIN = 1e-8
"""So near to a step a score is looked up exactly: rounding moves a probability by less than this moves it."""


def sessions_at(
    of_practices: Floats, practice: Ints, own: Floats, within: float, law: tuple[float, float, float]
) -> Floats:
    """Sessions at normal scores u_j + within own_ij: 0 below the share without contact, then the others' quantiles.

    The score is turned into a probability only where its cell of the guide holds a step, for one person in fifty of
    PARTNERS2: elsewhere all scores of the cell have the same sessions.

    Parameters
    ----------
    of_practices, practice
        (practices,) the practices' part u, and (participants,) the place of each person's practice.
    own, within
        (participants,) the persons' own part, and its SD.
    law
        Share without contact; mu and k of the negative binomial before it is truncated.
    """
    guide = _guide(*law)
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/sessions.c takes over
        found, places, count = np.empty(len(practice)), np.empty(len(practice), dtype=np.intp), np.zeros(1, np.intp)
        scores = in_order(of_practices, own)
        core.sessions_at(next(scores), practice, next(scores), within, guide, PER_SCORE, found, places, count)
        near = places[: int(count[0])]
    else:
        place = with_practices(0.0, of_practices, practice, own, within)
        place *= PER_SCORE
        place += CELLS // 2 + 1
        found = guide.take(place.astype(np.intp), mode="clip")
        near = np.flatnonzero(np.isnan(found))
    found[near] = _exactly(with_practices(0.0, of_practices, practice[near], own[near], within), *law)
    return found


def _exactly(score: Floats, no_contact: float, mu: float, shape: float) -> Floats:
    """Sessions at normal scores by way of their probabilities (people,)."""
    from scipy.special import ndtr

    uniform = ndtr(score)
    attended = np.clip((uniform - no_contact) / (1.0 - no_contact), 0.0, 1.0)
    return np.where(uniform < no_contact, 0.0, invert(truncated_negative_binomial(mu, shape), attended))


@lru_cache(maxsize=64)
def _guide(no_contact: float, mu: float, shape: float) -> Floats:
    """Sessions in each cell of scores, blank where there is a step in it or at its ends; beyond all cells blank.

    Sessions rise with the score, so that they are equal throughout a cell if they are at its ends.
    """
    ends = (np.arange(CELLS + 1) - CELLS // 2) / PER_SCORE
    lower, upper = (_exactly(at, no_contact, mu, shape) for at in (ends[:-1] - MARGIN, ends[1:] + MARGIN))
    return np.concatenate([[np.nan], np.where(lower == upper, lower, np.nan), [np.nan]])
