"""Dropout: people, or whole practices, who are not followed up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.batch import TrialBatch
from simtrial.generate import Step, Variable


class Dropout(Step):
    """Loss to follow-up: with correlation r a person drops out when r engagement + sqrt(1 - r^2) z is high.

    The marginal rate is exact whatever r; r < 0 means that engaged people stay.
    """

    stage: ClassVar[str] = "dropout"

    rate: float = Field(0.121, ge=0, lt=1, description="probability that a person is not followed up")
    practice_rate: float = Field(0.0, ge=0, lt=1, description="probability that a whole practice is not followed up")
    engagement_correlation: float = Field(0.0, ge=-1, le=1, description="correlation of engagement with dropping out")

    def reads(self) -> frozenset[str]:
        """Columns of earlier stages that are needed with these options."""
        return frozenset({"engagement"} if self.engagement_correlation else ())

    def adds(self) -> dict[str, Variable]:
        """Columns that will be there afterwards."""
        hidden = ("mansa_followup", "followup_months", "in_window")
        return {"followed_up": Variable("participant", "Followed up: 0 no, 1 yes", hides=hidden)}

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw who is followed up."""
        from scipy.special import ndtri

        index = batch.index
        r = self.engagement_correlation
        latent = np.sqrt(1.0 - r * r) * rng.standard_normal(index.participants)
        if r:
            latent += r * batch.at("engagement")
        stays = latent <= ndtri(1.0 - self.rate)
        kept = rng.random(index.practices) >= self.practice_rate
        return {"followed_up": (stays & kept[index.participant_practice]).astype(np.int64)}
