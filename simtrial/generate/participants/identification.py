"""Recruitment after allocation: who takes part may depend on the arm and on quality of life at baseline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.batch import TrialBatch
from simtrial.generate import Step, Variable


class Identification(Step):
    """Recruitment after allocation: people enrol with a probability by arm and baseline.

    P(enrolled) = Phi(a + s z), z = (mansa_baseline - ``baseline_mean``) / ``baseline_sd`` and s the slope of the arm;
    a = Phi^-1(share) sqrt(1 + s^2) makes the share of the arm what is asked for when z is standard normal. The mean of
    z among those enrolled is then s / sqrt(1 + s^2) phi(c) / share, c = Phi^-1(share). Those who do not enrol leave the
    trial; ``recruited`` still counts them.
    """

    stage: ClassVar[str] = "identification"

    enrolment_control: float = Field(1.0, gt=0, le=1, description="share of people who enrol in control practices")
    enrolment_intervention: float = Field(
        1.0, gt=0, le=1, description="share of people who enrol in intervention practices"
    )
    baseline_slope_control: float = Field(
        0.0, ge=-10, le=10, description="probit of enrolling in control practices per SD of baseline MANSA"
    )
    baseline_slope_intervention: float = Field(
        0.0, ge=-10, le=10, description="probit of enrolling in intervention practices per SD of baseline MANSA"
    )
    baseline_mean: float = Field(4.31, description="mean baseline MANSA score, points")
    baseline_sd: float = Field(0.93, gt=0, description="SD of baseline MANSA score, points")

    def reads(self) -> frozenset[str]:
        """Columns of earlier stages that are needed with these options."""
        return frozenset({"arm", "mansa_baseline"} if self._slopes().any() else {"arm"})

    def adds(self) -> dict[str, Variable]:
        """Columns that the stage adds."""
        return {"enrolled": Variable("participant", "Enrolled after allocation: 0 no, 1 yes", latent=True)}

    def enrols(self) -> str:
        """Whoever does not enrol leaves."""
        return "enrolled"

    def _slopes(self) -> NDArray[np.float64]:
        return np.array([self.baseline_slope_control, self.baseline_slope_intervention])

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw who enrols."""
        from scipy.special import ndtr, ndtri

        slopes = self._slopes()
        shares = np.array([self.enrolment_control, self.enrolment_intervention])
        arm = batch.at("arm").astype(np.intp)
        score = (ndtri(shares) * np.sqrt(1.0 + slopes**2))[arm]
        if slopes.any():
            score = score + slopes[arm] * (batch.at("mansa_baseline") - self.baseline_mean) / self.baseline_sd
        return {"enrolled": (rng.random(batch.index.participants) < ndtr(score)).astype(np.int64)}
