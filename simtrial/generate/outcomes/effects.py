"""Effects of the intervention: constant, by subgroup, varying by practice, going with size, changed by the pandemic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, PrivateAttr, field_validator

from simtrial.batch import ObservedBatch, TrialBatch
from simtrial.errors import ScenarioError
from simtrial.expressions import columns, evaluate, parse
from simtrial.generate import Step, Variable, expression_problems
from simtrial.generate.covariate_keys import in_category, split
from simtrial.generate.worlds import access, if_control, if_offered

Floats = NDArray[np.float64]
Scales = Mapping[str, tuple[float, float]]


def subgroup(key: str) -> str:
    """Expression for a subgroup written column=category (a number for columns without categories)."""
    column, value = split(key)
    try:
        return f"{column} == {float(value)!r}"
    except ValueError:
        return f"{column} == '{value}'"


class Sizes(BaseModel):
    """Options: dependence on the number of people recruited or on the register.

    Informative cluster size (Kahan et al. 2023, doi:10.1093/ije/dyac131): the outcome goes with size (same shift in
    both arms, effects unmoved), or the effect does, and then the average over people exceeds that over practices by
    cov(n_j, delta_j)/E n_j. Logarithms are standardised by what is written, or else by their mean and SD as
    [mechanism.practices] draws them (`log_sizes`); where practices are of one size what goes with size is 0.
    """

    size_outcome: float = Field(0.0, ge=-100, le=100, description="shift per SD of log recruited, both arms, points")
    size_effect: float = Field(0.0, ge=-100, le=100, description="additional effect per SD of log recruited, points")
    size_log_mean: float | None = Field(
        None, ge=0, le=12, description="mean of log recruited, at which both are 0; left out: that of the sizes drawn"
    )
    size_log_sd: float | None = Field(
        None, gt=0, le=10, description="SD of log recruited; left out: that of the sizes drawn"
    )
    register_outcome: float = Field(0.0, ge=-100, le=100, description="shift per SD of log register size, points")
    register_effect: float = Field(
        0.0, ge=-100, le=100, description="additional effect per SD of log register size, points"
    )
    register_log_mean: float | None = Field(
        None, ge=0, le=15, description="mean of log register size, at which both are 0; left out: that of those drawn"
    )
    register_log_sd: float | None = Field(
        None, gt=0, le=10, description="SD of log register size; left out: that of those drawn"
    )

    _scales: Scales | None = PrivateAttr(None)

    def size_reads(self) -> frozenset[str]:
        """Columns that say how large a practice is."""
        size, register = (self.size_outcome, self.size_effect), (self.register_outcome, self.register_effect)
        return frozenset(({"recruited"} if any(size) else set()) | ({"register_size"} if any(register) else set()))

    def by_size(self, batch: TrialBatch, per_recruited: float, per_register: float) -> Floats:
        """Sum of the terms of log recruited and log register size, points (practices,)."""
        shift = np.zeros(batch.index.practices)
        if per_recruited:
            shift += per_recruited * self._standardised(batch, "recruited", "size")
        if per_register:
            shift += per_register * self._standardised(batch, "register_size", "register")
        return shift

    def with_scales(self, practices: Step) -> Self:
        """Return these options with the moments of log sizes as the options of practices draw them."""
        if not self.size_reads():
            return self
        made = self.model_copy()
        made._scales = {"size": practices.log_recruited(), "register": practices.log_register()}  # type: ignore[attr-defined]
        return made

    def _standardised(self, batch: TrialBatch, column: str, key: str) -> Floats:
        """Distance of log people from its mean in its SD (practices,); 0 where practices are of one size."""
        centre, sd = getattr(self, f"{key}_log_mean"), getattr(self, f"{key}_log_sd")
        if centre is None or sd is None:
            if self._scales is None:
                raise ScenarioError(f"{key}_log_mean and {key}_log_sd follow the sizes of practices (settled)")
            centre, sd = (
                drawn if said is None else said for said, drawn in zip((centre, sd), self._scales[key], strict=True)
            )
        people = np.maximum(batch.at(column, "practice"), 1.0)
        away = np.log(people) - centre
        return np.asarray(away / sd if sd > 1e-9 else np.zeros_like(away))


class Effects(Sizes):
    """Options: the effect for people in ``effect_among``; 0 for others.

    effect + subgroup effects + w_j + size_effect z(log recruited) + register_effect z(log register size) +
    pandemic_interaction during the pandemic; w_j ~ N(0, effect_sd^2) with corr(w, u) = effect_practice_correlation.
    """

    effect: float = Field(0.0, description="effect of the intervention, points")
    effect_among: str = Field("", description="expression: whom the effect reaches; empty: everyone offered")
    subgroup_effects: dict[str, float] = Field(
        default_factory=dict, description="additional effect by column=category, points"
    )
    effect_sd: float = Field(0.0, ge=0, le=100, description="SD of the effect between practices, points")
    effect_practice_correlation: float = Field(
        0.0, ge=-1, le=1, description="correlation of a practice's effect with its mean outcome in control"
    )
    pandemic_interaction: float = Field(
        0.0, ge=-100, le=100, description="additional effect where follow-up was during the pandemic, points"
    )

    @field_validator("subgroup_effects")
    @classmethod
    def _subgroups(cls, value: dict[str, float]) -> dict[str, float]:
        for key in value:
            column, category = split(key)
            if not (column.isidentifier() and category) or "'" in category or category[0] == "=":
                raise ValueError(f"'{key}' must be column=category, e.g. 'region=Cornwall' or 'provider=secondary'")
        return value

    def effect_reads(self) -> frozenset[str]:
        """Columns of earlier stages that the effect depends on."""
        needed = {"period"} if self.pandemic_interaction else set()
        for text in (self.effect_among, *map(subgroup, self.subgroup_effects)):
            needed |= columns(parse(text)) if text else frozenset()
        return frozenset(needed) | self.size_reads()

    def effect_problems(self, available: Mapping[str, Variable]) -> list[tuple[str, str]]:
        """Reject unknown subgroups, and expressions over latent columns."""
        found = expression_problems("effect_among", self.effect_among, available)
        for key in self.subgroup_effects:
            found += expression_problems(f"subgroup_effects.{key}", subgroup(key), available)
        return found

    def practice_deviations(self, practice_scores: Floats, normal: Floats) -> Floats:
        """Random part of every practice's effect w_j, points (practices,)."""
        r = self.effect_practice_correlation
        return np.asarray(self.effect_sd * (r * practice_scores + np.sqrt(1.0 - r * r) * normal))

    def effect_in_control(self, batch: TrialBatch, deviations: Floats | None) -> Floats | float:
        """Effect on those in control who have access and are reached there, points (participants,)."""
        if not self.effect_among or access(batch) is None:
            return 0.0
        return self.unit_effects(batch, deviations, if_control(batch))

    def unit_effects(self, batch: TrialBatch, deviations: Floats | None, world: ObservedBatch | None = None) -> Floats:
        """Effect on every participant in a world, by default the one with everybody offered, points (participants,)."""
        effect: Floats = np.full(batch.index.participants, self.effect)
        if deviations is not None:
            effect += deviations[batch.index.participant_practice]
        if self.size_effect or self.register_effect:
            by_size = self.by_size(batch, self.size_effect, self.register_effect)
            effect += by_size[batch.index.participant_practice]
        if self.pandemic_interaction:
            effect += self.pandemic_interaction * during(batch)
        if not (self.effect_among or self.subgroup_effects):
            return effect
        offered = if_offered(batch) if world is None else world
        for key, additional in self.subgroup_effects.items():
            effect += additional * evaluate(subgroup(key), offered)
        return effect * evaluate(self.effect_among, offered) if self.effect_among else effect


def during(batch: TrialBatch) -> NDArray[np.bool_]:
    """Who is in a practice followed up during the pandemic (participants,)."""
    return in_category("period", "during", batch)
