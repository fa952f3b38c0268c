"""True values: in closed form where that is exact, else from simulated practices; or each trial's own."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np

from simtrial.arrays import Floats
from simtrial.batch import TrialBatch
from simtrial.estimands.contributions import contributions, ratio, sample_values
from simtrial.estimands.estimand import Estimand
from simtrial.estimands.limits import coefficient
from simtrial.generate import (
    Generator,
    Mechanism,
    drawn_for,
    practices_per_trial,
    simulate,
)
from simtrial.generate.closed_form import average_effect
from simtrial.generate.worlds import without_chance

PRACTICES = 100_000
"""Practices simulated for the true values of a cell: a fixed effort, whatever the number of replicates."""


@dataclass(frozen=True)
class TrueValue:
    """A true value with its Monte Carlo standard error and number of practices."""

    estimand: str
    value: float
    mcse: float
    practices: int


def own_values(
    estimands: list[Estimand], mechanism: Mechanism, batch: TrialBatch, seed: int, cell: str, block: int
) -> dict[str, Floats]:
    """True values of finite estimands in every trial of a block, each (trials,); NaN if undefined.

    ``batch`` is the block as drawn, potential outcomes included. Effects that reach everyone are those of the same
    people in a hypothetical world, which is drawn again from the same streams.
    """
    found = {e.name: sample_values(e, batch) for e in estimands if e.kind != "full-availability"}
    hypothetical = [e for e in estimands if e.kind == "full-availability"]
    if hypothetical:
        needed = drawn_for(mechanism, frozenset[str]().union(*(e.reads() for e in hypothetical)), masks=False)
        again = simulate(reaching_everyone(needed), batch.index.trials, seed, cell, block)
        found |= {e.name: sample_values(e, again) for e in hypothetical}
    return found


def reaching_everyone(mechanism: Mechanism) -> Mechanism:
    """Return the mechanism with an effect on everyone offered, whatever they would receive."""
    return {
        stage: step.model_copy(update={"effect_among": ""}) if "effect_among" in type(step).model_fields else step
        for stage, step in mechanism.items()
    }


def true_values(
    estimands: list[Estimand], mechanism: Mechanism, seed: int, cell: str, block: int = 250
) -> list[TrueValue]:
    """Find the true value of every estimand in a cell, from potential outcomes of `PRACTICES` practices.

    Allocation and missingness play no part, nor does dropout unless the outcome follows from it. The streams are set
    apart from those of the replicates, and are the same for hypothetical effects.
    """
    found = known_values(estimands, mechanism)
    for hypothetical in (False, True):
        some = [e for e in estimands if e.name not in found and (e.kind == "full-availability") == hypothetical]
        if some:
            world = reaching_everyone(mechanism) if hypothetical else mechanism
            found |= {t.estimand: t for t in in_simulated_practices(some, world, seed, cell, block)}
    return [found[e.name] for e in estimands]


def known_values(estimands: list[Estimand], mechanism: Mechanism) -> dict[str, TrueValue]:
    """True values in closed form: error 0, resting on no simulated practice."""
    step = mechanism.get("generator")
    if not isinstance(step, Generator):
        average = average_effect(mechanism)
        of = [e.name for e in estimands if e.kind == "itt" and e.response == "mansa" and not e.finite]
        return {} if average is None else {name: TrueValue(name, average, 0.0, 0) for name in of}
    pairs = [(e.name, step.known(e)) for e in estimands if not e.finite]
    return {name: TrueValue(name, float(value), 0.0, 0) for name, value in pairs if value is not None}


def in_simulated_practices(
    estimands: list[Estimand], mechanism: Mechanism, seed: int, cell: str, block: int = 250
) -> list[TrueValue]:
    """Find true values from potential outcomes, whether or not they are known in closed form."""
    needed, trials, blocks = planned(estimands, mechanism, block)
    parts: list[list[list[tuple[Floats, ...]]]] = []
    practices, largest = 0, dict.fromkeys((e.response for e in estimands), 0.0)
    while len(parts) < blocks or practices < PRACTICES:  # where not all practices open, a block may fall short
        batch = simulate(needed, trials, seed, cell, len(parts), purpose="true values: ")
        practices += batch.index.practices
        largest = {name: max(old, _largest(name, batch)) for name, old in largest.items()}
        parts.append(both_ways(estimands, batch))
    found = []
    for at, estimand in enumerate(estimands):
        ways = [
            [np.concatenate(side) for side in zip(*way, strict=True)]
            for way in zip(*(p[at] for p in parts), strict=True)
        ]
        values = [_combined(estimand, way) for way in ways]
        best = int(values[-1][1] < values[0][1])  # chosen by errors alone, which say nothing of the values
        concerned = practices if estimand.finite or estimand.adjust else _concerned(ways[best])
        exact = _exact(*values[best], concerned, largest[estimand.response])
        found.append(TrueValue(estimand.name, *exact, practices))
    return found


def planned(estimands: list[Estimand], mechanism: Mechanism, block: int = 250) -> tuple[Mechanism, int, int]:
    """What is drawn for true values, trials drawn together, and how often."""
    number = practices_per_trial(mechanism)
    blocks = ceil(PRACTICES / (number * block))
    needed = drawn_for(mechanism, frozenset[str]().union(*(e.reads() for e in estimands)), masks=False)
    return needed, ceil(PRACTICES / (number * blocks)), blocks


def _combined(estimand: Estimand, whole: list[Floats]) -> tuple[float, float]:
    """Value and error from the contributions of practices or trials."""
    if estimand.finite:
        return _mean_over_trials(whole[0])
    return coefficient(whole) if estimand.adjust else ratio(*whole)


def both_ways(estimands: list[Estimand], batch: TrialBatch) -> list[list[tuple[Floats, ...]]]:
    """Contributions of practices to each estimand, with and (if it exists) without the random part of mean 0."""
    steadier = without_chance(batch)
    return [_both_ways(estimand, batch, steadier) for estimand in estimands]


def _both_ways(estimand: Estimand, batch: TrialBatch, steadier: TrialBatch) -> list[tuple[Floats, ...]]:
    if estimand.finite:
        return [(sample_values(estimand, batch),)]
    return [contributions(estimand, world) for world in ((batch,) if steadier is batch else (batch, steadier))]


def _largest(response: str, batch: TrialBatch) -> float:
    """Largest absolute potential outcome, which sets the rounding error of differences."""
    return max(float(np.abs(batch.at(f"{response}_if_{arm}")).max(initial=0.0)) for arm in ("control", "intervention"))


def _concerned(parts: list[Floats]) -> int:
    """Number of practices with people concerned, on the smaller side of a contrast."""
    return min(int((below > 0).sum()) for below in parts[1::2])


def _mean_over_trials(values: Floats) -> tuple[float, float]:
    """Mean of the trials in which the estimand is defined, and its standard error."""
    defined = values[~np.isnan(values)]
    if len(defined) < 2:
        return float("nan"), float("nan")
    return float(defined.mean()), float(defined.std(ddof=1) / np.sqrt(len(defined)))


EVIDENCE = 100
"""Number of practices with equal effects that show a constant effect: fewer than 3% differ (rule of three)."""


def _exact(value: float, mcse: float, concerned: int, largest: float) -> tuple[float, float]:
    """Constant effects: drop rounding error and set the MCSE to 0.

    The same: the spread between practices is no more than rounding makes of outcomes as large as ``largest``. Where too
    few practices are concerned for that to show, the error is unknown (NaN), not 0.
    """
    if concerned < 2:
        return value, float("nan")
    if mcse * np.sqrt(concerned) > 1000 * np.finfo(float).eps * largest:
        return value, mcse
    if concerned < EVIDENCE:
        return value, float("nan")
    return round(value, 14 - floor(log10(largest or 1.0))), 0.0
