"""Imputation by chained equations with practice means: outcome, baseline and covariates, whatever is missing."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.arrays import Bools, Floats, Ints
from simtrial.batch import Column, ObservedBatch
from simtrial.estimators.imputation.chain import Sweeps, gappy, hot_deck, needs
from simtrial.estimators.imputation.conditionals import Conditional
from simtrial.estimators.imputation.engine import register_imputation
from simtrial.estimators.imputation.incomplete import Incomplete
from simtrial.estimators.imputation.random_intercept import RandomIntercept
from simtrial.moments.rows import PRODUCT, Spec

SHARE = "share:"
"""What the names of shares of a category by practice begin with."""


@register_imputation("fcs")
class FullyConditional(RandomIntercept):
    """Chained equations: each incomplete column in turn from all others and their practice means.

    Numbers of people have a random intercept under the ``prior``, categories probit models, columns of practices
    regressions over practices (Resche-Rigon and White 2018, doi:10.1177/0962280216666564). Missing
    covariates are filled too.
    """

    arm_alone: ClassVar[bool] = False
    fills_covariates: ClassVar[bool] = True

    burn_in: int = Field(10, ge=0, description="sweeps before the first imputation")
    thin: int = Field(2, ge=1, description="sweeps from one imputation to the next")
    practice_means: bool = Field(True, description="whether people's columns enter by their practice means as well")

    def fit(self, incomplete: Incomplete) -> ChainedEquations:  # type: ignore[override]
        """Find what is missing of which column."""
        return ChainedEquations(incomplete, self)


class ChainedEquations:
    """A chain for every trial of a batch, all at once."""

    def __init__(self, incomplete: Incomplete, engine: FullyConditional) -> None:
        self.incomplete, self.engine = incomplete, engine
        self.names = gappy(incomplete)
        self.sweeps = Sweeps(incomplete, self.names, engine)
        self.none = np.zeros(incomplete.batch.index.trials, dtype=bool)
        self.state: ObservedBatch | None = None
        self.people = {"participant": np.arange(incomplete.batch.index.participants), "practice": _first(incomplete)}
        self.conditionals = {name: self._conditional(name) for name in self.names}

    def _conditional(self, name: str) -> Conditional:
        batch, trials = self.incomplete.batch, self.incomplete.batch.index.trials
        column = batch.column(name)
        spec = Spec(name, None, self._predictors(name), self.incomplete.spec.where)
        return Conditional(
            spec=spec, observed=column, gaps=needs(self.incomplete, name), people=self.people[column.level],
            tabulate=self.engine.tabulated, failed=np.zeros(trials, dtype=bool),
            flags=np.zeros(trials, dtype=np.int64),
        )  # fmt: skip

    def _predictors(self, name: str) -> tuple[str, ...]:
        """All other columns, and the practice means of those of people that have gaps, and of the outcome."""
        batch, spec = self.incomplete.batch, self.incomplete.spec
        own = (f"{PRODUCT}{name}", f"{PRODUCT}{name}=", f"mean({name})")
        others = [n for n in (*spec.adjust, spec.outcome) if n != name and not n.startswith(own)]
        if batch.column(name).level == "practice":
            of_practices = [n for n in others if batch.column(n).level == "practice"]
            of_people = [n for n in others if batch.column(n).level == "participant" and not n.startswith(PRODUCT)]
            return tuple(dict.fromkeys((*of_practices, *(m for n in of_people for m in self._means(n)))))
        if not self.engine.practice_means:
            return tuple(others)
        cycled = [n for n in dict.fromkeys((*self.names, spec.outcome)) if n != name]
        means = [m for n in cycled if batch.column(n).level == "participant" for m in self._means(n)]
        return tuple(dict.fromkeys((*others, *means)))

    def _means(self, name: str) -> tuple[str, ...]:
        labels = self.incomplete.batch.column(name).categories
        return tuple(f"{SHARE}{name}={label}" for label in labels[1:]) if labels else (f"mean({name})",)

    @property
    def failed(self) -> Bools:
        """Trials in which the model of a column could not be fitted, or nobody has a value of it (trials,)."""
        return np.asarray(np.any([self.none, *(each.failed for each in self.conditionals.values())], axis=0))

    @property
    def flags(self) -> NDArray[np.int64]:
        """What is odd about the models, and chains that have not settled (trials,)."""
        found = [self.sweeps.flags, *(each.flags for each in self.conditionals.values())]
        return np.asarray(np.bitwise_or.reduce(found))

    @property
    def extras(self) -> dict[str, Floats]:
        """R-hat of the chain (trials,)."""
        return {"rhat": self.sweeps.rhat}

    def reason(self, trial: int) -> str:
        """Say of a trial that failed which model cannot be fitted, and why."""
        for each in self.conditionals.values():
            if each.failed[trial]:
                return each.reasons[trial]
        return "a column that is to be imputed has no value in the whole trial"

    def complete(self, rng: np.random.Generator) -> ObservedBatch:
        """Sweep over the columns up to the next imputation."""
        batch = self._started(rng) if self.state is None else self.state
        sweeps = self.sweeps.before_next() if self.names else 0
        for sweep in range(sweeps):
            for name, conditional in self.conditionals.items():
                batch = self._filled(batch, name, conditional.drawn(self._with_shares(batch), rng))
            if self.sweeps.keeps(sweep, sweeps):
                self.sweeps.keep({name: batch.at(name)[rows] for name, rows in self.sweeps.rows.items()})
        self.state = batch
        return batch

    def _started(self, rng: np.random.Generator) -> ObservedBatch:
        batch = self.incomplete.batch
        for name in self.names:
            values, none = hot_deck(self.incomplete, name, rng)
            self.none = self.none | none
            batch = self.incomplete.filled(batch, name, values)
        return batch

    def _filled(self, batch: ObservedBatch, name: str, column: Column) -> ObservedBatch:
        return self.incomplete.filled(batch, name, column.values)

    def _with_shares(self, batch: ObservedBatch) -> ObservedBatch:
        """Add the shares of categories by practice that some model uses, made of the current values."""
        wanted = {n for each in self.conditionals.values() for n in each.spec.adjust if n.startswith(SHARE)}
        practice, practices = batch.index.participant_practice, batch.index.practices
        made = {}
        for name in {n.removeprefix(SHARE).rsplit("=", 1)[0] for n in wanted}:
            column = batch.column(name)
            seen = column.values >= 0
            count = np.bincount(practice[seen], minlength=practices)
            for code, label in enumerate(column.categories):
                own = np.bincount(practice[column.values == code], minlength=practices)
                with np.errstate(invalid="ignore"):
                    made[f"{SHARE}{name}={label}"] = Column(own / count, "practice")
        return batch.with_columns(made) if made else batch


def _first(incomplete: Incomplete) -> Ints:
    """One participant of every practice who is to be analysed, -1 without any (practices,)."""
    rows = np.flatnonzero(incomplete.imputable)
    out = np.full(incomplete.batch.index.practices, -1)
    practice, at = np.unique(incomplete.batch.index.participant_practice[rows], return_index=True)
    out[practice] = rows[at]
    return out
