"""The mean of the outcome without the intervention, given what is known of a person and a practice."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field

from simtrial.arrays import Floats
from simtrial.batch import TrialBatch
from simtrial.errors import unknown
from simtrial.generate import Variable
from simtrial.generate.outcomes.effects import during
from simtrial.generate.outcomes.sizes import Sizes
from simtrial.generate.parts import Part


class Expected(Part):
    """Options: the mean of the outcome without the intervention, given baseline and practice."""

    mean: float = Field(4.53, description="mean in the control arm for someone at at_baseline, points")
    at_baseline: float = Field(4.31, description="baseline score at which mean holds, points")
    baseline_slope: float = Field(0.615, description="slope of follow-up on baseline")
    region_effects: dict[str, float] = Field(default_factory=dict, description="shift by region, points")
    small_practice_effect: float = Field(0.0, description="shift in small practices, points")
    pandemic_effect: float = Field(
        0.0, ge=-100, le=100, description="shift where follow-up was during the pandemic, both arms, points"
    )

    def reads(self) -> frozenset[str]:
        """Columns of earlier stages that the mean depends on."""
        pairs = (
            (self.baseline_slope, self.outcome.baseline), (self.region_effects, "region"),
            (self.small_practice_effect, "practice_size"), (self.pandemic_effect, "period"),
        )  # fmt: skip
        return frozenset(name for value, name in pairs if value)

    def problems(self, available: Mapping[str, Variable]) -> list[tuple[str, str]]:
        """Refuse regions that there are not."""
        regions = available["region"].categories if "region" in available else tuple(self.region_effects)
        strange = (region for region in self.region_effects if region not in regions)
        return [(f"region_effects.{region}", unknown("region", region, regions)) for region in strange]

    def line(self, sizes: Sizes) -> tuple[float, float, float] | None:
        """Where the mean holds, slope and mean where the mean depends on baseline alone; None: on more, or on none."""
        more = self.region_effects or self.small_practice_effect or self.pandemic_effect
        if not self.baseline_slope or more or sizes.size_outcome or sizes.register_outcome:
            return None
        return self.at_baseline, self.baseline_slope, self.mean

    def untreated(self, batch: TrialBatch, sizes: Sizes) -> Floats:
        """Mean of the untreated outcome given baseline and practice, points (participants,)."""
        if self.baseline_slope:
            mean: Floats = batch.at(self.outcome.baseline) - self.at_baseline
            mean *= self.baseline_slope
            mean += self.mean
        else:
            mean = np.full(batch.index.participants, self.mean)
        if self.region_effects:
            names = batch.columns["region"].categories
            mean += np.array([self.region_effects.get(name, 0.0) for name in names])[batch.at("region")]
        if self.small_practice_effect:
            mean += self.small_practice_effect * (batch.at("practice_size") == 0)
        if sizes.size_outcome or sizes.register_outcome:
            mean += sizes.shift(batch)[batch.index.participant_practice]
        if self.pandemic_effect:
            mean += self.pandemic_effect * during(batch)
        return mean
