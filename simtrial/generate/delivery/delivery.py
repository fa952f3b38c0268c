"""Delivery of the intervention: care-partner availability, contact, sessions, goals, and who has access."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr, model_validator

from simtrial.arrays import Floats, Ints
from simtrial.batch import TrialBatch
from simtrial.generate import Step, Variable
from simtrial.generate.by_person import alike
from simtrial.generate.by_practice import in_arm
from simtrial.generate.column_names import IF_CONTROL, IF_OFFERED
from simtrial.generate.covariate_keys import split
from simtrial.generate.delivery.contact import in_post, mean_length
from simtrial.generate.delivery.engagement import effect_problems, related, score, shifts
from simtrial.generate.delivery.sessions import sessions_at
from simtrial.generate.distributions.tables import beta_quantiles, between_scores, gamma_quantiles

Shift = Annotated[float, Field(ge=-5, le=5)]

CONTACT = ("contact", "goals_assessed", "first_contact_months", "session_minutes")
"""What is known of contacts besides their number; drawn from streams of their own."""

GOALS = ("goal_sessions",)
"""Drawn last from the stream of the stage."""

POSTS, PRACTICES, CONTACTS, MINUTES, OPEN_TO, AGAINST = range(6)
"""Streams of the stage besides its own."""

OFFERED = {
    "sessions": ("Sessions", "sessions"),
    "goal_sessions": ("Sessions with goals", "sessions"),
    "contact": ("Any contact", ""),
    "goals_assessed": ("Goals assessed", ""),
    "first_contact_months": ("Time from allocation to first contact", "months"),
    "session_minutes": ("Mean length of sessions", "minutes"),
}
"""What a person offered the intervention would receive: label and unit."""


class Delivery(Step):
    """Receipt if offered, and receipt in the allocated arm.

    Every practice has a care-partner availability (Beta), every person an engagement (standard normal). Sessions are
    the quantile, in a hurdle zero-truncated negative binomial, of c z_availability + sqrt(1 - c^2) engagement with c =
    ``availability_correlation``: the marginal distribution is exact, practices share their availability. Goals are
    discussed in each session independently.

    Principal strata: people in control have what they would have if offered where ``control_access`` gives it to them
    (always-takers, if that counts as receipt), else nothing. Only ``defiers`` receive more in control than if offered:
    in control what others have if offered, and nothing if offered.
    """

    stage: ClassVar[str] = "delivery"
    _left_out: frozenset[str] = PrivateAttr(frozenset())

    availability_alpha: float = Field(5.0, gt=0, description="first shape of the Beta distribution of availability")
    availability_beta: float = Field(1.3, gt=0, description="second shape of the Beta distribution of availability")
    availability_correlation: float = Field(0.3, ge=0, le=1, description="correlation of availability with sessions")
    availability_months: int = Field(
        0,
        ge=0,
        le=240,
        description="months over which posts are filled and vacated; 0: availability is the Beta share",
    )
    availability_turnover: float = Field(
        0.1, gt=0, le=1, description="probability per month that the state of a post is drawn again"
    )
    no_contact: float = Field(0.09, ge=0, lt=1, description="share of people offered who have no session")
    sessions_mu: float = Field(
        10.4, gt=0, le=10_000, description="mu of the negative binomial of sessions, before truncation"
    )
    sessions_shape: float = Field(
        3.0, ge=0.01, description="k of the negative binomial of sessions, variance mu + mu^2/k"
    )
    goal_share: float = Field(0.95, ge=0, le=1, description="probability that a session discusses goals")
    goals_assessed_share: float = Field(
        0.95, ge=0, le=1, description="probability that someone with contact has goals assessed"
    )
    first_contact_months: float = Field(
        0.7, gt=0, le=24, description="mean months from allocation to first contact (gamma)"
    )
    first_contact_cv: float = Field(0.6, ge=0.01, le=3, description="coefficient of variation of that time")
    session_minutes: float = Field(45.0, gt=10, le=600, description="mean length of a session of 10 minutes or more")
    session_minutes_sd: float = Field(15.0, ge=0.1, le=600, description="SD of the length of one session, minutes")
    engagement_icc: float = Field(0.0, ge=0, lt=1, description="share of the variance of engagement between practices")
    engagement_baseline: float = Field(0.0, ge=-1, le=1, description="correlation of engagement with mansa_baseline")
    engagement_effects: dict[str, Shift] = Field(
        default_factory=dict, description="shift of engagement in SD: per SD of a number, or of 'factor=category'"
    )
    engagement_scale: dict[str, list[float]] = Field(
        default_factory=lambda: {"age": [53.0, 13.0], "mansa_baseline": [4.31, 0.93]},
        description="centre and SD of numeric predictors of engagement",
    )
    control_access: float = Field(
        0.0, ge=0, le=1, description="probability that someone in control has access as if offered"
    )

    defiers: float = Field(
        0.0, ge=0, le=1, description="share of people who receive in control what others do if offered, and only there"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Delivery:
        for name, scale in self.engagement_scale.items():
            if len(scale) != 2 or scale[1] <= 0:
                raise ValueError(f"engagement_scale.{name} must be [centre, SD] with a positive SD; {scale} given")
        if self.engagement_baseline and "mansa_baseline" not in self.engagement_scale:
            raise ValueError("engagement_baseline needs engagement_scale.mansa_baseline = [centre, SD]")
        if self.engagement_baseline and "mansa_baseline" in self.engagement_effects:
            raise ValueError("engagement_baseline and an effect of mansa_baseline: only one can be given")
        if "arm" in {split(key)[0] for key in self.engagement_effects}:
            raise ValueError("engagement precedes allocation: arm cannot have an effect on it")
        return self

    def reads(self) -> frozenset[str]:
        """Columns of earlier stages that are needed with these options."""
        baseline = {"mansa_baseline"} if self.engagement_baseline else set()
        return frozenset({"arm"} | baseline | {split(key)[0] for key in self.engagement_effects})

    def problems(self, available: Mapping[str, Variable]) -> list[tuple[str, str]]:
        """Reject effects of unknown categories or of columns without a known scale."""
        return effect_problems(self.engagement_effects, self.engagement_scale, available)

    def trimmed(self, wanted: frozenset[str]) -> Delivery:
        """Return these options without contacts and goals nobody asks for: no other draw comes after theirs."""
        bases = {_base(name) for name in wanted}
        left_out = frozenset(name for group in (CONTACT, GOALS) if not bases & set(group) for name in group)
        if not left_out:
            return self
        made = self.model_copy()
        made._left_out = left_out
        return made

    def adds(self) -> dict[str, Variable]:
        """Columns that the stage adds."""
        offered = {
            name + IF_OFFERED: Variable("participant", f"{label} if offered", unit, latent=True)
            for name, (label, unit) in OFFERED.items()
        }
        beside = OFFERED if self.defiers else ("sessions", "goal_sessions")
        in_control = {
            name + IF_CONTROL: Variable("participant", f"{OFFERED[name][0]} in control", OFFERED[name][1], latent=True)
            for name in beside
        }
        every = {
            "availability_offered": Variable("practice", "Care-partner availability if allocated", latent=True),
            "engagement": Variable("participant", "Engagement, standard normal unless shifted", latent=True),
            **offered,
            "access_if_control": Variable("participant", "Access in control: 0 no, 1 as if offered", latent=True),
            **in_control,
            "availability": Variable("practice", "Share of time with a care partner in post; blank in control"),
            "sessions": Variable("participant", "Sessions received", "sessions"),
            "goal_sessions": Variable("participant", "Sessions in which goals were discussed", "sessions"),
            "contact": Variable("participant", "Any contact: 0 no, 1 yes"),
            "goals_assessed": Variable("participant", "Goals assessed: 0 no, 1 yes"),
            "first_contact_months": Variable(
                "participant", "Time from allocation to first contact; blank without", "months"
            ),
            "session_minutes": Variable("participant", "Mean length of sessions; blank without", "minutes"),
        }
        return {name: variable for name, variable in every.items() if _base(name) not in self._left_out}

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw receipt if offered, receipt in control, and actual receipt."""
        index = batch.index
        left_out = self._left_out
        contacts = not left_out.issuperset(CONTACT)
        # streams of their own, so that no option moves the draws that another uses
        options = (self.availability_months, self.engagement_icc, contacts, self.control_access, self.defiers)
        own = rng.spawn(6) if any(options) else []
        z = rng.standard_normal(index.practices)
        availability = between_scores(z, beta_quantiles(self.availability_alpha, self.availability_beta)[1])
        if self.availability_months:
            availability = in_post(availability, self.availability_months, self.availability_turnover, own[POSTS])
        normal = rng.standard_normal(index.participants)
        shared = own[PRACTICES].standard_normal(index.practices) if self.engagement_icc else None
        engagement = self._engagement(batch, normal, shared)
        sessions = self._sessions(z, engagement, index.participant_practice)
        offered = {"sessions": sessions}
        if not left_out.issuperset(GOALS):
            goals = rng.binomial(sessions.astype(np.int64), self.goal_share)
            offered["goal_sessions"] = goals.astype(np.float64)
        if contacts:
            offered |= self._contact(sessions, own[CONTACTS], own[MINUTES])
        access = alike(0.0, index.participants)
        if self.control_access:
            access = (own[OPEN_TO].random(index.participants) < self.control_access).astype(np.float64)
        blank = {"first_contact_months": np.nan, "session_minutes": np.nan}
        kept = [name for name in offered if self.defiers or name not in CONTACT]
        control: Mapping[str, Floats | float] = offered
        if self.defiers:
            defies = own[AGAINST].random(index.participants) < self.defiers
            access = np.maximum(access, defies)
            offered = {name: np.where(defies, blank.get(name, 0.0), values) for name, values in control.items()}
        if self.control_access or self.defiers:
            control = {name: np.where(access == 1, values, blank.get(name, 0.0)) for name, values in control.items()}
        else:
            control = {name: blank.get(name, 0.0) for name in control}
        arm = batch.at("arm", "practice")
        return {
            "availability_offered": availability,
            "engagement": engagement,
            **{name + IF_OFFERED: values for name, values in offered.items()},
            "access_if_control": access,
            **{name + IF_CONTROL: alike(control[name], index.participants) for name in kept},
            "availability": np.where(arm == 1, availability, np.nan),
            **{name: in_arm(arm, index.participant_practice, control[name], v) for name, v in offered.items()},
        }

    def _engagement(self, batch: TrialBatch, own: Floats, of_practices: Floats | None) -> Floats:
        """Engagement (participants,): correlations keep it standard normal, effects of covariates shift it."""
        shared = own if of_practices is None else of_practices[batch.index.participant_practice]
        r = self.engagement_baseline
        baseline = score("mansa_baseline", self.engagement_scale, batch) if r else None
        engagement = related(own, shared, self.engagement_icc, baseline, r)
        if self.engagement_effects:
            engagement = engagement + shifts(self.engagement_effects, self.engagement_scale, batch)
        return engagement

    def _sessions(self, z: Floats, engagement: Floats, practice: Ints) -> Floats:
        """Sessions if offered (participants,): quantile of the hurdle distribution."""
        c = self.availability_correlation
        law = (self.no_contact, self.sessions_mu, self.sessions_shape)
        return sessions_at(c * z, practice, engagement, float(np.sqrt(1.0 - c * c)), law)

    def _contact(
        self, sessions: Floats, contact: np.random.Generator, minutes: np.random.Generator
    ) -> dict[str, Floats]:
        """Contact, goals assessed, time to first contact and mean length of sessions if offered (participants,)."""
        some = sessions > 0
        assessed = some & (contact.random(len(sessions)) < self.goals_assessed_share)
        shape = self.first_contact_cv**-2
        normal = contact.standard_normal(len(sessions))
        first = self.first_contact_months * between_scores(normal, gamma_quantiles(shape)[1] / shape)
        length = mean_length(sessions, self.session_minutes, self.session_minutes_sd, minutes)
        return {
            "contact": some.astype(np.float64),
            "goals_assessed": assessed.astype(np.float64),
            "first_contact_months": np.where(some, first, np.nan),
            "session_minutes": length,
        }


def _base(name: str) -> str:
    """Name of a column without the allocation it stands for."""
    return name.removesuffix(IF_OFFERED).removesuffix(IF_CONTROL)
