"""Named estimands, and their true values by super-population Monte Carlo with practices as the unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from simtrial.batch import TrialBatch
from simtrial.expressions import columns, evaluate, parse
from simtrial.generate import Mechanism, simulate, stages_for
from simtrial.generate.outcomes import if_offered
from simtrial.kernels.segments import sum_by

Floats = NDArray[np.float64]

PRACTICES = 100_000
"""Practices simulated for the true values of a cell: a fixed effort, whatever the number of replicates."""


class Estimand(BaseModel):
    """A quantity that methods estimate.

    kind itt: effect of allocation on everyone randomised. kind cace: effect of allocation among those who would
    receive the intervention if offered, ``received`` saying what counts. ``unit`` participant averages over people,
    cluster over practices (each practice's mean counts once).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    name: str = Field(min_length=1, description="unique within the file")
    kind: Literal["itt", "cace"] = Field(description="which effect")
    unit: Literal["participant", "cluster"] = Field("participant", description="over what the effect is averaged")
    response: str = Field("mansa", description="outcome")
    received: str | None = Field(None, description="expression that defines receipt, for cace")

    @model_validator(mode="after")
    def _received_for_cace(self) -> Estimand:
        if (self.kind == "cace") != (self.received is not None):
            raise ValueError("kind 'cace' needs received, e.g. received = 'sessions >= 6'; kind 'itt' takes none")
        return self

    def reads(self) -> frozenset[str]:
        """Columns its true value is found from."""
        needed = {f"{self.response}_if_control", f"{self.response}_if_intervention"}
        return frozenset(needed | (columns(parse(self.received)) if self.received else set()))


@dataclass(frozen=True)
class TrueValue:
    """A true value with its Monte Carlo standard error and the practices it rests on."""

    estimand: str
    value: float
    mcse: float
    practices: int


def _everyone(estimand: Estimand, batch: TrialBatch) -> NDArray[np.bool_]:
    return np.ones(batch.index.participants, dtype=bool)


def _compliers(estimand: Estimand, batch: TrialBatch) -> NDArray[np.bool_]:
    assert estimand.received is not None
    return evaluate(estimand.received, if_offered(batch))


POPULATIONS: dict[str, Callable[[Estimand, TrialBatch], NDArray[np.bool_]]] = {"itt": _everyone, "cace": _compliers}
"""Whom each kind of estimand is about."""

MEANINGS = {
    "itt": "effect of allocation on everyone randomised",
    "cace": "effect of allocation on those who would receive the intervention if offered",
}


def contributions(estimand: Estimand, batch: TrialBatch) -> tuple[Floats, Floats]:
    """Numerator and denominator of the estimand from every practice, each (practices,).

    Participant average: sum of unit effects and number of people; cluster average: mean unit effect and 1, for
    practices with at least one person concerned.
    """
    counted = POPULATIONS[estimand.kind](estimand, batch)
    effect = batch.at(f"{estimand.response}_if_intervention") - batch.at(f"{estimand.response}_if_control")
    practice, practices = batch.index.participant_practice, batch.index.practices
    total = sum_by(effect * counted, practice, practices)
    people = sum_by(counted, practice, practices)
    if estimand.unit == "participant":
        return total, people
    some = (people > 0).astype(np.float64)
    return total / np.maximum(people, 1.0), some


def ratio(numerator: Floats, denominator: Floats) -> tuple[float, float]:
    """Ratio of means with its delta-method standard error, practices independent."""
    total = denominator.sum()
    if total == 0:
        return float("nan"), float("nan")
    value = numerator.sum() / total
    return float(value), float(np.sqrt(((numerator - value * denominator) ** 2).sum()) / total)


def true_values(
    estimands: list[Estimand], mechanism: Mechanism, seed: int, cell: str, block: int = 250
) -> list[TrueValue]:
    """Find the true value of every estimand in a cell, from potential outcomes of `PRACTICES` practices.

    Allocation, dropout and missingness play no part. The streams are set apart from those of the replicates.
    """
    if not estimands:
        return []
    number: Any = mechanism["practices"].number  # type: ignore[attr-defined]
    blocks = ceil(PRACTICES / (number * block))
    trials = ceil(PRACTICES / (number * blocks))
    needed = frozenset[str]().union(*(e.reads() for e in estimands))
    stages = stages_for(mechanism, needed, masks=False)
    parts: list[list[tuple[Floats, Floats]]] = []
    for k in range(blocks):
        batch = simulate(mechanism, trials, seed, cell, k, stages=stages, purpose="true values: ")
        parts.append([contributions(e, batch) for e in estimands])
    found = []
    for at, estimand in enumerate(estimands):
        numerator, denominator = (np.concatenate([p[at][side] for p in parts]) for side in (0, 1))
        value, mcse = ratio(numerator, denominator)
        found.append(TrueValue(estimand.name, value, mcse, len(numerator)))
    return found
