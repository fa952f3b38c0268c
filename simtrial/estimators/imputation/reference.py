"""Reference-based imputation: whoever leaves the intervention arm goes on as if in control."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools
from simtrial.batch import ObservedBatch
from simtrial.estimators.imputation.by_arm import Unlike
from simtrial.estimators.imputation.engine import FittedEngine, ImputationEngine
from simtrial.estimators.imputation.incomplete import Incomplete


def fit_as_control(engine: ImputationEngine, incomplete: Incomplete, alone: bool) -> FittedAsControl:
    """Fit an engine by which everybody is imputed as if in control.

    From the people of control ``alone``, or from both arms, less the coefficient of arm. With one follow-up and
    baseline means that randomisation makes equal, jump to reference, copy reference and copy increments in reference
    are the same (Carpenter, Roger and Kenward 2013, doi:10.1080/10543406.2013.834911): the regression of control at a
    person's own baseline.
    """
    part = incomplete.as_control(alone)
    unlike = Unlike.of(part) if alone and engine.extrapolates else Unlike.none(part)
    return FittedAsControl(incomplete=incomplete, fitted=engine.fit(part), unlike=unlike)


@dataclass(frozen=True, kw_only=True)
class FittedAsControl:
    """An engine fitted for imputation as if in control, and the batch with everybody in their own arm."""

    incomplete: Incomplete
    fitted: FittedEngine
    unlike: Unlike

    @property
    def failed(self) -> Bools:
        """Trials in which somebody cannot be imputed (trials,)."""
        return self.fitted.failed | self.unlike.failed

    @property
    def flags(self) -> NDArray[np.int64]:
        """What is odd about the model (trials,)."""
        return self.fitted.flags

    def reason(self, trial: int) -> str:
        """Say why one trial has failed."""
        own = self.fitted if self.fitted.failed[trial] else self.unlike
        return f"as if in control, {own.reason(trial)}"

    def complete(self, rng: np.random.Generator) -> ObservedBatch:
        """Draw what is missing, and put it where everybody is in their own arm."""
        drawn, batch, model = self.fitted.complete(rng), self.incomplete.batch, self.incomplete.model
        for name in (model.baseline, self.incomplete.spec.outcome):
            if name is not None:
                batch = self.incomplete.filled(batch, name, drawn.at(name))
        return batch
