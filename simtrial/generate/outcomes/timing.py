"""When the outcome is measured."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.arrays import Floats
from simtrial.batch import TrialBatch
from simtrial.generate import Variable
from simtrial.generate.parts import Part


class Timing(Part):
    """Options: months from allocation to follow-up, planned and as it turns out."""

    followup_months: float = Field(10.0, gt=0, description="planned months from allocation to follow-up")
    followup_months_sd: float = Field(1.35, ge=0, description="SD of the months to follow-up")
    window_months: float = Field(1.0, gt=0, description="half-width of the follow-up window, months")
    short_followup_from: float = Field(
        0.0, ge=0, le=1200, description="month of allocation from which the shorter time is planned; 0: never"
    )
    short_followup_months: float = Field(9.0, gt=0, le=1200, description="planned months for those allocated late")

    def reads(self) -> frozenset[str]:
        """Columns that say when a practice was allocated."""
        return frozenset({"allocation_month"} if self.short_followup_from else ())

    def columns(self) -> dict[str, Variable]:
        """Columns that say when people were followed up."""
        return {
            "followup_months": Variable("participant", "Time from allocation to follow-up", "months"),
            "in_window": Variable("participant", "Followed up within the window: 0 no, 1 yes"),
        }

    def timed(self, batch: TrialBatch, normal: Floats) -> dict[str, NDArray[Any]]:
        """Values of those columns from standard normals (participants,)."""
        planned = self._planned_months(batch)
        months = planned + self.followup_months_sd * normal
        return {
            "followup_months": months,
            "in_window": (np.abs(months - planned) <= self.window_months).astype(np.int64),
        }

    def _planned_months(self, batch: TrialBatch) -> Floats | float:
        """Months from allocation at which follow-up is planned (participants,), or one number for all."""
        if not self.short_followup_from:
            return self.followup_months
        late = batch.at("allocation_month") >= self.short_followup_from
        return np.where(late, self.short_followup_months, self.followup_months)
