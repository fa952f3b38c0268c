"""Baseline carried forward: everybody without an outcome is taken to be as at baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools
from simtrial.batch import ObservedBatch
from simtrial.estimators.imputation.engine import ImputationEngine, register_imputation
from simtrial.estimators.imputation.incomplete import Incomplete


@register_imputation("baseline")
class Baseline(ImputationEngine):
    """The person's own baseline carried forward, a known mistake: nobody who is lost has changed.

    People who lack the baseline as well are neither imputed nor analysed.
    """

    arm_alone: ClassVar[bool] = True
    extrapolates: ClassVar[bool] = False
    needs_baseline: ClassVar[bool] = True

    def fit(self, incomplete: Incomplete) -> CarriedForward:
        """Find the baselines of those without an outcome."""
        return CarriedForward(incomplete)


@dataclass(frozen=True)
class CarriedForward:
    """Baselines in place of outcomes; nothing is estimated, so nothing fails."""

    incomplete: Incomplete

    @property
    def failed(self) -> Bools:
        """None (trials,)."""
        return np.zeros(self.incomplete.batch.index.trials, dtype=bool)

    @property
    def flags(self) -> NDArray[np.int64]:
        """None (trials,)."""
        return np.zeros(self.incomplete.batch.index.trials, dtype=np.int64)

    def reason(self, trial: int) -> str:
        """No trial fails here."""
        return ""

    def complete(self, rng: np.random.Generator) -> ObservedBatch:
        """Carry every baseline forward; nothing is drawn."""
        batch, outcome, baseline = self.incomplete.batch, self.incomplete.spec.outcome, self.incomplete.model.baseline
        assert baseline is not None
        values = np.where(self.incomplete.lacks(outcome), batch.at(baseline), batch.at(outcome))
        return self.incomplete.filled(batch, outcome, values)
