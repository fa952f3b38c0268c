"""Time use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from simtrial.batch import TrialBatch
from simtrial.errors import ScenarioError
from simtrial.generate import Variable
from simtrial.generate.distributions.margins import Recorded, Shape, with_zeros
from simtrial.generate.outcomes.instrument import Instrument


class Tus(Instrument):
    """Time use: hours per week of structured activity, skewed, with a few implausible values at baseline.

    Mean, SD and correlation are those of plausible values. An outlier replaces the baseline of a person, uniform
    between ``outlier_lowest`` and ``outlier_highest``, and is flagged. Without ``keep_outliers`` both values of flagged
    people are blank, as in the published table.

    A ``zero_share`` has no hours at all: those lowest on the standard normal score of either time. Mean, SD and ``rho``
    are of everybody, zeros included. The effect reaches those with hours: on average (1 - zero_share) times ``effect``.
    """

    stage: ClassVar[str] = "outcomes.tus"
    instrument: ClassVar[str] = "tus"
    label: ClassVar[str] = "Time use"
    unit: ClassVar[str] = "hours per week"

    shape: Shape = Field("gamma", description="distribution before recording: normal, or gamma above the lowest score")
    zero_share: float = Field(0.0, ge=0, lt=1, description="share of people with 0 hours at either time")
    outlier_probability: float = Field(0.0, ge=0, le=1, description="probability of a grossly implausible baseline")
    outlier_lowest: float = Field(150.0, ge=0, le=1e6, description="lowest of the implausible values, hours per week")
    outlier_highest: float = Field(250.0, ge=0, le=1e6, description="highest of the implausible values, hours per week")
    keep_outliers: bool = Field(True, description="leave implausible values in the data; false: blank")

    @model_validator(mode="after")
    def _ordered(self) -> Tus:
        if self.outlier_lowest > self.outlier_highest:
            raise ValueError("outlier_lowest must not exceed outlier_highest")
        return self

    def _margin(self, mean: float, sd: float) -> Recorded:
        """Distribution of hours of this mean and SD, with zeros below it where there are any."""
        if not self.zero_share:
            return super()._margin(mean, sd)
        if self.lowest != 0.0:
            raise ScenarioError(
                f"zero_share is of people with 0 hours, the lowest of the scale; lowest = {self.lowest:g}"
            )
        return with_zeros(self.zero_share, self.shape, mean, sd, self.highest, self.grid)

    def adds(self) -> dict[str, Variable]:
        """Columns that will be there afterwards."""
        added = super().adds() | {"tus_outlier": Variable("participant", "Time use implausible: 0 no, 1 yes")}
        if not self.keep_outliers:
            hidden = ("tus_baseline", "tus_followup")
            added["tus_plausible"] = Variable("participant", "Time use plausible: 0 no, 1 yes", hides=hidden)
        return added

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw hours per week, then who reports something implausible."""
        values = dict(super().draw(batch, rng))
        people = batch.index.participants
        outlier = rng.random(people) < self.outlier_probability
        gross = self.outlier_lowest + (self.outlier_highest - self.outlier_lowest) * rng.random(people)
        values["tus_baseline"] = np.where(outlier, np.round(gross, 1), values["tus_baseline"])
        values["tus_outlier"] = outlier.astype(np.int64)
        return values if self.keep_outliers else values | {"tus_plausible": (~outlier).astype(np.int64)}
