"""Quality of life at follow-up under either allocation, and when it is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from simtrial.batch import TrialBatch
from simtrial.errors import unknown
from simtrial.generate import Step, Variable
from simtrial.generate.outcomes.effects import Effects, Sizes, during
from simtrial.generate.outcomes.leavers import Leavers
from simtrial.generate.outcomes.ratings import Ratings
from simtrial.generate.outcomes.residuals import Residuals
from simtrial.generate.worlds import MEAN_ZERO

Floats = NDArray[np.float64]


class Expected(Sizes):
    """Options: the mean of the outcome without the intervention, given baseline and practice."""

    mean: float = Field(4.53, description="mean in the control arm for someone at at_baseline, points")
    at_baseline: float = Field(4.31, description="baseline score at which mean holds, points")
    baseline_slope: float = Field(0.615, description="slope of follow-up on baseline")
    region_effects: dict[str, float] = Field(default_factory=dict, description="shift by region, points")
    small_practice_effect: float = Field(0.0, description="shift in small practices, points")
    pandemic_effect: float = Field(
        0.0, ge=-100, le=100, description="shift where follow-up was during the pandemic, both arms, points"
    )

    def expected_reads(self) -> frozenset[str]:
        """Columns of earlier stages that the mean depends on."""
        pairs = (
            (self.baseline_slope, "mansa_baseline"), (self.region_effects, "region"),
            (self.small_practice_effect, "practice_size"), (self.pandemic_effect, "period"),
        )  # fmt: skip
        return frozenset(name for value, name in pairs if value) | self.size_reads()

    def expected(self, batch: TrialBatch) -> Floats:
        """Mean of the untreated outcome given baseline and practice, points (participants,)."""
        mean = np.full(batch.index.participants, self.mean)
        if self.baseline_slope:
            mean += self.baseline_slope * (batch.at("mansa_baseline") - self.at_baseline)
        if self.region_effects:
            names = batch.columns["region"].categories
            mean += np.array([self.region_effects.get(name, 0.0) for name in names])[batch.at("region")]
        if self.small_practice_effect:
            mean += self.small_practice_effect * (batch.at("practice_size") == 0)
        if self.size_outcome or self.register_outcome:
            mean += self.by_size(batch, self.size_outcome, self.register_outcome)[batch.index.participant_practice]
        if self.pandemic_effect:
            mean += self.pandemic_effect * during(batch)
        return mean


class Timing(BaseModel):
    """Options: months from allocation to follow-up, planned and as it turns out."""

    followup_months: float = Field(10.0, gt=0, description="planned months from allocation to follow-up")
    followup_months_sd: float = Field(1.35, ge=0, description="SD of the months to follow-up")
    window_months: float = Field(1.0, gt=0, description="half-width of the follow-up window, months")
    short_followup_from: float = Field(
        0.0, ge=0, le=1200, description="month of allocation from which the shorter time is planned; 0: never"
    )
    short_followup_months: float = Field(9.0, gt=0, le=1200, description="planned months for those allocated late")

    def planned_months(self, batch: TrialBatch) -> Floats | float:
        """Months from allocation at which follow-up is planned (participants,), or one number for all."""
        if not self.short_followup_from:
            return self.followup_months
        late = batch.at("allocation_month") >= self.short_followup_from
        return np.where(late, self.short_followup_months, self.followup_months)


class Mansa(Timing, Effects, Leavers, Residuals, Ratings, Expected, Step):
    """MANSA at follow-up: baseline, practice and individual effects, and the effect of the intervention.

    Y(0) = mean + slope (baseline - at_baseline) + shifts by region, size and period + u_j + v_ij (`Residuals`); Y(1) =
    Y(0) + effect (`Effects`), with residuals stretched where the arms' SDs differ; the difference that stretching makes
    has mean 0 in everybody, and stays as a latent column. Shifts of those who would leave are added to either
    (`Leavers`). Both are recorded on the scale, whose ends may move the mean of either.
    """

    stage: ClassVar[str] = "outcomes.mansa"

    @model_validator(mode="after")
    def _room_for_noise(self) -> Mansa:
        for intervention in (False, True):
            self.check_noise(self.spread(intervention)[1], self.mean, self._score_sd)
        self.check_shared(self.noise)
        return self

    @property
    def _score_sd(self) -> float:
        """SD of the score at follow-up, roughly: ratings are calibrated over it and hardly depend on it.

        As if baseline had an SD of 0.93/0.701 residual SDs, the published ratio.
        """
        ratio = 0.93 / 0.701 if self.baseline_slope else 0.0
        return self.residual_sd * float(np.sqrt(1.0 + (self.baseline_slope * ratio) ** 2))

    def reads(self) -> frozenset[str]:
        """Columns of earlier stages that are needed with these options."""
        late = {"allocation_month"} if self.short_followup_from else set()
        read = self.expected_reads() | self.residual_reads() | self.effect_reads() | self.leavers_reads()
        return frozenset({"arm"} | late) | read

    def settled(self, mechanism: Mapping[str, Step]) -> Mansa:
        """Return these options with the moments of practices' sizes, where the outcome goes with them."""
        return self.with_scales(mechanism["practices"])

    def problems(self, available: Mapping[str, Variable]) -> list[tuple[str, str]]:
        """Refuse unknown regions, expressions over latent columns, and correlation with a constant."""
        regions = available["region"].categories if "region" in available else tuple(self.region_effects)
        found = [
            (f"region_effects.{r}", unknown("region", r, regions)) for r in self.region_effects if r not in regions
        ]
        if self.cluster_autocorrelation and "baseline_practice_score" not in available:
            found.append(
                ("cluster_autocorrelation", "needs practice effects at baseline: [mechanism.baseline], icc > 0")
            )
        return found + self.effect_problems(available) + self.leavers_problems(available)

    def adds(self) -> dict[str, Variable]:
        """Columns that the stage adds."""
        deviation = Variable("practice", "Practice's deviation from the mean effect", "points", latent=True)
        stretched = Variable("participant", "Difference of the arms' residuals, of mean 0", "points", latent=True)
        return {
            "mansa_if_control": Variable("participant", "MANSA at follow-up in control", "points", latent=True),
            "mansa_if_intervention": Variable("participant", "MANSA at follow-up if offered", "points", latent=True),
            "practice_effect": Variable("practice", "Practice effect on MANSA", "points", latent=True),
            "mansa_followup": Variable("participant", "MANSA at follow-up", "points"),
            "followup_months": Variable("participant", "Time from allocation to follow-up", "months"),
            "in_window": Variable("participant", "Followed up within the window: 0 no, 1 yes"),
            **({"effect_deviation": deviation} if self.effect_sd else {}),
            **({MEAN_ZERO: stretched} if self.differs() else {}),
            **self.leavers_columns(),
            **self.rating_columns("followup"),
        }

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw both potential outcomes, and record that of the allocated arm."""
        scores, added = self._scores(batch, rng)
        return {**added, **self._recorded(batch, scores, rng)}

    def cut(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[np.bool_]]:
        """Whose potential outcomes the ends of the scale cut (participants,)."""
        scores, _ = self._scores(batch, rng)
        return {name: self.beyond(scores[name]) for name in ("mansa_if_control", "mansa_if_intervention")}

    def _scores(self, batch: TrialBatch, rng: np.random.Generator) -> tuple[dict[str, Floats], dict[str, NDArray[Any]]]:
        """Both potential outcomes before they are recorded (participants,), and what else is drawn."""
        index = batch.index
        normals = rng.standard_normal(index.practices), rng.standard_normal(index.participants)
        of_practices, own = self.standard_residuals(batch, *normals)
        months = rng.standard_normal(index.participants)
        added = self._timed(batch, months)
        deviations = None
        if self.effect_sd:
            deviations = self.practice_deviations(of_practices, rng.standard_normal(index.practices))
            added["effect_deviation"] = deviations
        added["practice_effect"] = self.spread(False)[0] * of_practices
        untreated = treated = self._outcome(batch, of_practices, own, intervention=False)
        if self.differs():
            stretched = self.standard_residuals(batch, *normals, intervention=True, noise=self.noise)
            treated = self._outcome(batch, *stretched, intervention=True)
            added[MEAN_ZERO] = treated - untreated
        treated = treated + self.unit_effects(batch, deviations)
        untreated = untreated + self.effect_in_control(batch, deviations)
        if not self.shifts():
            return {"mansa_if_control": untreated, "mansa_if_intervention": treated}, added
        control, intervention = self.shifted(batch, untreated, treated)
        before = {"mansa_before_shift": untreated}
        return {"mansa_if_control": control, "mansa_if_intervention": intervention, **before}, added

    def _outcome(self, batch: TrialBatch, of_practices: Floats, own: Floats, intervention: bool) -> Floats:
        """Outcome with the residual variances of one arm, before any effect (participants,)."""
        between, within = self.spread(intervention, self.noise)
        outcome = self.expected(batch) + (between * of_practices)[batch.index.participant_practice]
        outcome += within * own
        return outcome

    def _timed(self, batch: TrialBatch, normal: Floats) -> dict[str, NDArray[Any]]:
        planned = self.planned_months(batch)
        months = planned + self.followup_months_sd * normal
        return {
            "followup_months": months,
            "in_window": (np.abs(months - planned) <= self.window_months).astype(np.int64),
        }

    def _recorded(
        self, batch: TrialBatch, scores: Mapping[str, Floats], rng: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        """Both potential outcomes as all items would give them, and what is recorded in the arm allocated."""
        offered = batch.at("arm") == 1
        if self.form == "direct":
            found = {name: self.recorded(score) for name, score in scores.items()}
            return {**found, "mansa_followup": np.where(offered, *_either(found))}
        deviations = rng.standard_normal((batch.index.participants, self.items))
        ratings = {name: self.rated(s, deviations, self.mean, self._score_sd) for name, s in scores.items()}
        happens = self.prorated(np.where(offered[:, None], *_either(ratings)), "followup", rng)
        return {**{name: each.mean(axis=1) for name, each in ratings.items()}, **happens}


def _either(found: Mapping[str, Floats]) -> tuple[Floats, Floats]:
    """Values under the intervention, and in control."""
    return found["mansa_if_intervention"], found["mansa_if_control"]
