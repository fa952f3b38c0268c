"""Values of people from those of their practices: scores with practice effects, and what happens in the arm."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats, Ints, in_order
from simtrial.core import compiled
from simtrial.generate.distributions.tables import record


def with_practices(
    expected: Floats | float, of_practices: Floats, practice: Ints, own: Floats, within: float,
    out: Floats | None = None,
) -> Floats:  # fmt: skip
    """Scores of people: expected_ij + u_j + within own_ij (participants,).

    Parameters
    ----------
    expected
        (participants,), or one number for all.
    of_practices
        (practices,): effects u.
    practice
        (participants,): place of each person's practice.
    own, within
        (participants,): individual residuals, and their SD.
    out
        (participants,): filled with the scores; it may be ``expected`` or ``own``.
    """
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/by_practice.c takes over
        score = np.empty(len(practice)) if out is None else out
        core.with_practices(*in_order(np.atleast_1d(expected), of_practices), practice, *in_order(own), within, score)
        return score
    residual = within * own
    score = np.add(expected, of_practices[practice], out=out)
    score += residual
    return score


def from_baseline(
    baseline: Floats, line: tuple[float, float, float], of_practices: Floats, practice: Ints, own: Floats, within: float
) -> Floats:
    """Scores of people who are expected on a line over their baseline, as `with_practices` (participants,).

    ``line`` is where the mean holds, the slope, and the mean: mean + slope (baseline - where).
    """
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/by_practice.c takes over
        score = np.empty(len(practice))
        start, effects, residual = in_order(baseline, of_practices, own)
        core.from_baseline(start, np.array(line), effects, practice, residual, within, score)
        return score
    where, slope, mean = line
    expected: Floats = baseline - where
    expected *= slope
    expected += mean
    return with_practices(expected, of_practices, practice, own, within, out=expected)


def in_arm(arm: NDArray[Any], practice: Ints, control: Floats | float, intervention: Floats) -> Floats:
    """What happens to people of two potential values, by the arm of their practice (participants,).

    ``arm`` (practices,) is 1 in intervention, ``practice`` (participants,) the place of each person's practice;
    ``control`` may be one number for all.
    """
    offered = arm == 1
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/by_practice.c takes over
        found = np.empty(len(practice))
        core.in_arm(offered, practice, *in_order(np.atleast_1d(control), intervention), found)
        return found
    return np.where(offered[practice], intervention, control)


def recorded_in_arm(
    arm: NDArray[Any], practice: Ints, control: Floats, intervention: Floats, scale: tuple[int, float, float]
) -> Floats:
    """Record both potential scores of people in place, and return the one of their practice's arm (participants,).

    Parameters
    ----------
    arm, practice
        As of `in_arm`.
    control, intervention
        (participants,): potential scores, which are then as `record` leaves them.
    scale
        Ratings averaged, lowest and highest score.
    """
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/recorded.c takes over
        found = np.empty(len(practice))
        core.record_both(control, intervention, arm == 1, practice, *scale, found)
        return found
    both = (record(score, *scale, out=score) for score in (control, intervention))
    return in_arm(arm, practice, *both)


def practice_of_people(recruited: Ints) -> Ints:
    """Place of each person's practice (participants,), from the people of every practice (practices,)."""
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/by_practice.c takes over
        practice = np.empty(recruited.sum(), dtype=np.intp)
        core.practice_of_people(recruited, practice)
        return practice
    return np.repeat(np.arange(len(recruited)), recruited)
