"""Mean imputation: everybody without an outcome gets the mean of those who have one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats, Ints
from simtrial.batch import ObservedBatch
from simtrial.estimators.imputation.engine import ImputationEngine, register_imputation
from simtrial.estimators.imputation.incomplete import Incomplete
from simtrial.estimators.imputation.regressions import FittedRegressions, gaps, reason
from simtrial.flags import BIT
from simtrial.moments.moments import Moments

NOBODY = "nobody has everything observed"


@register_imputation("mean")
class Mean(ImputationEngine):
    """The mean of those with everything observed, a known mistake: biased towards no effect, and too narrow.

    With ``by_arm`` it is the mean of the arm.
    """

    arm_alone: ClassVar[bool] = True
    extrapolates: ClassVar[bool] = False

    def fit(self, incomplete: Incomplete) -> FittedRegressions:
        """Take the mean of whatever is missing."""
        trial = incomplete.batch.index.participant_trial
        found = tuple(FilledWithMean.of(spec.outcome, fitted, rows, trial) for spec, fitted, rows in gaps(incomplete))
        return FittedRegressions(incomplete, found)


@dataclass(frozen=True, kw_only=True)
class FilledWithMean:
    """One column, and what it is filled with; see `FilledColumn`."""

    column: str
    fitted: Moments
    rows: Ints
    failed: Bools

    @classmethod
    def of(cls, column: str, fitted: Moments, rows: Ints, trial: Ints) -> FilledWithMean:
        """Rows of trials without a mean are left blank."""
        able = (fitted.counts > 0) & (fitted.flags & BIT["out_of_range"] == 0)
        wanted = np.bincount(trial[rows], minlength=fitted.trials) > 0
        return cls(column=column, fitted=fitted, rows=rows[able[trial[rows]]], failed=wanted & ~able)

    @property
    def drawable(self) -> bool:
        """Whether there is a trial with a mean."""
        return len(self.rows) > 0

    @property
    def flags(self) -> NDArray[np.int64]:
        """None (trials,)."""
        return np.zeros(self.fitted.trials, dtype=np.int64)

    def reason(self, trial: int) -> str:
        """Say why one trial has no mean."""
        beyond = int(self.fitted.flags[trial]) & BIT["out_of_range"]
        return reason(self.column, beyond, NOBODY)

    def drawn(self, batch: ObservedBatch, rng: np.random.Generator) -> Floats:
        """The column filled (participants,); nothing is drawn."""
        values = batch.at(self.column).copy()
        values[self.rows] = self.fitted.center[self.fitted.regressors, batch.index.participant_trial[self.rows]]
        return values
