"""Inverse-probability weighting: estimating equations of those observed, weighted by how unlikely that was."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from simtrial.arrays import Bools, Floats
from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, Method, register, report, terms_of
from simtrial.estimators.being_observed import both_models, missingness_flags, missingness_spec
from simtrial.estimators.weighted_equations import Equations
from simtrial.flags import BIT
from simtrial.kernels.segments import largest_by, sum_by
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec

POWER = {"kauermann-carroll": -0.5, "robust": 0.0, "mancl-derouen": -1.0}


@register("ipw")
class InverseProbabilityWeighting(Method):
    """Estimating equations in which an outcome is weighted by one over its probability of being observed.

    The probability is a logistic regression on arm, the covariates and ``auxiliary`` columns, or one in each arm. The
    sandwich stacks its scores with those of the outcome, since estimated weights are less variable than they look, and
    corrects the sum of both for the leverage of practices. Unbiased where that regression is right, whatever the model
    of the outcome (Robins, Rotnitzky and Zhao 1995, doi:10.1080/01621459.1995.10476493).
    """

    kind: Literal["ipw"] = "ipw"
    auxiliary: list[str] = Field(default_factory=list, description="further columns of the model of being observed")
    by_arm: bool = Field(False, description="a model of being observed for each arm")
    working: Literal["independence", "exchangeable"] = Field(
        "independence", description="working correlation of people of a practice"
    )
    se: Literal["kauermann-carroll", "robust", "mancl-derouen"] = Field(
        "kauermann-carroll", description="standard error"
    )
    smallest_probability: float = Field(0.05, ge=0, lt=1, description="probabilities below this count as this")
    df: Literal["clusters-p", "normal"] = Field("clusters-p", description="degrees of freedom of the t interval")

    def spec(self) -> Spec:
        """Rows analysed: those with every column of both models."""
        return missingness_spec(super().spec(), self.auxiliary)

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Fit both models to every trial."""
        plain = super().spec()
        made, observed = both_models(batch, plain, self.spec(), moments, self.by_arm)
        weight, slope = observed.weights(self.smallest_probability)
        equations = Equations.of(batch, plain, made, observed, weight)
        alpha, settled, identified = self._correlation(equations)
        solution = equations.solved(alpha)
        terms = terms_of(made, self.target, every_term)
        contrasts = [made.contrast(term) for term in terms]
        estimate = np.stack([(contrast * solution.coefficients).sum(axis=0) for contrast in contrasts])
        if "intercept" in terms:
            estimate[terms.index("intercept")] += made.center[made.regressors]
        variance, lonely = solution.variances(solution.scores(observed, slope), contrasts, POWER[self.se])
        between = made.clusters - made.cluster_rank
        saturated = ~made.failed & (between <= 0)  # scores of whole practices are 0: no sandwich can be made of them
        flags = made.flags | np.where(lonely, BIT["leverage_one"], 0) | missingness_flags(observed)
        floor = observed.probability[observed.seen] <= self.smallest_probability
        flags |= np.where(sum_by(floor, made.analysed.trial, made.trials) > 0, BIT["extreme_weights"], 0)
        flags |= np.where(saturated | ~(identified | made.failed), BIT["tau2_not_identified"], 0)
        flags |= np.where(settled, 0, BIT["not_converged"])
        failed = made.failed | saturated | observed.out_of_range
        estimate = np.where(observed.converged & settled, estimate, np.nan)
        df = np.broadcast_to(np.inf if self.df == "normal" else between, estimate.shape)
        extras = _of_weights(weight, made)
        if self.working == "exchangeable":
            extras["alpha"] = np.where(identified, alpha, np.nan)
        return report(made, terms, estimate, variance, df, self.level, failed=failed, flags=flags, extras=extras)

    def _correlation(self, equations: Equations) -> tuple[Floats, Bools, Bools]:
        """Working correlation, whether it settled, and whether there are pairs for it (trials,)."""
        if self.working == "exchangeable":
            return equations.correlation()
        trials = equations.made.trials
        return np.zeros(trials), np.ones(trials, dtype=bool), np.ones(trials, dtype=bool)


def _of_weights(weight: Floats, made: Moments) -> dict[str, Floats]:
    """Largest weight, and (sum w)^2 / sum w^2 (trials,)."""
    trial, trials = made.analysed.trial, made.trials
    with np.errstate(invalid="ignore", divide="ignore"):
        effective = sum_by(weight, trial, trials) ** 2 / sum_by(weight**2, trial, trials)
    return {"largest_weight": largest_by(weight, trial, trials), "effective_n": effective}
