"""Shifts of imputed outcomes: what is missing differs from what is observed alike by delta."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from simtrial.batch import ObservedBatch
from simtrial.estimators.imputation.incomplete import Incomplete


class Delta(BaseModel):
    """Points added to the imputed outcomes of each arm; a number stands for both arms."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    control: float = Field(0.0, description="added in the control arm, points")
    intervention: float = Field(0.0, description="added in the intervention arm, points")

    @model_validator(mode="before")
    @classmethod
    def _one_for_both(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"control": value, "intervention": value}
        if not isinstance(value, dict | Delta):
            raise ValueError("delta must be a number, or a table such as { control = 0.0, intervention = -0.5 }")
        return value

    def added(self, incomplete: Incomplete, completed: ObservedBatch) -> ObservedBatch:
        """Shift the outcomes that were imputed; without a shift the batch as it is."""
        if not (self.control or self.intervention):
            return completed
        outcome = incomplete.spec.outcome
        shift = np.where(completed.at("arm") == 1, self.intervention, self.control)
        values = completed.at(outcome) + np.where(incomplete.lacks(outcome), shift, 0.0)
        return incomplete.filled(completed, outcome, values)
