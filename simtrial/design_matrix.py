"""Which rows and columns an analysis takes from observed trials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simtrial.batch import ObservedBatch
from simtrial.expressions import evaluate

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Spec:
    """What is analysed: the outcome column (less another one, for change), covariates, conditions, receipt if any."""

    outcome: str
    minus: str | None = None
    adjust: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    received: str | None = None


@dataclass(frozen=True)
class Regressor:
    """One column of X: its term, values (practice or participant rows), level, and whether it is a measurement."""

    term: str
    values: Floats
    level: str
    measured: bool


def regressors(batch: ObservedBatch, spec: Spec) -> list[Regressor]:
    """Intercept, covariates in treatment contrasts (first category is the reference), arm."""
    found = [Regressor("intercept", np.ones(batch.index.practices), "practice", False)]
    for name in spec.adjust:
        column = batch.column(name)
        if column.categories:
            found += [
                Regressor(f"{name}={label}", (column.values == code).astype(np.float64), column.level, False)
                for code, label in enumerate(column.categories)
                if code
            ]
        else:
            found.append(Regressor(name, column.values, column.level, True))
    arm = batch.column("arm")
    return [*found, Regressor("arm", arm.values.astype(np.float64), arm.level, False)]


def responses(batch: ObservedBatch, spec: Spec) -> list[Regressor]:
    """Outcome (or change) and, where receipt is analysed, a 0/1 column of it."""
    values = batch.at(spec.outcome)
    if spec.minus is not None:
        values = values - batch.at(spec.minus)
    found = [Regressor("outcome", values, "participant", True)]
    if spec.received is not None:
        received = evaluate(spec.received, batch).astype(np.float64)
        found.append(Regressor("received", received, "participant", False))
    return found


def analysed(batch: ObservedBatch, spec: Spec, outcomes: list[Regressor]) -> Bools:
    """Participants with outcome, arm and covariates observed who meet every condition (participants,)."""
    seen = ~np.isnan(outcomes[0].values)
    for name in ("arm", *spec.adjust):
        values = batch.at(name)
        seen &= values >= 0 if batch.column(name).categories else ~np.isnan(values)
    for condition in spec.where:
        seen &= evaluate(condition, batch)
    return seen


def coefficients_needed(batch: ObservedBatch, spec: Spec) -> NDArray[np.int64]:
    """Coefficients that the covariates of each trial would need, were all of its people analysed (trials,)."""
    total = np.zeros(batch.index.trials, dtype=np.int64)
    for name in spec.adjust:
        column = batch.column(name)
        if not column.categories:
            total += 1
            continue
        trial = batch.index.practice_trial if column.level == "practice" else batch.index.participant_trial
        present = np.zeros((len(column.categories), batch.index.trials), dtype=bool)
        seen = column.values >= 0
        present[column.values[seen], trial[seen]] = True
        total += np.maximum(present.sum(axis=0) - 1, 0)
    return total
