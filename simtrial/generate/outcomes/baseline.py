"""Quality of life at baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from simtrial.batch import TrialBatch
from simtrial.generate import Step, Variable
from simtrial.generate.distributions.shapes import Shapes
from simtrial.generate.outcomes.ratings import Ratings

Floats = NDArray[np.float64]


class Level(BaseModel):
    """Options: mean and spread of the score at baseline."""

    mean: float = Field(4.31, description="mean MANSA score, points")
    sd: float = Field(0.93, gt=0, description="total SD, points")
    icc: float = Field(0.08, ge=0, lt=1, description="share of the variance between practices, in [0, 1)")


class Baseline(Shapes, Ratings, Level, Step):
    """MANSA at baseline: mean + b_j + e_ij with var(b) = icc sd^2, recorded as a mean of item ratings.

    The practice effects stay as latent columns, in points and in SDs (where icc > 0), for outcomes that go with them.
    """

    stage: ClassVar[str] = "baseline"

    @model_validator(mode="after")
    def _room_for_noise(self) -> Baseline:
        self.check_noise(self.sd * float(np.sqrt(1.0 - self.icc)), self.mean, self.sd)
        return self

    def adds(self) -> dict[str, Variable]:
        """Columns that the stage adds."""
        effect = Variable("practice", "Practice effect on MANSA at baseline", "points", latent=True)
        score = Variable("practice", "Practice effect on MANSA at baseline", "SDs", latent=True)
        return {
            "mansa_baseline": Variable("participant", "MANSA at baseline", "points"),
            "baseline_practice_effect": effect,
            **({"baseline_practice_score": score} if self.icc > 0 else {}),
            **self.rating_columns("baseline"),
        }

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw baseline scores."""
        score, latent = self._score(batch, rng)
        if self.form == "direct":
            return {**latent, "mansa_baseline": self.recorded(score)}
        deviations = rng.standard_normal((len(score), self.items))
        return {**latent, **self.prorated(self.rated(score, deviations, self.mean, self.sd), "baseline", rng)}

    def cut(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[np.bool_]]:
        """Whose score the ends of the scale cut (participants,)."""
        return {"mansa_baseline": self.beyond(self._score(batch, rng)[0])}

    def _score(self, batch: TrialBatch, rng: np.random.Generator) -> tuple[Floats, dict[str, Floats]]:
        """Score before it is recorded (participants,), and the practice effects in it."""
        index = batch.index
        practices = self.shaped_practices(rng.standard_normal(index.practices))
        between = self.sd * np.sqrt(self.icc) * practices
        own = self.shaped_residuals(rng.standard_normal(index.participants))
        within_sd = self.sd * np.sqrt(1.0 - self.icc)
        if self.noise:
            within_sd = np.sqrt(max(within_sd**2 - self.noise, 0.0))
        score = self.mean + between[index.participant_practice] + within_sd * own
        latent = {"baseline_practice_effect": between}
        if self.icc > 0:
            latent["baseline_practice_score"] = practices
        return score, latent
