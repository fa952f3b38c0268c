"""Per-protocol analysis weighted for adherence: those who kept to it stand for people like them who did not."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, register
from simtrial.estimators.being_observed import BeingObserved, missingness_spec
from simtrial.estimators.per_protocol import blank_adherence
from simtrial.estimators.weighted_analysis import WeightedAnalysis
from simtrial.moments.build import x_moments
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec, analysed, outcome


@register("ipw-per-protocol")
class WeightedPerProtocol(WeightedAnalysis):
    """Analyse people for whom ``keep`` holds, weighted by one over their probability of keeping to the protocol.

    The probability is a logistic regression on the covariates and ``auxiliary`` columns within either arm, among people
    with an outcome. An arm that keeps to the protocol throughout has weights of 1. Unbiased for the effect if everybody
    adhered where adherence depends on nothing but these columns beside the arm (Hernan and Robins 2017,
    doi:10.1056/NEJMsm1605385). The sandwich stacks the scores of adherence with those of the outcome.
    """

    kind: Literal["ipw-per-protocol"] = "ipw-per-protocol"
    keep: str = Field(description="expression of who kept to the protocol, e.g. arm == 0 or sessions >= 6")
    auxiliary: list[str] = Field(default_factory=list, description="further columns of the model of adherence")

    def spec(self) -> Spec:
        """Rows analysed: those kept with every column of both models."""
        wide = missingness_spec(super().spec(), self.auxiliary)
        return replace(wide, where=(*wide.where, self.keep))

    def expressions(self) -> tuple[str, ...]:
        """Expressions among the options."""
        return (*super().expressions(), self.keep)

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Fit both models to every trial."""
        plain, rows, made = super().spec(), moments.analysed, moments
        wide = missingness_spec(plain, self.auxiliary)
        if wide != plain:
            made = x_moments(batch, plain, rows).with_response(outcome(batch, plain), at=rows.rows)
        known = replace(wide, where=(*wide.where, f"({self.keep}) or not ({self.keep})"))
        everyone = analysed(batch, known, outcome(batch, known))
        kept = np.isin(everyone.rows, rows.rows, assume_unique=True)
        adhering = BeingObserved.among(batch, wide, everyone, kept, by_arm=True)
        found = self.weighted(batch, plain, made, adhering, every_term)
        return replace(found, flags=found.flags | blank_adherence(batch, wide, self.keep, moments))
