"""Secondary outcomes at baseline and follow-up, one stage per instrument, all drawn in one way."""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from simtrial.arrays import Floats
from simtrial.batch import TrialBatch
from simtrial.errors import ScenarioError
from simtrial.generate import Step, Variable
from simtrial.generate.by_practice import in_arm
from simtrial.generate.column_names import MANSA, at_baseline, at_followup, in_either_world
from simtrial.generate.distributions.margins import Recorded, Shape, correlation_before, margin


class MansaScale(BaseModel):
    """How MANSA is distributed, to put it on a standard scale: as in its own tables unless those were changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    mean: float = Field(4.31, ge=-1e6, le=1e6, description="mean at baseline, points")
    sd: float = Field(0.93, gt=0, le=1e6, description="SD at baseline, points")
    icc: float = Field(0.08, ge=0, lt=1, description="share of the baseline variance between practices")
    followup: float = Field(4.53, ge=-1e6, le=1e6, description="mean at follow-up in control at mean baseline, points")
    slope: float = Field(0.615, ge=-10, le=10, description="slope of follow-up on baseline")
    residual_sd: float = Field(0.701, gt=0, le=1e6, description="SD at follow-up given baseline, points")
    residual_icc: float = Field(0.18, ge=0, lt=1, description="share of that variance between practices")


class Instrument(Step):
    """One instrument: two standard normal scores per person, recorded on its scale.

    Baseline: z0 = L m0 + b_j + e_ij, m0 the standardised MANSA at baseline, L the ``loading``, var(b) =
    icc_baseline - L^2 icc(MANSA), total variance 1: z0 has ICC ``icc_baseline`` and correlation L with MANSA.

    Follow-up in control: z1 = r z0 + sqrt(1 - r^2) w, w = sqrt(icc) u_j + sqrt(1 - icc) (L v_ij + sqrt(1 - L^2) e_ij),
    v the standardised individual part of MANSA's follow-up residual, u independent of MANSA's practice effect. For a
    normal shape this is Y1 = m1 + b (Y0 - m0) + u_j + v_ij with slope b = r sd1/sd0 and residual SD sd1 sqrt(1 - r^2).

    Scores are recorded by `margins`: mean, SD and ``rho`` are those of recorded scores; ICCs and loading are those of
    the standard normal ones. If offered, ``effect`` is added before recording.
    """

    # never drawn itself: each instrument names its own stage
    instrument: ClassVar[str] = ""
    label: ClassVar[str] = ""
    unit: ClassVar[str] = "points"

    baseline_mean: float = Field(ge=-1e6, le=1e6, description="mean at baseline, as recorded")
    baseline_sd: float = Field(gt=0, le=1e6, description="SD at baseline, as recorded")
    change: float = Field(ge=-1e6, le=1e6, description="mean change from baseline to follow-up in control, as recorded")
    followup_sd: float = Field(gt=0, le=1e6, description="SD at follow-up in control, as recorded")
    rho: float = Field(gt=-1, lt=1, description="correlation of baseline with follow-up in control, as recorded")
    icc_baseline: float = Field(0.08, ge=0, lt=1, description="share of the baseline variance between practices")
    icc: float = Field(0.05, ge=0, lt=1, description="share of the follow-up variance given baseline between practices")
    loading: float = Field(0.0, ge=-1, le=1, description="correlation with MANSA at baseline, and of later residuals")
    mansa: MansaScale = Field(default_factory=MansaScale, description="mean, SD and ICC by which MANSA is standardised")
    effect: float = Field(0.0, ge=-1e6, le=1e6, description="effect of the intervention, in units of the score")
    shape: Shape = Field("normal", description="distribution before recording: normal, or gamma above the lowest score")
    lowest: float = Field(ge=-1e9, le=1e9, description="lowest possible score")
    highest: float = Field(ge=-1e9, le=1e9, description="highest possible score")
    grid: float = Field(1.0, ge=0, le=1e6, description="step between possible scores; 0 keeps the score continuous")

    @model_validator(mode="before")
    @classmethod
    def _without_items(cls, data: Any) -> Any:
        """Error for item options of an instrument that is not a sum of ratings."""
        for key in ("item_missing", "items_needed"):
            if isinstance(data, Mapping) and key in data and key not in cls.model_fields:
                raise ValueError(
                    f"{key}: {cls.label} is not a sum of item ratings, so nothing can be prorated; single items are "
                    "left out of wemwbs, qpr15 and brief_inspire"
                )
        return data

    @model_validator(mode="after")
    def _reachable(self) -> Instrument:
        try:
            self._margins()
        except ScenarioError as error:
            raise ValueError(str(error)) from None
        shared = self.loading**2
        low, high = shared * self.mansa.icc, 1.0 - shared * (1.0 - self.mansa.icc)
        if not low <= self.icc_baseline <= high:
            raise ValueError(
                f"with loading {self.loading:g} on MANSA, whose ICC is {self.mansa.icc:g}, icc_baseline lies between "
                f"{low:.4f} and {high:.4f}; {self.icc_baseline:g} given"
            )
        return self

    def _margins(self) -> tuple[Recorded, Recorded, float]:
        """Margins at baseline and follow-up, and the correlation of the normal scores behind them (cached)."""
        first = self._margin(self.baseline_mean, self.baseline_sd)
        second = self._margin(self.baseline_mean + self.change, self.followup_sd)
        return first, second, correlation_before(first, second, self.rho)

    def _margin(self, mean: float, sd: float) -> Recorded:
        """Distribution of a score of this mean and SD."""
        return margin(self.shape, mean, sd, self.lowest, self.highest, self.grid)

    def reads(self) -> frozenset[str]:
        """Columns of earlier stages that are needed with these options."""
        tied = {MANSA.baseline, MANSA.potential[0], MANSA.latent("practice_effect")} if self.loading else set()
        return frozenset({"arm"} | tied)

    def adds(self) -> dict[str, Variable]:
        """Columns that the stage adds."""
        return self._columns(self.instrument, self.label, self.unit)

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw the score at baseline and at follow-up under either allocation."""
        before, after = self._scores(batch, rng)
        first, second, _ = self._margins()
        values = (first.record(before), second.record(after), second.record(after + self.effect))
        return self._values(self.instrument, batch, *values)

    def cut(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[np.bool_]]:
        """Whose scores the ends of the scale cut (participants,), at baseline and under either allocation."""
        before, after = self._scores(batch, rng)
        first, second, _ = self._margins()
        arms = zip(in_either_world(self.instrument), (after, after + self.effect), strict=True)
        found = {name: second.beyond(score) for name, score in arms}
        return {at_baseline(self.instrument): first.beyond(before), **found}

    def _scores(self, batch: TrialBatch, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Scores before recording, at baseline and at follow-up in control (participants,)."""
        baseline, followup = self._standard(batch, rng)
        first, second, r = self._margins()
        return first.score(baseline), second.score(r * baseline + sqrt(1.0 - r * r) * followup)

    @staticmethod
    def _columns(name: str, label: str, unit: str) -> dict[str, Variable]:
        """Columns of one score: baseline, both potential outcomes, and follow-up."""
        control, intervention = in_either_world(name)
        return {
            at_baseline(name): Variable("participant", f"{label} at baseline", unit),
            control: Variable("participant", f"{label} at follow-up in control", unit, latent=True),
            intervention: Variable("participant", f"{label} at follow-up if offered", unit, latent=True),
            at_followup(name): Variable("participant", f"{label} at follow-up", unit),
        }

    @staticmethod
    def _values(
        name: str, batch: TrialBatch, baseline: Floats, control: Floats, treated: Floats
    ) -> dict[str, NDArray[Any]]:
        """Values of those columns (participants,); the follow-up is that of the arm allocated."""
        return {
            at_baseline(name): baseline,
            **dict(zip(in_either_world(name), (control, treated), strict=True)),
            at_followup(name): in_arm(batch.at("arm", "practice"), batch.index.participant_practice, control, treated),
        }

    def _standard(self, batch: TrialBatch, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Standard normal score at baseline, and what is new at follow-up (participants,)."""
        index, shared = batch.index, self.loading**2
        practice = np.sqrt(max(self.icc_baseline - shared * self.mansa.icc, 0.0))
        person = np.sqrt(max(1.0 - self.icc_baseline - shared * (1.0 - self.mansa.icc), 0.0))
        baseline = practice * rng.standard_normal(index.practices)[index.participant_practice]
        baseline += person * rng.standard_normal(index.participants)
        u = rng.standard_normal(index.practices)[index.participant_practice]
        own = np.sqrt(1.0 - shared) * rng.standard_normal(index.participants)
        if self.loading:
            at_baseline, later = self._of_mansa(batch)
            baseline += self.loading * at_baseline
            own += self.loading * later
        return baseline, np.sqrt(self.icc) * u + np.sqrt(1.0 - self.icc) * own

    def _of_mansa(self, batch: TrialBatch) -> tuple[Floats, Floats]:
        """Standardised MANSA at baseline, and the individual part of its follow-up residual (participants,).

        v = (Y(0) - followup - slope (Y0 - mean) - practice effect) / (residual_sd sqrt(1 - residual_icc)), Y(0) as it
        is before people who would leave have theirs shifted: the shift is of MANSA alone.
        """
        m = self.mansa
        followup = MANSA.before_shift if MANSA.before_shift in batch.columns else MANSA.potential[0]
        above = batch.at(MANSA.baseline) - m.mean
        residual = batch.at(followup) - m.followup - m.slope * above - batch.at(MANSA.latent("practice_effect"))
        return above / m.sd, residual / (m.residual_sd * sqrt(1.0 - m.residual_icc))
