"""Safety: serious adverse events, and acute mental health episodes with the time when they begin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.arrays import Floats
from simtrial.batch import TrialBatch
from simtrial.generate import Step, Variable
from simtrial.generate.distributions.tables import invert, truncated_negative_binomial
from simtrial.kernels.segments import sum_by

Ints = NDArray[np.int64]


class Safety(Step):
    """Serious adverse events are negative binomial; acute episodes follow a Poisson process over the follow-up.

    A person has acute_rate / months episodes per month, times ``acute_rate_ratio`` while treated: people in the
    intervention arm from allocation on, or from their first contact on (``treated_from``). Onsets are drawn given
    the number of episodes by inverting the cumulative rate. An episode is an admission or is treated by a crisis team,
    for a lognormal number of days, rounded up. Every event or episode is independent of outcomes and dropout.
    """

    stage: ClassVar[str] = "safety"

    serious_mean: float = Field(0.141, ge=0, le=100, description="serious adverse events per person, in control")
    serious_shape: float = Field(
        0.128, ge=0.01, le=1e6, description="k of their negative binomial distribution, variance mu + mu^2/k"
    )
    serious_rate_ratio: float = Field(1.0, ge=0, le=100, description="ratio of their mean, intervention to control")
    psychiatric_share: float = Field(0.393, ge=0, le=1, description="probability that a serious event is psychiatric")
    related_share: float = Field(
        0.0, ge=0, le=1, description="probability that a serious event is related to the trial"
    )
    acute_rate: float = Field(0.035, ge=0, le=100, description="acute episodes per untreated person over the months")
    acute_rate_ratio: float = Field(1.0, ge=0, le=100, description="ratio of the rate while treated to untreated")
    treated_from: Literal["allocation", "first-contact"] = Field(
        "allocation", description="when treatment begins in the intervention arm"
    )
    months: float = Field(10.0, gt=0, le=1200, description="months from allocation over which episodes are counted")
    admission_share: float = Field(0.5, ge=0, le=1, description="probability that an acute episode is an admission")
    admission_days_median: float = Field(20.0, gt=0, le=10_000, description="median length of an admission, days")
    crisis_days_median: float = Field(14.0, gt=0, le=10_000, description="median length of crisis team care, days")
    days_log_sd: float = Field(0.8, ge=0, le=3, description="SD of the log of both lengths")

    def reads(self) -> frozenset[str]:
        """Columns of earlier stages that are needed with these options."""
        return frozenset({"arm", "first_contact_months"} if self.treated_from == "first-contact" else {"arm"})

    def adds(self) -> dict[str, Variable]:
        """Columns that the stage adds."""
        return {
            "serious_events": Variable("participant", "Serious adverse events", "events"),
            "psychiatric_events": Variable("participant", "Serious adverse events, psychiatric", "events"),
            "related_events": Variable("participant", "Serious adverse events related to the trial", "events"),
            "acute_episodes": Variable("participant", "Acute mental health episodes", "episodes"),
            "acute_treated": Variable("participant", "Acute episodes that began while treated", "episodes"),
            "first_acute_months": Variable(
                "participant", "Time from allocation to the first acute episode; blank if none", "months", latent=True
            ),
            "admission_days": Variable("participant", "Days admitted in acute episodes", "days"),
            "crisis_days": Variable("participant", "Days under a crisis team in acute episodes", "days"),
        }

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw serious events, then acute episodes one by one."""
        serious = self._serious(batch.at("arm"), rng.random(batch.index.participants))
        untreated = self._untreated_months(batch)
        treated = self.months - untreated
        rate = self.acute_rate / self.months
        episodes = rng.poisson(rate * (untreated + self.acute_rate_ratio * treated))
        return {
            "serious_events": serious,
            "psychiatric_events": rng.binomial(serious, self.psychiatric_share),
            "related_events": rng.binomial(serious, self.related_share),
            "acute_episodes": episodes,
            **self._episodes(episodes, untreated, rng),
        }

    def _serious(self, arm: NDArray[Any], uniform: Floats) -> Ints:
        """Serious events (participants,): the quantile of each uniform in the arm's distribution."""
        ratio = self.serious_rate_ratio
        return np.where(
            arm == 1,
            negative_binomial(self.serious_mean * ratio, self.serious_shape, uniform),
            negative_binomial(self.serious_mean, self.serious_shape, uniform),
        )

    def _untreated_months(self, batch: TrialBatch) -> Floats:
        """Months until treatment begins (participants,): all of them in control, and for those never contacted."""
        if self.treated_from == "allocation":
            begins = np.zeros(batch.index.participants)
        else:
            contact = np.asarray(batch.at("first_contact_months"), dtype=np.float64)
            begins = np.where(np.isnan(contact), self.months, np.clip(contact, 0.0, self.months))
        return np.where(batch.at("arm") == 1, begins, self.months)

    def _episodes(self, number: Ints, untreated: Floats, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Onset, kind and length of every episode, counted by person (participants,)."""
        people = len(number)
        person = np.repeat(np.arange(people), number)
        before, after = untreated[person], self.acute_rate_ratio * (self.months - untreated[person])
        # cumulative rate at onset, in months of untreated time; uniform given the number of episodes
        passed = rng.random(len(person)) * (before + after)
        beyond = passed >= before
        onset = np.where(beyond, before + (passed - before) / max(self.acute_rate_ratio, 1e-300), passed)
        admitted = rng.random(len(person)) < self.admission_share
        median = np.where(admitted, self.admission_days_median, self.crisis_days_median)
        days = np.ceil(median * np.exp(self.days_log_sd * rng.standard_normal(len(person))))
        first = np.full(people, np.inf)
        np.minimum.at(first, person, onset)
        return {
            "acute_treated": sum_by(beyond, person, people).astype(np.int64),
            "first_acute_months": np.where(number > 0, first, np.nan),
            "admission_days": sum_by(days * admitted, person, people),
            "crisis_days": sum_by(days * ~admitted, person, people),
        }


def negative_binomial(mean: float, shape: float, uniform: Floats) -> Ints:
    """Quantiles of a negative binomial with variance mu + mu^2/k (rows,): none below P(0) = (1 + mu/k)^-k."""
    if mean == 0:
        return np.zeros(len(uniform), dtype=np.int64)
    none = (1.0 + mean / shape) ** -shape
    above = np.clip((uniform - none) / (1.0 - none), 0.0, 1.0)
    return np.where(uniform < none, 0.0, invert(truncated_negative_binomial(mean, shape), above)).astype(np.int64)
