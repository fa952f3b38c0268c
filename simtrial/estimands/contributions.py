"""What every practice contributes to an estimand: sums over the people it is about, from potential outcomes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats
from simtrial.batch import ObservedBatch, TrialBatch
from simtrial.estimands.estimand import COMPLIER_SHARE, LIMITS, Estimand
from simtrial.estimands.limits import World, cross_products
from simtrial.expressions import evaluate, truth
from simtrial.generate.worlds import access, if_control, if_offered
from simtrial.kernels.segments import sum_by


def _everyone(estimand: Estimand, batch: TrialBatch) -> NDArray[np.bool_]:
    return np.ones(batch.index.participants, dtype=bool)


def _described(estimand: Estimand, batch: TrialBatch) -> NDArray[np.bool_]:
    assert estimand.expression is not None
    return evaluate(estimand.expression, if_offered(batch))


def _compliers(estimand: Estimand, batch: TrialBatch) -> NDArray[np.bool_]:
    """Compliers: receive if offered, but not in control (always-takers have access in control)."""
    takers = _described(estimand, batch)
    if access(batch) is None:
        return takers
    assert estimand.expression is not None
    return takers & ~evaluate(estimand.expression, if_control(batch))


POPULATIONS: dict[str, Callable[[Estimand, TrialBatch], NDArray[np.bool_]]] = {
    "itt": _everyone,
    "cace": _compliers,
    "subgroup": _described,
    "full-availability": _everyone,
}
"""Whom each kind of effect is about."""


def _average(
    estimand: Estimand, batch: TrialBatch, values: Floats, counted: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Numerator and denominator, from every practice, of the mean of some people's values, each (practices,)."""
    practice, practices = batch.index.participant_practice, batch.index.practices
    total = sum_by(values * counted, practice, practices)
    people = sum_by(counted, practice, practices)
    if estimand.unit == "participant":
        return total, people
    if estimand.weights == COMPLIER_SHARE:
        everyone = np.maximum(sum_by(np.ones(len(practice)), practice, practices), 1.0)
        return total / everyone, people / everyone
    weight = (people > 0).astype(np.float64)
    if estimand.weights is not None:
        weight *= batch.at(estimand.weights, "practice")
    return weight * total / np.maximum(people, 1.0), weight


def contributions(estimand: Estimand, batch: TrialBatch) -> tuple[Floats, ...]:
    """What every practice adds to the estimand, each (practices,): numerator and denominator of an effect.

    Participant average: sum of unit effects and number of people; cluster average: mean unit effect and 1 (or the
    practice's weight), for practices with at least one person concerned. A limit has two pairs, one for each side of
    the contrast: E[Y(1) | kept] and E[Y(0) | kept] (per protocol); E[Y | received] and E[Y | not received], practices
    allocated 1:1 (as treated). Whoever is not known to be on a side is on none. With covariates it has the
    cross-products of the regression instead, see `simtrial.estimands.limits`.
    """
    control, treated = (batch.at(f"{estimand.response}_if_{arm}") for arm in ("control", "intervention"))
    if estimand.kind == "iv-limit":
        return _moved(estimand, batch, treated - control)
    if estimand.kind not in LIMITS:
        return _average(estimand, batch, treated - control, POPULATIONS[estimand.kind](estimand, batch))
    assert estimand.expression is not None
    offered, without = (truth(estimand.expression, world(batch)) for world in (if_offered, if_control))
    protocol = estimand.kind == "per-protocol"
    if estimand.adjust:
        ones = np.ones(batch.index.participants)
        worlds = [
            World(values, known.holds if protocol else ~known.unknown, arm * ones if protocol else known.holds * ones)
            for arm, values, known in ((0.0, control, without), (1.0, treated, offered))
        ]
        return cross_products(batch, worlds, estimand.adjust, estimand.unit == "cluster")
    if protocol:
        return (
            *_average(estimand, batch, treated, offered.holds), *_average(estimand, batch, control, without.holds)
        )  # fmt: skip
    sides: list[Floats] = []
    for one, other in ((offered.holds, without.holds), (offered.fails, without.fails)):
        first, second = (_average(estimand, batch, *pair) for pair in ((treated, one), (control, other)))
        sides += [0.5 * (first[0] + second[0]), 0.5 * (first[1] + second[1])]
    return tuple(sides)


def _moved(estimand: Estimand, batch: TrialBatch, effect: Floats) -> tuple[Floats, Floats]:
    """Effects of allocation on the outcome and on receipt, added up by practice or averaged there, each (practices,).

    Their ratio is sum_s p_s d_s r_s / sum_s p_s r_s over principal strata, r 1 for compliers, -1 for defiers, 0 for
    others, d r their effects: where allocation acts on others, or in defiers, it is no stratum's effect.
    """
    offered, without = (_receipt(estimand, world(batch)) for world in (if_offered, if_control))
    everybody = np.ones(batch.index.participants, dtype=bool)
    moved = offered - without
    outcome, _ = _average(estimand, batch, effect, everybody)
    receipt, _ = _average(estimand, batch, moved, everybody)
    return outcome, receipt


def _receipt(estimand: Estimand, world: ObservedBatch) -> Floats:
    """Receipt, 0 or 1, or the dose in a world (participants,); an unknown dose is none."""
    if estimand.dose is not None:
        return np.nan_to_num(np.asarray(world.at(estimand.dose), dtype=np.float64))
    assert estimand.expression is not None
    return evaluate(estimand.expression, world).astype(np.float64)


def ratio(*parts: Floats) -> tuple[float, float]:
    """Ratio of means, or a difference of two, with its delta-method standard error, rows independent.

    ``parts`` are numerator and denominator, and those of what is subtracted. With sums N_k/D_k = r_k the error is that
    of the sum over rows of (n_1 - r_1 d_1)/D_1 - (n_2 - r_2 d_2)/D_2.
    """
    value, influence = 0.0, np.zeros(len(parts[0]))
    for sign, numerator, denominator in zip((1.0, -1.0), parts[::2], parts[1::2], strict=False):
        total = denominator.sum()
        if total == 0:
            return float("nan"), float("nan")
        mean = numerator.sum() / total
        value += sign * mean
        influence += sign * (numerator - mean * denominator) / total
    return float(value), float(np.sqrt((influence**2).sum()))


def sample_values(estimand: Estimand, batch: TrialBatch) -> Floats:
    """Effect among the people of each trial (trials,); NaN if the estimand concerns none of them."""
    numerator, denominator = contributions(estimand, batch)
    index = batch.index
    above, below = (sum_by(part, index.practice_trial, index.trials) for part in (numerator, denominator))
    return np.asarray(np.divide(above, below, out=np.full(index.trials, np.nan), where=below > 0))
