"""Characteristics that are amounts: times a day, hours a week, age at diagnosis, each a function of a normal score."""

from __future__ import annotations

from math import log
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from simtrial.arrays import Floats
from simtrial.batch import TrialBatch
from simtrial.errors import ScenarioError
from simtrial.generate.distributions.cut_normal import cut_normal, drawn, whole_years

Bound = Annotated[int, Field(ge=0, le=1000)]

UPPER_QUARTILE = 0.6744897501960817
"""Of the standard normal."""


class Quantity(BaseModel):
    """An amount that some people do not report."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    answered: float = Field(1.0, ge=0, le=1, description="share who answer, of those to whom it applies")


class Occasions(Quantity):
    """Whole numbers between bounds, a normal on the grid cut off at both: the moments are those after cutting off."""

    mean: float = Field(description="mean")
    sd: float = Field(gt=0, description="SD")
    lowest: Bound = Field(description="lowest possible value")
    highest: Bound = Field(description="highest possible value")

    @model_validator(mode="after")
    def _reachable(self) -> Occasions:
        if self.lowest >= self.highest:
            raise ValueError(f"highest = {self.highest} must exceed lowest = {self.lowest}")
        try:
            self.cumulative()
        except ScenarioError as error:
            raise ValueError(str(error)) from None
        return self

    def cumulative(self) -> Floats:
        """Cumulative probabilities from lowest to highest."""
        return cut_normal(self.mean, self.sd, self.lowest, self.highest)

    def value(self, z: Floats) -> Floats:
        """Value at each normal score (rows,)."""
        from scipy.special import ndtr

        return self.lowest + drawn(self.cumulative(), ndtr(z)).astype(np.float64)


class AgeAtDiagnosis(Occasions):
    """Completed years of age at diagnosis: at most those lived, with the mean and SD in people of ages as stated."""

    up_to_age: bool = Field(True, description="age at diagnosis is at most the present age")
    at_age_mean: float = Field(53.0, gt=0, le=120, description="mean of the ages at which mean and sd hold, years")
    at_age_sd: float = Field(13.0, gt=0, le=60, description="SD of these ages, years, before truncation")
    at_age_min: float = Field(18.0, ge=0, le=100, description="lowest of these ages, years")

    @model_validator(mode="after")
    def _lived_long_enough(self) -> AgeAtDiagnosis:
        if self.up_to_age and self.at_age_min < self.lowest:
            raise ValueError(f"at_age_min = {self.at_age_min:g} lies below lowest = {self.lowest}")
        return self

    def cumulative(self) -> Floats:
        """Cumulative probabilities from lowest to highest in people who are older than that."""
        if not self.up_to_age:
            return super().cumulative()
        ages = whole_years(self.at_age_mean, self.at_age_sd, self.at_age_min, self.lowest, self.highest)
        return cut_normal(self.mean, self.sd, self.lowest, self.highest, ages)

    def value(self, z: Floats, batch: TrialBatch | None = None) -> Floats:
        """Value at each normal score (participants,); blank in people younger than the lowest."""
        from scipy.special import ndtr

        if not self.up_to_age or batch is None:
            return super().value(z)
        lived = np.floor(batch.at("age")).astype(np.intp) - self.lowest
        limit = np.clip(lived, 0, self.highest - self.lowest)
        years = self.lowest + drawn(self.cumulative(), ndtr(z), limit).astype(np.float64)
        return np.where(lived >= 0, years, np.nan)


class Hours(Quantity):
    """Whole hours, a lognormal in two halves that has the three quartiles.

    log h = log median + s z with s = log(median/q1) / 0.674 below the median and log(q3/median) / 0.674 above; an
    ordinary lognormal where these agree. More hours than there are count as all there are.
    """

    q1: float = Field(gt=0, description="lower quartile, hours")
    median: float = Field(gt=0, description="median, hours")
    q3: float = Field(gt=0, description="upper quartile, hours")
    highest: float = Field(gt=0, le=8784, description="hours there are")

    @model_validator(mode="after")
    def _in_order(self) -> Hours:
        if not self.q1 <= self.median <= self.q3 <= self.highest:
            raise ValueError("quartiles must be in order and at most highest: q1 <= median <= q3 <= highest")
        return self

    def value(self, z: Floats) -> Floats:
        """Hours at each normal score (rows,)."""
        below, above = log(self.median / self.q1), log(self.q3 / self.median)
        slope: Floats = np.array([below, above])[(z >= 0.0).astype(np.intp)] / UPPER_QUARTILE
        # exp cannot overflow: beyond the hours there are nothing is told apart
        hours = np.round(np.exp(np.minimum(log(self.median) + slope * z, log(self.highest))))
        return np.asarray(np.minimum(hours, np.floor(self.highest)), dtype=np.float64)
