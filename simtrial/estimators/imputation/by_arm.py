"""Imputation of each arm from its own people, by any engine that can do so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools
from simtrial.batch import ObservedBatch
from simtrial.estimators.imputation.engine import FittedEngine, ImputationEngine
from simtrial.estimators.imputation.incomplete import Incomplete
from simtrial.kernels.segments import sum_by
from simtrial.moments.build import predictors
from simtrial.moments.rows import regressors

ARMS = ("control", "intervention")
APART = 1e-4
"""Share of a column's largest value by which a person may differ from what the other columns say it is.

Columns are dropped where others leave up to 1e-5 of their length (`simtrial.kernels.small_matrices.ALIASED`).
"""


def fit_by_arm(engine: ImputationEngine, incomplete: Incomplete) -> FittedByArm:
    """Fit an engine to each arm."""
    parts = tuple(incomplete.of_arm(arm) for arm in (0, 1))
    return FittedByArm(
        incomplete=incomplete,
        arms=tuple(engine.fit(part) for part in parts),
        unlike=tuple(Unlike.of(part) if engine.extrapolates else Unlike.none(part) for part in parts),
    )


@dataclass(frozen=True, kw_only=True)
class FittedByArm:
    """An engine fitted to each arm of a batch."""

    incomplete: Incomplete
    arms: tuple[FittedEngine, ...]
    unlike: tuple[Unlike, ...]

    @property
    def failed(self) -> Bools:
        """Trials of which an arm cannot be imputed (trials,)."""
        return np.asarray(np.any([*(x.failed for x in self.arms), *(x.failed for x in self.unlike)], axis=0))

    @property
    def flags(self) -> NDArray[np.int64]:
        """What is odd about the models of either arm (trials,)."""
        return np.asarray(np.bitwise_or.reduce([each.flags for each in self.arms]))

    def reason(self, trial: int) -> str:
        """Say of a trial that failed which arm cannot be imputed, and why."""
        parts = []
        for name, fitted, unlike in zip(ARMS, self.arms, self.unlike, strict=True):
            if fitted.failed[trial]:
                parts.append(f"in the {name} arm, {fitted.reason(trial)}")
            elif unlike.failed[trial]:
                parts.append(f"in the {name} arm, {unlike.reason(trial)}")
        return "; ".join(parts)

    def complete(self, rng: np.random.Generator) -> ObservedBatch:
        """Fill the gaps of control, then those of intervention."""
        control, intervention = (fitted.complete(rng) for fitted in self.arms)
        batch, model = self.incomplete.batch, self.incomplete.model
        treated = batch.at("arm") == 1
        for name in (model.baseline, self.incomplete.spec.outcome):
            if name is not None:
                values = np.where(treated, intervention.at(name), control.at(name))
                batch = self.incomplete.filled(batch, name, values)
        return batch


@dataclass(frozen=True)
class Unlike:
    """People to be imputed who are like nobody their model was fitted to: ``failed`` (trials,), ``terms`` (p, trials).

    A column that the fitted people cannot tell from others is dropped: nobody of a region with everything observed,
    say. Someone for whom it differs from what those others make of it would get a value that no data support.
    """

    terms: tuple[str, ...]
    which: Bools

    @classmethod
    def of(cls, incomplete: Incomplete) -> Unlike:
        """Look at every dropped column of the model of the outcome, the baseline and its products aside."""
        batch, spec, fitted = incomplete.batch, incomplete.spec, incomplete.moments
        trials, p = fitted.trials, fitted.regressors
        which = np.zeros((p, trials), dtype=bool)
        needs = incomplete.lacks(spec.outcome)
        if incomplete.model.baseline is not None:
            needs = needs | incomplete.lacks(incomplete.model.baseline)
        rows, able = np.flatnonzero(needs), ~fitted.failed
        trial, practice = batch.index.participant_trial[rows], batch.index.participant_practice[rows]
        names = _names(incomplete)
        dropped = [k for k in range(1, p - 1) if (~fitted.kept[k] & able).any() and fitted.terms[k] in names]
        if not dropped or not len(rows):
            return cls(fitted.terms, which)
        columns, own = regressors(batch, spec), fitted.analysed
        known, person = fitted.design[:p], np.nan_to_num(predictors(batch, spec, fitted, rows))
        for k in dropped:
            values = columns[k].values
            seen = values[own.rows] if columns[k].level == "participant" else own.spread(values[own.cluster])
            there = values[rows if columns[k].level == "participant" else practice]
            products = np.stack([sum_by(x * seen, own.trial, trials) for x in known])
            made = np.einsum("ijt,jt->it", fitted.least_squares.inverse, products)
            apart = np.abs(there - np.einsum("pn,pn->n", person, made[:, trial]))
            largest = np.zeros(trials)
            np.maximum.at(largest, own.trial, np.abs(seen))
            np.maximum.at(largest, trial, np.abs(there))
            odd = (apart > APART * largest[trial]) & ~fitted.kept[k, trial] & able[trial]
            which[k, trial[odd]] = True
        return cls(fitted.terms, which)

    @classmethod
    def none(cls, incomplete: Incomplete) -> Unlike:
        """Nobody: the engine takes nothing from covariates."""
        terms = incomplete.moments.terms
        return cls(terms, np.zeros((len(terms), incomplete.moments.trials), dtype=bool))

    @property
    def failed(self) -> Bools:
        """Trials with somebody like nobody else (trials,)."""
        return np.asarray(self.which.any(axis=0))

    def reason(self, trial: int) -> str:
        """Name the columns that nobody with everything observed tells about."""
        names = ", ".join(f"'{term}'" for term, odd in zip(self.terms, self.which[:, trial], strict=True) if odd)
        return f"people with everything observed do not tell the effect of {names}, by which others differ from them"


def _names(incomplete: Incomplete) -> tuple[str, ...]:
    """Terms of the covariates, the baseline aside."""
    batch = incomplete.batch
    labels = {name: batch.column(name).categories for name in incomplete.covariates}
    return tuple(term for name in incomplete.covariates for term in ([f"{name}={c}" for c in labels[name]] or [name]))
