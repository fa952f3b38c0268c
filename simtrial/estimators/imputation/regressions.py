"""What engines that draw from regressions share: what is missing, the order in which it is filled, and why not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats, Ints
from simtrial.batch import ObservedBatch
from simtrial.estimators.imputation.incomplete import Incomplete
from simtrial.flags import BIT
from simtrial.moments.build import Known, predictors
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec

REASONS = {
    "one_arm": "all people with everything observed are in one arm",
    "no_data": "no more people with everything observed than coefficients",
    "arm_aliased": "arm is collinear with the covariates among the people with everything observed",
    "out_of_range": "its values are too large or too small to be computed with",
    "constant_outcome": "it is constant given the covariates",
}


class FilledColumn(Protocol):
    """One column to fill for some participants, with the model it is drawn from."""

    @property
    def column(self) -> str:
        """Name of the column."""

    @property
    def drawable(self) -> bool:
        """Whether there is a trial to draw for."""

    @property
    def failed(self) -> Bools:
        """Trials with something to fill whose model cannot be fitted (trials,)."""

    @property
    def flags(self) -> NDArray[np.int64]:
        """What is odd about the models of trials in which they were used (trials,)."""

    def reason(self, trial: int) -> str:
        """Say why the model of one trial cannot be fitted."""

    def drawn(self, batch: ObservedBatch, rng: np.random.Generator) -> Floats:
        """Draw parameters and values once for every trial; the column filled (participants,)."""


@dataclass(frozen=True)
class Parameters:
    """One draw of the parameters: ``coefficients`` (p, trials), ``sigma2`` (trials,), ``effects`` (practices,)."""

    coefficients: Floats
    sigma2: Floats
    effects: Floats


def mean(
    batch: ObservedBatch, spec: Spec, fitted: Moments, own: Parameters, rows: Ints, known: Known | None = None
) -> Floats:
    """Mean of the outcome of a model for some participants, given its parameters (rows,); ``known`` of `predictors`."""
    people = batch.index.participant_trial[rows]
    values = np.einsum("pn,pn->n", predictors(batch, spec, fitted, rows, known), own.coefficients[:, people])
    values += fitted.center[fitted.regressors, people] + own.effects[batch.index.participant_practice[rows]]
    return np.asarray(values)


def gaps(incomplete: Incomplete) -> Iterator[tuple[Spec, Moments, Ints]]:
    """Models of whatever is missing, their moments, and who needs a value: those of the baseline first."""
    spec, baseline = incomplete.spec, incomplete.model.baseline
    no_outcome = incomplete.lacks(spec.outcome)
    if baseline is not None:
        no_baseline = incomplete.lacks(baseline)
        for names, people in (
            ((*incomplete.covariates, spec.outcome), no_baseline & ~no_outcome),
            (incomplete.covariates, no_baseline & no_outcome),
        ):
            if people.any():
                own = Spec(baseline, None, names, spec.where)
                yield own, incomplete.moments_of(own), np.flatnonzero(people)
    yield spec, incomplete.moments, np.flatnonzero(no_outcome)


def reason(column: str, flags: int, otherwise: str) -> str:
    """Say why the model of a column cannot be fitted, by the flags of its moments."""
    why = next((words for flag, words in REASONS.items() if flags & BIT[flag]), otherwise)
    return f"the imputation model of '{column}' cannot be fitted: {why}"


@dataclass(frozen=True)
class FittedRegressions:
    """The missing columns of a batch in the order they are filled, each with its fitted model."""

    incomplete: Incomplete
    missing: tuple[FilledColumn, ...]

    def complete(self, rng: np.random.Generator) -> ObservedBatch:
        """Fill every column once."""
        batch = self.incomplete.batch
        for each in self.missing:
            if each.drawable:
                batch = self.incomplete.filled(batch, each.column, each.drawn(batch, rng))
        return batch

    @property
    def failed(self) -> Bools:
        """Trials in which somebody needs a value from a model that cannot be fitted (trials,)."""
        return np.asarray(np.any([each.failed for each in self.missing], axis=0))

    @property
    def flags(self) -> NDArray[np.int64]:
        """What is odd about the models of trials in which they were used (trials,)."""
        return np.asarray(np.bitwise_or.reduce([each.flags for each in self.missing]))

    def reason(self, trial: int) -> str:
        """Say of a trial that failed which model cannot be fitted, and why."""
        return next(each.reason(trial) for each in self.missing if each.failed[trial])
