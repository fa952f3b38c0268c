"""Quality of life at baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.batch import TrialBatch
from simtrial.generate import Step, Variable
from simtrial.generate.distributions import record


class Baseline(Step):
    """MANSA at baseline: normal with a practice effect, recorded as a mean of item ratings."""

    stage: ClassVar[str] = "baseline"

    mean: float = Field(4.31, description="mean MANSA score, points")
    sd: float = Field(0.93, gt=0, description="total SD, points")
    icc: float = Field(0.08, ge=0, lt=1, description="share of the variance that lies between practices, in [0, 1)")
    items: int = Field(11, ge=0, le=100, description="items averaged; 0 keeps the score continuous")
    lowest: float = Field(1.0, description="lowest possible score")
    highest: float = Field(7.0, description="highest possible score")

    def adds(self) -> dict[str, Variable]:
        """Columns that will be there afterwards."""
        return {"mansa_baseline": Variable("participant", "MANSA at baseline", "points")}

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw baseline scores."""
        index = batch.index
        between = self.sd * np.sqrt(self.icc) * rng.standard_normal(index.practices)
        within = self.sd * np.sqrt(1.0 - self.icc) * rng.standard_normal(index.participants)
        score = self.mean + between[index.participant_practice] + within
        return {"mansa_baseline": record(score, self.items, self.lowest, self.highest)}
