"""Inverse-probability weighting: estimating equations of those observed, weighted by how unlikely that was."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, register
from simtrial.estimators.being_observed import both_models, missingness_spec
from simtrial.estimators.weighted_analysis import WeightedAnalysis
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec


@register("ipw")
class InverseProbabilityWeighting(WeightedAnalysis):
    """Estimating equations in which an outcome is weighted by one over its probability of being observed.

    The probability is a logistic regression on arm, the covariates and ``auxiliary`` columns, or one in each arm. The
    sandwich stacks its scores with those of the outcome, since estimated weights are less variable than they look, and
    corrects the sum of both for the leverage of practices. Unbiased where that regression is right, whatever the model
    of the outcome (Robins, Rotnitzky and Zhao 1995, doi:10.1080/01621459.1995.10476493).
    """

    kind: Literal["ipw"] = "ipw"
    auxiliary: list[str] = Field(default_factory=list, description="further columns of the model of being observed")
    by_arm: bool = Field(False, description="a model of being observed for each arm")

    def spec(self) -> Spec:
        """Rows analysed: those with every column of both models."""
        return missingness_spec(super().spec(), self.auxiliary)

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Fit both models to every trial."""
        plain = super().spec()
        made, observed = both_models(batch, plain, self.spec(), moments, self.by_arm)
        return self.weighted(batch, plain, made, observed, every_term)
