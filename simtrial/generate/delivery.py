"""Delivery of the intervention: care-partner availability, sessions, and sessions with goals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.batch import TrialBatch
from simtrial.generate import Step, Variable
from simtrial.generate.distributions import beta_quantiles, invert, truncated_negative_binomial


class Delivery(Step):
    """Who would receive how much if offered, and what is received in the arm allocated.

    Every practice has a care-partner availability (Beta), every person an engagement (standard normal). Sessions are
    the quantile, in a hurdle zero-truncated negative binomial, of c z_availability + sqrt(1 - c^2) engagement with c =
    ``availability_correlation``: the marginal distribution is exact, practices share their availability. Goals are
    discussed in each session independently. The control arm has no access.
    """

    stage: ClassVar[str] = "delivery"

    availability_alpha: float = Field(5.0, gt=0, description="first shape of the Beta distribution of availability")
    availability_beta: float = Field(1.3, gt=0, description="second shape of the Beta distribution of availability")
    availability_correlation: float = Field(0.3, ge=0, le=1, description="correlation of availability with sessions")
    no_contact: float = Field(0.09, ge=0, lt=1, description="share of people offered who have no session")
    sessions_mu: float = Field(
        10.4, gt=0, le=10_000, description="mu of the negative binomial of sessions, before truncation"
    )
    sessions_shape: float = Field(
        3.0, ge=0.01, description="k of the negative binomial of sessions, variance mu + mu^2/k"
    )
    goal_share: float = Field(0.95, ge=0, le=1, description="probability that a session discusses goals")

    def reads(self) -> frozenset[str]:
        """Columns of earlier stages that are needed with these options."""
        return frozenset({"arm"})

    def adds(self) -> dict[str, Variable]:
        """Columns that will be there afterwards."""
        return {
            "availability_offered": Variable("practice", "Care-partner availability if allocated", latent=True),
            "engagement": Variable("participant", "Engagement, standard normal", latent=True),
            "sessions_offered": Variable("participant", "Sessions if offered", "sessions", latent=True),
            "goal_sessions_offered": Variable("participant", "Sessions with goals if offered", "sessions", latent=True),
            "availability": Variable("practice", "Share of time with a care partner in post; blank in control"),
            "sessions": Variable("participant", "Sessions received", "sessions"),
            "goal_sessions": Variable("participant", "Sessions in which goals were discussed", "sessions"),
        }

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw potential and received sessions."""
        from scipy.special import ndtr

        index = batch.index
        z = rng.standard_normal(index.practices)
        offered = np.interp(z, *beta_quantiles(self.availability_alpha, self.availability_beta))
        engagement = rng.standard_normal(index.participants)
        c = self.availability_correlation
        uniform = ndtr(c * z[index.participant_practice] + np.sqrt(1.0 - c * c) * engagement)
        table = truncated_negative_binomial(self.sessions_mu, self.sessions_shape)
        attended = np.clip((uniform - self.no_contact) / (1.0 - self.no_contact), 0.0, 1.0)
        sessions = np.where(uniform < self.no_contact, 0.0, invert(table, attended))
        goals = rng.binomial(sessions.astype(np.int64), self.goal_share).astype(np.float64)
        arm = batch.at("arm", "practice")
        treated = arm[index.participant_practice]
        return {
            "availability_offered": offered,
            "engagement": engagement,
            "sessions_offered": sessions,
            "goal_sessions_offered": goals,
            "availability": np.where(arm == 1, offered, np.nan),
            "sessions": sessions * treated,
            "goal_sessions": goals * treated,
        }
