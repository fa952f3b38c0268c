"""Participants: age, sex, diagnosis and who provides their care."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.batch import TrialBatch
from simtrial.generate import Step, Variable
from simtrial.generate.distributions.tables import categories

Weight = Annotated[float, Field(ge=0)]


class Participants(Step):
    """Characteristics of people before the trial; care provider clusters by practice on a latent normal scale."""

    stage: ClassVar[str] = "participants"

    age_mean: float = Field(53.0, gt=0, le=120, description="mean age in years, before truncation")
    age_sd: float = Field(13.0, gt=0, le=60, description="SD of age in years, before truncation")
    age_min: float = Field(18.0, ge=0, le=100, description="lowest age in years")
    female: float = Field(0.63, ge=0, le=1, description="share of women")
    diagnosis: dict[str, Weight] = Field(
        default_factory=lambda: {"bipolar": 0.582, "schizophrenia": 0.222, "other": 0.196},
        description="share by diagnosis, in any unit",
    )
    secondary_care: float = Field(0.338, ge=0, le=1, description="share under secondary care")
    provider_icc: float = Field(0.15, ge=0, lt=1, description="latent-scale ICC of care provider by practice")

    def adds(self) -> dict[str, Variable]:
        """Columns that the stage adds."""
        return {
            "age": Variable("participant", "Age", "years"),
            "sex": Variable("participant", "Sex", categories=("female", "male")),
            "diagnosis": Variable("participant", "Diagnosis", categories=tuple(self.diagnosis)),
            "provider": Variable("participant", "Care provider", categories=("primary", "secondary")),
        }

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw the participants of every trial."""
        from scipy.special import ndtr, ndtri

        index = batch.index
        people = index.participants
        floor = ndtr((self.age_min - self.age_mean) / self.age_sd)
        age = self.age_mean + self.age_sd * ndtri(floor + (1.0 - floor) * rng.random(people))
        sex = (rng.random(people) >= self.female).astype(np.int64)
        diagnosis = categories(tuple(self.diagnosis.values()), rng.random(people))
        shared = np.sqrt(self.provider_icc) * rng.standard_normal(index.practices)
        own = np.sqrt(1.0 - self.provider_icc) * rng.standard_normal(people)
        latent = shared[index.participant_practice] + own
        provider = (latent < ndtri(self.secondary_care)).astype(np.int64)
        return {"age": np.round(age, 1), "sex": sex, "diagnosis": diagnosis, "provider": provider}
