"""Inverse-probability weighting: estimating equations of those observed, weighted by how unlikely that was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from simtrial.arrays import Bools, Floats
from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, Method, register, report, terms_of
from simtrial.estimators.being_observed import BeingObserved, missingness_flags, missingness_spec, without_auxiliary
from simtrial.flags import BIT
from simtrial.kernels.sandwich import matrix_power
from simtrial.kernels.segments import largest_by, sum_by
from simtrial.kernels.small_matrices import apply, cholesky, multiply, pairs, sweep, unpack
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec

POWER = {"kauermann-carroll": -0.5, "robust": 0.0, "mancl-derouen": -1.0}


@register("ipw")
class InverseProbabilityWeighting(Method):
    """Estimating equations under independence, each outcome weighted by one over its probability of being observed.

    The probability is a logistic regression on arm, the covariates and ``auxiliary`` columns, or one in each arm. The
    sandwich stacks its scores with those of the outcome, since estimated weights are less variable than they look, and
    corrects the sum of both for the leverage of practices. Unbiased where that regression is right, whatever the model
    of the outcome (Robins, Rotnitzky and Zhao 1995, doi:10.1080/01621459.1995.10476493).
    """

    kind: Literal["ipw"] = "ipw"
    auxiliary: list[str] = Field(default_factory=list, description="further columns of the model of being observed")
    by_arm: bool = Field(False, description="a model of being observed for each arm")
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
        made = without_auxiliary(batch, super().spec(), moments) if self.auxiliary else moments
        observed = BeingObserved.of(batch, self.spec(), self.by_arm)
        weighted = _Weighted.of(made, observed, self.smallest_probability)
        terms = terms_of(made, self.target, every_term)
        estimate = np.stack([_contrast(made.contrast(term), weighted.coefficients) for term in terms])
        if "intercept" in terms:
            estimate[terms.index("intercept")] += made.center[made.regressors]
        variance, lonely = weighted.variances([made.contrast(term) for term in terms], POWER[self.se])
        between = made.clusters - made.cluster_rank
        saturated = ~made.failed & (between <= 0)  # scores of whole practices are 0: no sandwich can be made of them
        flags = made.flags | np.where(lonely, BIT["leverage_one"], 0) | missingness_flags(observed)
        flags |= np.where(weighted.truncated, BIT["extreme_weights"], 0)
        flags |= np.where(saturated, BIT["tau2_not_identified"], 0)
        failed = made.failed | saturated | observed.out_of_range
        estimate = np.where(observed.converged, estimate, np.nan)
        df = np.broadcast_to(np.inf if self.df == "normal" else between, estimate.shape)
        return report(
            made, terms, estimate, variance, df, self.level, failed=failed, flags=flags, extras=weighted.extras
        )


def _contrast(contrast: Floats, coefficients: Floats) -> Floats:
    return np.asarray((contrast * coefficients).sum(axis=0))


@dataclass(frozen=True, kw_only=True)
class _Weighted:
    """Weighted least squares, and per practice of the batch what a sandwich needs.

    ``coefficients`` (p, trials); ``inverse`` (X'WX)^-1 (p, p, trials); ``products`` X_j'W_j X_j (p, p, practices);
    ``score`` X_j'W_j e_j, the part that estimating the weights takes off added (p, practices); ``truncated`` (trials,).
    """

    coefficients: Floats
    inverse: Floats
    products: Floats
    score: Floats
    truncated: Bools
    extras: dict[str, Floats]
    made: Moments

    @classmethod
    def of(cls, made: Moments, observed: BeingObserved, smallest: float) -> _Weighted:
        rows, p, trials = made.analysed, made.regressors, made.trials
        index = rows.index
        practice = index.participant_practice[rows.rows]
        weight, slope = observed.weights(smallest)
        x, y = made.design[:p], made.design[p]
        first, second = pairs(p)
        products = unpack(sum_by(x[first] * (x[second] * weight), practice, index.practices), p)
        total = np.zeros((p + 1, p + 1, trials))
        total[:p, :p] = sum_by(products, index.practice_trial, trials)
        total[range(p), range(p)] += ~made.kept
        total[p, :p] = total[:p, p] = sum_by(x * (weight * y), rows.trial, trials)
        total[:, :, made.failed] = np.eye(p + 1)[:, :, None]
        with np.errstate(all="ignore"):
            inverse, coefficients, _, _ = sweep(total, p)
        beta = coefficients[:, 0] * made.kept
        residual = y - np.einsum("pn,pn->n", x, beta[:, rows.trial])
        score = sum_by(x * (weight * residual), practice, index.practices)
        z, group = observed.columns[:, observed.place], observed.group[observed.place]
        moved = np.stack([sum_by(z * (each * residual * slope), group, observed.inverse.shape[-1]) for each in x])
        taken_off = multiply(moved, observed.inverse)  # minus the derivative, times the inverse information
        estimated = np.einsum("pqn,qn->pn", taken_off[:, :, observed.group], observed.score)
        squares = sum_by(weight**2, rows.trial, trials)
        everyone = sum_by(weight, rows.trial, trials)
        with np.errstate(invalid="ignore", divide="ignore"):
            extras = {
                "largest_weight": largest_by(weight, rows.trial, trials),
                "effective_n": everyone**2 / squares,
            }
        return cls(
            coefficients=beta, inverse=inverse, products=products, score=score - observed.per_practice(estimated),
            truncated=sum_by(observed.probability[observed.seen] <= smallest, rows.trial, trials) > 0,
            extras=extras, made=made,
        )  # fmt: skip

    def variances(self, contrasts: list[Floats], power: float) -> tuple[Floats, Bools]:
        """Variances of contrasts (terms, trials), and where a practice has leverage one (trials,).

        With M = (X'WX)^-1 = LL' and C_j = X_j'W_j X_j the score of practice j is multiplied by (I - C_j M)^power,
        which is L'^-1 (I - L'C_j L)^power L'.
        """
        trial, trials = self.made.analysed.index.practice_trial, self.made.trials
        dropped = ~self.made.kept
        inverse = self.inverse * ~dropped * ~dropped[:, None]
        inverse[range(len(dropped)), range(len(dropped))] += dropped
        with np.errstate(invalid="ignore", divide="ignore"):
            lower = cholesky(inverse)
        upper = lower.transpose(1, 0, 2)
        own = apply(upper[:, :, trial], self.score)
        lonely = np.zeros(trials, dtype=bool)
        if power:
            hat = multiply(multiply(upper[:, :, trial], self.products), lower[:, :, trial])
            adjust, singular = matrix_power(np.eye(len(own))[:, :, None] - hat, power)
            own = apply(adjust, own)
            lonely[trial[singular]] = True
        return np.stack(
            [sum_by((apply(upper, c)[:, trial] * own).sum(axis=0) ** 2, trial, trials) for c in contrasts]
        ), lonely & ~self.made.failed
