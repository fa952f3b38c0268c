"""Quality of life at follow-up under either allocation, and when it is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.batch import TrialBatch
from simtrial.errors import unknown
from simtrial.expressions import columns, evaluate, parse
from simtrial.generate import Step, Variable, expression_problems
from simtrial.generate.distributions import record


class Mansa(Step):
    """MANSA at follow-up: baseline, practice and individual effects, and the effect of the intervention.

    Y(0) = mean + slope (baseline - at_baseline) + region and size effects + u_j + v_ij, with var(u) = icc sd^2,
    var(v) = (1 - icc) sd^2 and corr(v, engagement) = ``engagement_correlation``; Y(1) = Y(0) + effect for those in
    ``effect_among`` (an expression over what they would receive; empty: everyone). Both are recorded on the scale.
    """

    stage: ClassVar[str] = "outcomes.mansa"

    mean: float = Field(4.53, description="mean in the control arm for someone at at_baseline, points")
    at_baseline: float = Field(4.31, description="baseline score at which mean holds, points")
    baseline_slope: float = Field(0.615, description="slope of follow-up on baseline")
    residual_sd: float = Field(0.701, gt=0, description="SD given baseline, between and within practices, points")
    icc: float = Field(0.18, ge=0, lt=1, description="share of the residual variance between practices, in [0, 1)")
    effect: float = Field(0.0, description="effect of the intervention, points")
    effect_among: str = Field("", description="expression: whom the effect reaches; empty: everyone offered")
    engagement_correlation: float = Field(0.0, ge=-1, le=1, description="correlation of engagement with the outcome")
    region_effects: dict[str, float] = Field(default_factory=dict, description="shift by region, points")
    small_practice_effect: float = Field(0.0, description="shift in small practices, points")
    items: int = Field(11, ge=0, le=100, description="items averaged; 0 keeps the score continuous")
    lowest: float = Field(1.0, description="lowest possible score")
    highest: float = Field(7.0, description="highest possible score")
    followup_months: float = Field(10.0, gt=0, description="planned months from allocation to follow-up")
    followup_months_sd: float = Field(1.35, ge=0, description="SD of the months to follow-up")
    window_months: float = Field(1.0, gt=0, description="half-width of the follow-up window, months")

    def reads(self) -> frozenset[str]:
        """Columns of earlier stages that are needed with these options."""
        needed = {"arm"}
        if self.baseline_slope:
            needed.add("mansa_baseline")
        if self.engagement_correlation:
            needed.add("engagement")
        if self.region_effects:
            needed.add("region")
        if self.small_practice_effect:
            needed.add("practice_size")
        if self.effect_among:
            needed |= columns(parse(self.effect_among))
        return frozenset(needed)

    def problems(self, available: Mapping[str, Variable]) -> list[tuple[str, str]]:
        """Refuse unknown regions, and expressions over what nobody observes."""
        regions = available["region"].categories if "region" in available else tuple(self.region_effects)
        wrong = [
            (f"region_effects.{r}", unknown("region", r, regions)) for r in self.region_effects if r not in regions
        ]
        return wrong + expression_problems("effect_among", self.effect_among, available)

    def adds(self) -> dict[str, Variable]:
        """Columns that will be there afterwards."""
        return {
            "mansa_if_control": Variable("participant", "MANSA at follow-up in control", "points", latent=True),
            "mansa_if_intervention": Variable("participant", "MANSA at follow-up if offered", "points", latent=True),
            "practice_effect": Variable("practice", "Practice effect on MANSA", "points", latent=True),
            "mansa_followup": Variable("participant", "MANSA at follow-up", "points"),
            "followup_months": Variable("participant", "Time from allocation to follow-up", "months"),
            "in_window": Variable("participant", "Followed up within the window: 0 no, 1 yes"),
        }

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw both potential outcomes, and record the one that happens."""
        index = batch.index
        u = self.residual_sd * np.sqrt(self.icc) * rng.standard_normal(index.practices)
        own = rng.standard_normal(index.participants)
        r = self.engagement_correlation
        if r:
            own = r * batch.at("engagement") + np.sqrt(1.0 - r * r) * own
        untreated = self._mean(batch) + u[index.participant_practice]
        untreated += self.residual_sd * np.sqrt(1.0 - self.icc) * own
        reached = evaluate(self.effect_among, if_offered(batch)).astype(float) if self.effect_among else 1.0
        control = record(untreated, self.items, self.lowest, self.highest)
        treated = record(untreated + self.effect * reached, self.items, self.lowest, self.highest)
        months = self.followup_months + self.followup_months_sd * rng.standard_normal(index.participants)
        return {
            "mansa_if_control": control,
            "mansa_if_intervention": treated,
            "practice_effect": u,
            "mansa_followup": np.where(batch.at("arm") == 1, treated, control),
            "followup_months": months,
            "in_window": (np.abs(months - self.followup_months) <= self.window_months).astype(np.int64),
        }

    def _mean(self, batch: TrialBatch) -> NDArray[np.float64]:
        mean = np.full(batch.index.participants, self.mean)
        if self.baseline_slope:
            mean += self.baseline_slope * (batch.at("mansa_baseline") - self.at_baseline)
        if self.region_effects:
            names = batch.columns["region"].categories
            mean += np.array([self.region_effects.get(name, 0.0) for name in names])[batch.at("region")]
        if self.small_practice_effect:
            mean += self.small_practice_effect * (batch.at("practice_size") == 0)
        return mean


def if_offered(batch: TrialBatch) -> Any:
    """Trials as they would be observed were every practice allocated to the intervention, nothing missing."""
    from dataclasses import replace

    columns = {name: c for name, c in batch.columns.items() if not c.latent and not c.hides}
    arm = columns["arm"]
    columns["arm"] = replace(arm, values=np.ones_like(arm.values))
    for name in batch.columns:
        if name.endswith("_offered"):
            received = name.removesuffix("_offered")
            columns[received] = replace(columns[received], values=batch.columns[name].values)
    from simtrial.batch import ObservedBatch

    return ObservedBatch(batch.index, columns)
