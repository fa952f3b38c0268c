"""Options and results of analyses that weight people by one over a probability estimated by logistic regression."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from simtrial.arrays import Bools, Floats
from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, Method, report, terms_of
from simtrial.estimators.being_observed import BeingObserved, missingness_flags
from simtrial.estimators.weighted_equations import Equations
from simtrial.flags import BIT
from simtrial.kernels.segments import largest_by, sum_by
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec

POWER = {"kauermann-carroll": -0.5, "robust": 0.0, "mancl-derouen": -1.0}


class WeightedAnalysis(Method):
    """Weighted estimating equations, and a sandwich that stacks the scores of both models."""

    working: Literal["independence", "exchangeable"] = Field(
        "independence", description="working correlation of people of a practice"
    )
    se: Literal["kauermann-carroll", "robust", "mancl-derouen"] = Field(
        "kauermann-carroll", description="standard error"
    )
    smallest_probability: float = Field(0.05, ge=0, lt=1, description="probabilities below this count as this")
    df: Literal["clusters-p", "normal"] = Field("clusters-p", description="degrees of freedom of the t interval")

    def weighted(
        self, batch: ObservedBatch, plain: Spec, made: Moments, observed: BeingObserved, every_term: bool
    ) -> Estimates:
        """Estimates from the moments ``made`` of ``plain`` and the model of being among them."""
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
