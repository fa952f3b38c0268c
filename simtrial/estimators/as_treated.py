"""As-treated analysis: another method with receipt in place of the arm."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field, SerializeAsAny, field_validator, model_validator

from simtrial.batch import Column, ObservedBatch
from simtrial.estimators import Estimates, Method, inherit, register
from simtrial.estimators.per_protocol import wrapped
from simtrial.expressions import truth
from simtrial.flags import BIT, bits
from simtrial.moments.build import x_moments
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec, outcome

PERSON_BY_PERSON = ("lmm", "ols", "gee")
"""Analyses in which people of one practice may be on both sides of the comparison."""

ALIKE = bits(["arm_aliased", "one_arm", "too_few_clusters"])
"""Flags of a comparison of arms that, where all receive or none, have one cause here."""


@register("as-treated")
class AsTreated(Method):
    """Compare people who received with those who did not, whatever their arm: a known mistake.

    ``received`` takes the place of arm in the model of ``analysis``; the randomisation is given up. Participants whose
    receipt is unknown are left out. Conditions and covariates are those of the analysis, and an ``arm`` in them is the
    allocated one.
    """

    kind: Literal["as-treated"] = "as-treated"
    target = "received"
    received: str = Field(description="expression that defines receipt, e.g. sessions >= 6")
    analysis: SerializeAsAny[Method] = Field(description="the method in which receipt stands for arm: lmm, ols or gee")

    _inherit = model_validator(mode="before")(inherit)
    _build = field_validator("analysis", mode="before")(wrapped)

    @model_validator(mode="after")
    def _the_analysis_is_of_people(self) -> AsTreated:
        kind = self.analysis.kind
        if kind == "mi":
            raise ValueError("as-treated goes inside mi: kind = 'mi', analysis = { kind = 'as-treated', ... }")
        if kind not in PERSON_BY_PERSON:
            raise ValueError(
                f"as-treated cannot wrap kind '{kind}': in one practice some receive and some do not; "
                f"wrap one of {', '.join(PERSON_BY_PERSON)}"
            )
        if getattr(self.analysis, "heteroscedastic", "none") != "none":
            raise ValueError("as-treated needs heteroscedastic = 'none': variances by arm are those of whole practices")
        return self

    def spec(self) -> Spec:
        """Rows and columns analysed, receipt as a second response."""
        return replace(self.analysis.spec(), received=self.received)

    def expressions(self) -> tuple[str, ...]:
        """Expressions among the options."""
        return (self.received, *self.analysis.expressions())

    def reads(self) -> frozenset[str]:
        """Names of the observed columns the method needs."""
        return super().reads() | self.analysis.reads()

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Fit the analysis to the rows of known receipt, whose conditions were judged with the allocated arm."""
        rows, spec = moments.analysed, replace(self.analysis.spec(), received=None, where=())
        values = outcome(batch, spec)[rows.rows]
        receipt = np.where(truth(self.received, batch).holds, 1.0, 0.0)
        swapped = batch.with_columns({"arm": Column(receipt, "participant")})
        made = x_moments(swapped, spec, rows).with_response(values)
        found = self.analysis.fit(swapped, made, rng, every_term)
        alike = found.failed & (made.flags & BIT["one_arm"] > 0)
        flags = np.where(alike, found.flags & ~ALIKE | BIT["same_receipt"], found.flags)
        flags = flags | moments.flags & BIT["blank_receipt"]
        terms = tuple("received" if term == "arm" else term for term in found.terms)
        return replace(found, terms=terms, flags=flags)
