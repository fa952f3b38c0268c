"""Values of people from other values of theirs, in one pass where the compiled core serves."""

from __future__ import annotations

import numpy as np

from simtrial.arrays import Bools, Floats, in_order
from simtrial.core import compiled
from simtrial.seeding import drawing, move_on


def weighted_sum(
    first: float, of_first: Floats, second: float, of_second: Floats, out: Floats | None = None
) -> Floats:  # fmt: skip
    """First times one value and second times another, of each person (participants,).

    ``out`` is filled with it, and may be one of the values.
    """
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/by_person.c takes over
        found = np.empty(len(of_first)) if out is None else out
        one, other = in_order(of_first, of_second)
        core.weighted_sum(first, one, second, other, found)
        return found
    rest = second * of_second
    found = np.multiply(first, of_first, out=out)
    found += rest
    return found


def with_effect(score: Floats, effect: Floats | float, reached: Bools) -> Floats:
    """Scores (participants,) with an effect on those whom it reaches: (participants,), or one number for all."""
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/by_person.c takes over
        found = np.empty(len(score))
        core.with_effect(*in_order(score, np.atleast_1d(effect)), np.ascontiguousarray(reached), found)
        return found
    return np.asarray(score + effect * reached)


def spared(rng: np.random.Generator, people: int, probability: float) -> Floats:
    """1 for those to whom an event of this probability does not happen, 0 for the others, by a uniform number each."""
    marks = np.empty(people)
    if (core := drawing(rng, people)) is not None:  # here and nowhere else simtrial/core/by_person.c takes over
        move_on(rng, lambda state: core.spared(state, probability, marks))
        return marks
    return np.greater_equal(rng.random(people), probability, out=marks)


def stays(latent: Floats, limit: float, rng: np.random.Generator, probability: float) -> Floats:
    """1 for those whose latent score reaches no further than a limit and who are `spared` besides (people,)."""
    marks = np.empty(len(latent))
    if (core := drawing(rng, len(latent))) is not None:  # here and nowhere else simtrial/core/by_person.c takes over
        (scores,) = in_order(latent)
        move_on(rng, lambda state: core.stays(state, probability, scores, limit, marks))
        return marks
    return np.greater(latent <= limit, rng.random(len(latent)) < probability, out=marks)


def alike(value: Floats | float, people: int) -> Floats:
    """Values of people (participants,), read-only where they are one number for all, which is held once."""
    if isinstance(value, np.ndarray):
        return value
    once = np.ndarray(people, np.float64, np.array([value], dtype=np.float64), strides=(0,))
    once.flags.writeable = False
    return once
