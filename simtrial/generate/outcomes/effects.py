"""Effects of the intervention: constant, by baseline or subgroup, by practice, by size, changed by the pandemic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, model_validator

from simtrial.arrays import Floats
from simtrial.batch import ObservedBatch, TrialBatch
from simtrial.expressions import columns, evaluate, parse
from simtrial.generate import Variable, expression_problems
from simtrial.generate.by_person import with_effect
from simtrial.generate.covariate_keys import in_category, split
from simtrial.generate.outcomes.sizes import Sizes
from simtrial.generate.parts import Part
from simtrial.generate.worlds import access, if_control, if_offered


def subgroup(key: str) -> str:
    """Expression for a subgroup written column=category (a number for columns without categories)."""
    column, value = split(key)
    try:
        return f"{column} == {float(value)!r}"
    except ValueError:
        return f"{column} == '{value}'"


def named_subgroups(effects: dict[str, float]) -> dict[str, float]:
    """Refuse keys that do not name a subgroup."""
    for key in effects:
        column, category = split(key)
        if not (column.isidentifier() and category) or "'" in category or category[0] == "=":
            raise ValueError(f"'{key}' must be column=category, e.g. 'region=Cornwall' or 'provider=secondary'")
    return effects


class Effects(Part):
    """Options: what the intervention adds for someone in ``effect_among``; ``effect_otherwise`` for others offered.

    effect + baseline_effect (baseline - effect_at_baseline) + subgroup effects + w_j + size_effect z(log recruited) +
    register_effect z(log register size) + pandemic_interaction during the pandemic; w_j ~ N(0, effect_sd^2) with
    corr(w, u) = effect_practice_correlation.
    """

    effect: float = Field(0.0, description="effect of the intervention, points")
    effect_among: str = Field("", description="expression: whom the effect reaches; empty: everyone offered")
    effect_per_session: float = Field(
        0.0, ge=-100, le=100, description="additional effect of each session received, points"
    )
    effect_otherwise: float = Field(
        0.0, ge=-100, le=100, description="effect of the offer on those whom the effect does not reach, points"
    )
    subgroup_effects: Annotated[dict[str, float], AfterValidator(named_subgroups)] = Field(
        default_factory=dict, description="additional effect by column=category, points"
    )
    baseline_effect: float = Field(
        0.0, ge=-100, le=100, description="additional effect per point of the baseline, points: slopes differ by arm"
    )
    effect_at_baseline: float = Field(4.31, description="baseline score at which baseline_effect adds nothing, points")
    effect_sd: float = Field(0.0, ge=0, le=100, description="SD of the effect between practices, points")
    effect_practice_correlation: float = Field(
        0.0, ge=-1, le=1, description="correlation of a practice's effect with its mean outcome in control"
    )
    pandemic_interaction: float = Field(
        0.0, ge=-100, le=100, description="additional effect where follow-up was during the pandemic, points"
    )

    @model_validator(mode="after")
    def _others_exist(self) -> Effects:
        if self.effect_otherwise and not self.effect_among:
            raise ValueError("effect_otherwise is for those outside effect_among, which reaches everyone offered")
        return self

    def reads(self) -> frozenset[str]:
        """Columns of earlier stages that the effect depends on."""
        needed = {"period"} if self.pandemic_interaction else set()
        needed |= {"sessions"} if self.effect_per_session else set()
        needed |= {self.outcome.baseline} if self.baseline_effect else set()
        for text in (self.effect_among, *map(subgroup, self.subgroup_effects)):
            needed |= columns(parse(text)) if text else frozenset()
        return frozenset(needed)

    def problems(self, available: Mapping[str, Variable]) -> list[tuple[str, str]]:
        """Refuse subgroups there are not, and expressions over what nobody observes."""
        found = expression_problems("effect_among", self.effect_among, available)
        for key in self.subgroup_effects:
            found += expression_problems(f"subgroup_effects.{key}", subgroup(key), available)
        return found

    def practice_deviations(self, practice_scores: Floats, normal: Floats) -> Floats:
        """Random part of every practice's effect w_j, points (practices,)."""
        r = self.effect_practice_correlation
        return np.asarray(self.effect_sd * (r * practice_scores + np.sqrt(1.0 - r * r) * normal))

    def in_control(self, batch: TrialBatch, sizes: Sizes, deviations: Floats | None) -> Floats | float | None:
        """Effect on those in control who have access and are reached there, points (participants,); None: on nobody."""
        if not self.effect_among or access(batch) is None:
            return None
        return self.on_everybody(batch, sizes, deviations, if_control(batch))

    def on_everybody(
        self, batch: TrialBatch, sizes: Sizes, deviations: Floats | None, world: ObservedBatch | None = None
    ) -> Floats | float:
        """Effect on every participant in a world, default: that in which all are offered, points (participants,).

        One number where it is the same for all.
        """
        effect, reached = self._parts(batch, sizes, deviations, world)
        return effect if reached is None else np.asarray(effect * reached)

    def added(self, untreated: Floats, batch: TrialBatch, sizes: Sizes, deviations: Floats | None) -> Floats:
        """Scores with the effect on every participant were all offered, points (participants,)."""
        effect, reached = self._parts(batch, sizes, deviations, None)
        return untreated + effect if reached is None else with_effect(untreated, effect, reached)

    def _parts(
        self, batch: TrialBatch, sizes: Sizes, deviations: Floats | None, world: ObservedBatch | None
    ) -> tuple[Floats | float, NDArray[np.bool_] | None]:
        """Effect of the offer, and whom alone it reaches where it does not reach everybody, each (participants,)."""
        effect: Floats | float = self.effect
        if deviations is not None:
            effect = effect + deviations[batch.index.participant_practice]
        if self.baseline_effect:
            above: Floats = batch.at(self.outcome.baseline) - self.effect_at_baseline
            above *= self.baseline_effect
            effect = effect + above
        if sizes.size_effect or sizes.register_effect:
            effect = effect + sizes.additional_effect(batch)[batch.index.participant_practice]
        if self.pandemic_interaction:
            effect = effect + np.asarray(self.pandemic_interaction * during(batch), dtype=np.float64)
        if not (self.effect_among or self.subgroup_effects or self.effect_per_session):
            return effect, None
        offered = if_offered(batch) if world is None else world
        if self.effect_per_session:
            effect = effect + np.asarray(self.effect_per_session * offered.at("sessions"), dtype=np.float64)
        for key, additional in self.subgroup_effects.items():
            effect = effect + np.asarray(additional * evaluate(subgroup(key), offered), dtype=np.float64)
        if not self.effect_among:
            return effect, None
        reached = evaluate(self.effect_among, offered)
        if world is None and self.effect_otherwise:
            return np.where(reached, effect, self.effect_otherwise), None
        return effect, reached


def during(batch: TrialBatch) -> NDArray[np.bool_]:
    """Who is in a practice followed up during the pandemic (participants,)."""
    return in_category("period", "during", batch)
