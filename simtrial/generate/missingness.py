"""Missingness: scores that are incomplete although the person was seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.batch import TrialBatch
from simtrial.generate import Step, Variable


class Missingness(Step):
    """Incomplete MANSA scores, completely at random."""

    stage: ClassVar[str] = "missingness"

    baseline: float = Field(0.0, ge=0, lt=1, description="probability that the baseline score is incomplete")
    followup: float = Field(0.0, ge=0, lt=1, description="probability that a follow-up score is incomplete")

    def adds(self) -> dict[str, Variable]:
        """Columns that will be there afterwards."""
        return {
            "baseline_complete": Variable(
                "participant", "Baseline MANSA complete: 0 no, 1 yes", hides=("mansa_baseline",)
            ),
            "followup_complete": Variable(
                "participant", "Follow-up MANSA complete: 0 no, 1 yes", hides=("mansa_followup",)
            ),
        }

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw whose scores are complete."""
        people = batch.index.participants
        return {
            "baseline_complete": (rng.random(people) >= self.baseline).astype(np.int64),
            "followup_complete": (rng.random(people) >= self.followup).astype(np.int64),
        }
