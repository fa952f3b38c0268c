"""Dropout: people, or whole practices, who are not followed up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr, model_validator

from simtrial.batch import TrialBatch, hidden_by
from simtrial.errors import ScenarioError, unknown
from simtrial.generate import STAGES, Mechanism, Step, Variable
from simtrial.generate.by_person import stays, weighted_sum
from simtrial.generate.covariate_keys import split
from simtrial.generate.missing.dropout_model import (
    SEEN,
    Calibration,
    Lost,
    Term,
    arm_specific,
    calibrate,
    predictor,
    reads,
    some_seen,
)
from simtrial.generate.outcomes.leavers import LEAVES
from simtrial.generate.worlds import either_way

Slope = Annotated[float, Field(ge=-5, le=5)]

AT_FOLLOWUP = ("*_followup", "followup_months", "in_window")
"""Columns missing for a person who is not followed up."""


class Dropout(Step):
    """Loss to follow-up: a person drops out when slopes'x + r engagement + sqrt(1 - r^2) z exceeds a threshold.

    z is standard normal: a probit model. Without slopes the threshold is Phi^-1(1 - rate), and the marginal rate exact
    whatever r; r < 0 means that engaged people stay. With slopes the threshold of each arm is found once for the
    options of all earlier stages, in a population of its own, so that the rate of either arm is what is asked for.
    Slopes are per SD, or for a category (column=category) against the others. Deaths and withdrawals before baseline
    are part of the rate; whole practices are lost besides.

    With ``drawn_first`` it is drawn, from the same stream, before the outcome and under either allocation, so that the
    outcome may follow from leaving (`leavers`: pattern mixture) instead of leaving from the outcome (selection).
    """

    stage: ClassVar[str] = "dropout"

    rate: Lost = Field(0.121, description="probability that a person is not followed up")
    rate_intervention: Lost | None = Field(None, description="probability in the intervention arm; default: the same")
    practice_rate: Lost = Field(0.0, description="probability that a whole practice is not followed up")
    engagement_correlation: float = Field(0.0, ge=-1, le=1, description="correlation of engagement with dropping out")
    slopes: dict[str, Slope] = Field(
        default_factory=dict, description="slopes on covariates, per SD or column=category, probit scale"
    )
    slopes_intervention: dict[str, Slope] = Field(
        default_factory=dict, description="slopes in the intervention arm where they differ"
    )
    sessions_slope: float = Field(0.0, ge=-5, le=5, description="slope on sessions, intervention arm, per SD")
    outcome_slope: float = Field(0.0, ge=-5, le=5, description="slope on the follow-up outcome, per SD")
    outcome_slope_intervention: float | None = Field(
        None, ge=-5, le=5, description="that slope in the intervention arm; default: the same"
    )
    change_slope: float = Field(0.0, ge=-5, le=5, description="slope on the change from baseline, per SD")
    practice_effect_slope: float = Field(
        0.0, ge=-5, le=5, description="slope on the practice effect of the outcome, per SD"
    )
    drawn_first: bool = Field(
        False, description="draw before the outcome who would leave in either arm, so that their outcome may be shifted"
    )
    died: float = Field(0.0, ge=0, lt=1, description="share of people who die before follow-up")
    withdrawn_before_baseline: float = Field(
        0.0, ge=0, lt=1, description="share of people who withdraw before their baseline is taken"
    )

    _calibration: Calibration | None = PrivateAttr(None)
    _tells_deaths: bool = PrivateAttr(True)

    @model_validator(mode="after")
    def _one_direction(self) -> Dropout:
        slopes = ("outcome_slope", "outcome_slope_intervention", "change_slope", "practice_effect_slope")
        given = [key for key in slopes if getattr(self, key)]
        if self.drawn_first and given:
            raise ValueError(
                f"{given[0]} makes leaving follow from the outcome (selection), drawn_first makes the outcome follow "
                f"from leaving (pattern mixture): only one can be; slopes, sessions_slope and engagement_correlation "
                f"go with drawn_first"
            )
        return self

    @model_validator(mode="after")
    def _reachable(self) -> Dropout:
        least = self.died + self.withdrawn_before_baseline
        if least >= 1:
            raise ValueError(f"died and withdrawn_before_baseline add up to {least:g}; together they must be below 1")
        for key, value in (("rate", self.rate), ("rate_intervention", self.rate_intervention)):
            if value is not None and value < least:
                raise ValueError(
                    f"{key} = {value:g} cannot be reached: it includes died and withdrawn_before_baseline, in total "
                    f"{least:g}; it must lie in [{least:g}, {1.0 - SEEN:g}]"
                )
            if value is not None and self.practice_rate:
                try:
                    some_seen(1.0 - (1.0 - value) * (1.0 - self.practice_rate))
                except ValueError as error:
                    raise ValueError(f"{key} and practice_rate together: {error}") from None
        return self

    def terms(self) -> tuple[Term, ...]:
        """Terms of the linear predictor that have a slope."""
        treated = self.outcome_slope if self.outcome_slope_intervention is None else self.outcome_slope_intervention
        special = (
            Term("sessions", 0.0, self.sessions_slope),
            Term("outcome", self.outcome_slope, treated),
            Term("change", self.change_slope, self.change_slope),
            Term("practice_effect", self.practice_effect_slope, self.practice_effect_slope),
        )
        covariates = arm_specific(self.slopes, self.slopes_intervention)
        return covariates + tuple(t for t in special if t.control or t.intervention)

    def reads(self) -> frozenset[str]:
        """Columns of earlier stages that are needed with these options."""
        needed = {"engagement"} if self.engagement_correlation else set()
        if self.rate_intervention is not None or self.drawn_first:
            needed.add("arm")
        return frozenset(needed) | reads(self.terms())

    def problems(self, available: Mapping[str, Variable]) -> list[tuple[str, str]]:
        """Reject slopes on latent columns, on columns observed only at follow-up, and on unknown categories."""
        found = []
        for table in ("slopes", "slopes_intervention"):
            for key in getattr(self, table):
                column, category = split(key)
                if column in available:
                    message = _misfit(column, category, available[column])
                    found += [(f"{table}.{key}", message)] if message else []
        return found

    def trimmed(self, wanted: frozenset[str]) -> Dropout:
        """Return these options without a column of deaths that nobody asks for; who is lost stays the same."""
        if "died" in wanted:
            return self
        made = self.model_copy()
        made._tells_deaths = False
        return made

    def adds(self) -> dict[str, Variable]:
        """Columns that the stage adds."""
        made = {
            "followed_up": Variable("participant", "Followed up: 0 no, 1 yes", hides=AT_FOLLOWUP),
        }
        if self._tells_deaths:
            made["died"] = Variable("participant", "Died before follow-up: 0 no, 1 yes")
        if self.withdrawn_before_baseline:
            made["seen_at_baseline"] = Variable(
                "participant", "Seen at baseline: 0 withdrew before, 1 yes", hides=("*_baseline",)
            )
        if self.drawn_first:
            for name, where in zip(LEAVES, ("control", "intervention"), strict=True):
                made[name] = Variable("participant", f"Would leave in {where}: 0 no, 1 yes", latent=True)
        return made

    def drawn_before(self) -> str | None:
        """The outcome follows from leaving where leaving is drawn first."""
        return "outcomes.mansa" if self.drawn_first else None

    def settled(self, mechanism: Mechanism) -> Dropout:
        """Return these options with the thresholds that they need in a mechanism; without slopes they need none."""
        if not self.terms():
            return self
        earlier = STAGES[: STAGES.index(self.drawn_before() or self.stage)]
        before = {stage: step for stage, step in mechanism.items() if stage in earlier}
        made = self.model_copy()
        made._calibration = calibrate(before, self.terms(), self.engagement_correlation, self._probabilities())
        return made

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw who is followed up."""
        index = batch.index
        r = self.engagement_correlation
        latent = rng.standard_normal(index.participants)
        if r:
            latent = weighted_sum(r, batch.at("engagement"), float(np.sqrt(1.0 - r * r)), latent, out=latent)
        of_practices, tells_deaths = rng.random(index.practices), self._tells_deaths
        limit = self._same_limit()
        more = self.practice_rate or self.withdrawn_before_baseline or self.drawn_first or tells_deaths
        if limit is not None and self.died and not more:
            return {"followed_up": stays(latent, limit, rng, self.died)}
        stay = self._stays(latent, batch)
        if self.practice_rate:
            stay &= (of_practices >= self.practice_rate)[index.participant_practice]
        died = withdrew = gone = np.zeros(index.participants, dtype=bool)
        if self.died or self.withdrawn_before_baseline:
            uniform = rng.random(index.participants)
            died = gone = uniform < self.died
            if self.withdrawn_before_baseline:
                gone = uniform < self.died + self.withdrawn_before_baseline
                withdrew = gone & ~died
        values = {"followed_up": (stay > gone).astype(np.float64)}
        if tells_deaths:
            values["died"] = died.astype(np.int64)
        if self.withdrawn_before_baseline:
            values["seen_at_baseline"] = (~withdrew).astype(np.int64)
        if self.drawn_first:
            leaves = [~self._stays(latent, world) | gone for world in either_way(batch)]
            values |= {name: who.astype(np.int64) for name, who in zip(LEAVES, leaves, strict=True)}
        return values

    def _probabilities(self) -> tuple[float, float]:
        """Probabilities, in control and intervention, of dropping out among those who neither die nor withdraw."""
        least = self.died + self.withdrawn_before_baseline
        rates = (self.rate, self.rate if self.rate_intervention is None else self.rate_intervention)
        control, intervention = ((rate - least) / (1.0 - least) for rate in rates)
        return control, intervention

    def _limits(self) -> tuple[float, float]:
        """Latent scores up to which people stay in control and in intervention, where nothing has a slope."""
        from scipy.special import ndtri

        control, intervention = (float(ndtri(1.0 - p)) for p in self._probabilities())
        return control, intervention

    def _same_limit(self) -> float | None:
        """That score where it is the same for all; None where it is not."""
        if self.terms():
            return None
        control, intervention = self._limits()
        return control if control == intervention else None

    def _stays(self, latent: NDArray[np.float64], batch: TrialBatch) -> NDArray[np.bool_]:
        """Whose score does not exceed the threshold of their arm (participants,)."""
        terms = self.terms()
        if not terms:
            same, (control, intervention) = self._same_limit(), self._limits()
            limit: Any = same if same is not None else np.where(batch.at("arm") == 1, intervention, control)
            return np.asarray(latent <= limit)
        found = self._calibration
        if found is None:
            raise ScenarioError("dropout has slopes: its thresholds must be found in the mechanism first (settled)")
        limit = np.where(batch.at("arm") == 1, found.thresholds[1], found.thresholds[0])
        return np.asarray(latent + predictor(terms, found.means, found.sds, batch) <= limit)


def _misfit(column: str, category: str, variable: Variable) -> str:
    """Why a covariate cannot have a slope; empty: it can."""
    if variable.latent:
        return f"'{column}' is latent; slopes need observed columns; see practice_effect_slope and outcome_slope"
    if hidden_by(column, AT_FOLLOWUP):
        return f"'{column}' is seen at follow-up only; write outcome_slope or change_slope"
    if not category and variable.categories:
        return f"'{column}' has categories; write for example '{column}={variable.categories[0]}'"
    if category and not variable.categories:
        return f"'{column}' is a number; write '{column}' alone, for a slope per SD"
    if category and category not in variable.categories:
        return unknown(f"category of {column}", category, variable.categories)
    return ""
