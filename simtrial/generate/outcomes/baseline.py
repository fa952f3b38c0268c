"""Quality of life at baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from simtrial.arrays import Floats
from simtrial.batch import TrialBatch
from simtrial.generate import Variable
from simtrial.generate.by_practice import with_practices
from simtrial.generate.column_names import MANSA, Outcome
from simtrial.generate.distributions.shapes import Shapes
from simtrial.generate.outcomes.ratings import Ratings
from simtrial.generate.parts import Composed, Held, flat


@flat
class Baseline(Composed):
    """MANSA at baseline: mean + b_j + e_ij with var(b) = icc sd^2, recorded as a mean of item ratings.

    The practice effects stay as latent columns, in points and in SDs (where icc > 0), for outcomes that go with them.
    """

    stage: ClassVar[str] = "baseline"
    outcome: ClassVar[Outcome] = MANSA

    mean: float = Field(4.31, description="mean MANSA score, points")
    sd: float = Field(0.93, gt=0, description="total SD, points")
    icc: float = Field(0.08, ge=0, lt=1, description="share of the variance between practices, in [0, 1)")

    ratings: ClassVar[Held[Ratings]] = Held(Ratings)
    shapes: ClassVar[Held[Shapes]] = Held(Shapes)

    @model_validator(mode="after")
    def _room_for_noise(self) -> Baseline:
        self.ratings.check_noise(self.sd * float(np.sqrt(1.0 - self.icc)), self.mean, self.sd)
        return self

    def adds(self) -> dict[str, Variable]:
        """Columns that will be there afterwards."""
        of = self.outcome
        effect = Variable("practice", f"Practice effect on {of.title} at baseline", "points", latent=True)
        score = Variable("practice", f"Practice effect on {of.title} at baseline", "SDs", latent=True)
        return {
            of.baseline: Variable("participant", f"{of.title} at baseline", "points"),
            of.latent("baseline_practice_effect"): effect,
            **({of.latent("baseline_practice_score"): score} if self.icc > 0 else {}),
            **self.ratings.columns("baseline"),
        }

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw baseline scores."""
        score, latent = self._score(batch, rng)
        ratings = self.ratings
        if ratings.form == "direct":
            return {**latent, self.outcome.baseline: ratings.recorded(score, out=score)}
        deviations = rng.standard_normal((len(score), ratings.items))
        return {**latent, **ratings.prorated(ratings.rated(score, deviations, self.mean, self.sd), "baseline", rng)}

    def cut(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[np.bool_]]:
        """Whose score the ends of the scale cut (participants,)."""
        return {self.outcome.baseline: self.ratings.beyond(self._score(batch, rng)[0])}

    def _score(self, batch: TrialBatch, rng: np.random.Generator) -> tuple[Floats, dict[str, Floats]]:
        """Score before it is recorded (participants,), and the practice effects in it."""
        index = batch.index
        practices = self.shapes.of_practices(rng.standard_normal(index.practices))
        between = self.sd * np.sqrt(self.icc) * practices
        own = self.shapes.of_residuals(rng.standard_normal(index.participants))
        within_sd = self.sd * np.sqrt(1.0 - self.icc)
        noise = self.ratings.noise
        if noise:
            within_sd = np.sqrt(max(within_sd**2 - noise, 0.0))
        score = with_practices(self.mean, between, index.participant_practice, own, within_sd, out=own)
        latent = {self.outcome.latent("baseline_practice_effect"): between}
        if self.icc > 0:
            latent[self.outcome.latent("baseline_practice_score")] = practices
        return score, latent
