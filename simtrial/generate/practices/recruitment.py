"""The recruitment calendar: when practices open, when people are recruited, when a practice is allocated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from simtrial.arrays import Floats
from simtrial.batch import TrialBatch
from simtrial.generate import Step, Variable


class Recruitment(Step):
    """Months since the first practice could open.

    Practices open at ``months`` U^(1/a), sorted so that they are numbered in order of opening; a is such that a share
    ``first_half_share`` opens in the first half. A practice starts to recruit after a set-up time that shrinks linearly
    from ``setup_months`` to 0 at the end, and recruits uniformly over ``window_months`` or up to the last month of the
    calendar. The last month takes a share ``last_month_share`` of all people, from the ``late_share`` of practices that
    opened last. A practice is allocated once all of its people have been recruited; its follow-up is ``during`` the
    pandemic when it is planned after ``pandemic_month``.
    """

    stage: ClassVar[str] = "recruitment"

    months: float = Field(25.0, gt=0, le=600, description="months over which practices open")
    first_half_share: float = Field(
        0.38, gt=0, lt=1, description="share of practices that open in the first half of the months"
    )
    setup_months: float = Field(5.0, ge=0, le=600, description="months from opening to recruiting, at the beginning")
    window_months: float = Field(3.0, gt=0, le=600, description="months over which a practice recruits")
    last_month_share: float = Field(
        0.283, ge=0, le=1, description="share of people recruited in the month that is last"
    )
    late_share: float = Field(
        0.5, gt=0, le=1, description="share of practices, opened last, that recruit in that month"
    )
    allocation_months: float = Field(
        0.5, ge=0, le=60, description="months from a practice's last baseline to its allocation"
    )
    followup_months: float = Field(10.0, ge=0, le=600, description="months from allocation to planned follow-up")
    pandemic_month: float = Field(26.7, ge=0, le=1200, description="month in which the pandemic began")

    @model_validator(mode="after")
    def _reachable(self) -> Recruitment:
        if self.last_month_share > self.late_share:
            raise ValueError(
                f"last_month_share can be at most late_share, {self.late_share:g}: "
                f"only those practices recruit in the last month; {self.last_month_share:g} given"
            )
        if self.setup_months > self.months:
            raise ValueError(f"setup_months can be at most months, {self.months:g}; {self.setup_months:g} given")
        return self

    def adds(self) -> dict[str, Variable]:
        """Columns that the stage adds."""
        since = "months since recruitment began"
        periods = ("pre", "during")
        return {
            "opening_month": Variable("practice", "Month the practice opened", since),
            "recruitment_month": Variable("participant", "Month the person was recruited", since),
            "allocation_month": Variable("practice", "Month the practice was allocated", since),
            "period": Variable("practice", "Planned follow-up before or during the pandemic", categories=periods),
        }

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw the calendar of every trial."""
        index = batch.index
        uniform = rng.random(index.practices)
        rank = uniform[np.lexsort((uniform, index.practice_trial))]
        opening = self.months * rank ** (-np.log(2.0) / np.log(self.first_half_share))
        start = opening + self.setup_months * (1.0 - opening / self.months)
        recruited = self._recruited(rank, start, index.participant_practice, rng)
        last = start.copy()  # of a practice without people: when it was ready
        np.maximum.at(last, index.participant_practice, recruited)
        allocated = last + self.allocation_months
        during = allocated + self.followup_months > self.pandemic_month
        return {
            "opening_month": opening,
            "recruitment_month": recruited,
            "allocation_month": allocated,
            "period": during.astype(np.int64),
        }

    def _recruited(self, rank: Floats, start: Floats, practice: NDArray[np.intp], rng: np.random.Generator) -> Floats:
        """Month of recruitment (participants,); the last month is the one after practices stop opening."""
        within, surge, day = (rng.random(len(practice)) for _ in range(3))
        first = start[practice]
        before = first + within * (np.minimum(first + self.window_months, self.months) - first)
        late = rank[practice] >= 1.0 - self.late_share
        last = late & (surge < self.last_month_share / self.late_share)
        return np.where(last, self.months + day, before)
