"""Augmented inverse-probability weighting: standardisation to everybody, corrected by the weighted residuals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydantic import Field

from simtrial.arrays import Bools, Floats, Ints
from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, Method, practice_df, register, report
from simtrial.estimators.being_observed import BeingObserved, both_models, missingness_flags, missingness_spec
from simtrial.estimators.g_computation import OutcomeModel, outcome_model, without_each
from simtrial.estimators.stacked_augmentation import efficient
from simtrial.flags import BIT
from simtrial.kernels.sandwich import matrix_power
from simtrial.kernels.segments import count_by, sum_by
from simtrial.kernels.small_matrices import apply, cholesky, multiply, pairs, unpack
from simtrial.moments.build import predictors
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec


@register("aipw")
class AugmentedWeighting(Method):
    """Average of model predictions for everybody, lost or not, corrected by weighted residuals of those observed.

    mu(a) = sum_j w_j / w_+ {mean_i m(x_ij, a) + 1(A_j = a) / pi_a mean_i R_ij (y_ij - m(x_ij, a)) / p_ij}, means over
    the n_j people of practice j with all covariates, pi_a the share of practices in arm a, w_j = n_j for the
    participant-average, 1 for the cluster-average effect. m is least squares among those observed, p a logistic
    regression. Consistent if either is right (Robins, Rotnitzky and Zhao 1994, doi:10.1080/01621459.1994.10476818).
    Variance by the jackknife over practices, in which the weights are updated by one Newton step. The efficient form
    lets outcomes of a practice be correlated in m and models pi from practice means, with the sandwich of all equations
    (Wang, Li and Wang 2024, arXiv:2401.11278).
    """

    kind: Literal["aipw"] = "aipw"
    average: Literal["participant", "cluster"] = Field("participant", description="whose average effect is estimated")
    form: Literal["plain", "efficient"] = Field(
        "plain", description="efficient: outcomes correlated within practices, allocation modelled by practice means"
    )
    auxiliary: list[str] = Field(default_factory=list, description="further columns of the model of being observed")
    by_arm: bool = Field(False, description="separate coefficients in each arm, in both models")
    smallest_probability: float = Field(0.05, ge=0, lt=1, description="probabilities below this count as this")
    df: Literal["clusters-p", "clusters-2", "normal"] = Field("clusters-p", description="df of the t interval")

    def spec(self) -> Spec:
        """Rows analysed: those with every column of both models."""
        return missingness_spec(super().spec(), self.auxiliary)

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Fit both models to every trial, and to every trial without each of its practices."""
        plain = super().spec()
        made, observed = both_models(batch, plain, self.spec(), moments, self.by_arm)
        model = outcome_model(made, self.by_arm)
        if self.form == "efficient":
            return self._efficient(batch, plain, made, model, observed)
        parts = _Parts.of(batch, plain, made, model, observed, self.average == "cluster", self.smallest_probability)
        without, singular = _coefficients_without(made, model, observed)
        moved, lonely = _weights_without(observed)
        means, left_out = parts.means(model), parts.without(model, without, moved)
        practices, trial = count_by(parts.trial, made.trials), parts.trial
        with np.errstate(divide="ignore", invalid="ignore"):
            centre = sum_by(left_out, trial, made.trials) / practices
            squares = sum_by((left_out - centre[trial]) ** 2, trial, made.trials)
            variance = (practices - 1) / practices * squares
        flags, failed = _status(made, model, observed)
        undetermined = count_by(trial[singular | lonely], made.trials) > 0
        flags |= np.where(undetermined & ~made.failed, BIT["leverage_one"], 0)
        flags |= np.where(parts.truncated, BIT["extreme_weights"], 0)
        df = practice_df(self.df, made.clusters, model.cluster_rank)
        effect = np.where(observed.converged, means[1] - means[0], np.nan)
        control, treated = means + made.center[made.regressors]
        return report(
            made, ("arm",), effect[None], variance[None], df[None], self.level, failed=failed,
            flags=flags, extras={"mean_control": control, "mean_intervention": treated, **parts.extras},
        )  # fmt: skip

    def _efficient(
        self, batch: ObservedBatch, spec: Spec, made: Moments, model: OutcomeModel, observed: BeingObserved
    ) -> Estimates:
        """Estimates by the stack of equations, with the means of covariates among the coefficients of practices."""
        found = efficient(
            batch, spec, made, model, observed, equal=self.average == "cluster", smallest=self.smallest_probability
        )
        model = replace(model, cluster_rank=np.maximum(model.cluster_rank, found.covariates + 2.0))
        flags, failed = _status(made, model, observed)
        flags |= np.where(found.separated & ~made.failed, BIT["separation"], 0)
        flags |= np.where(found.settled, 0, BIT["not_converged"])
        floor = observed.probability[observed.seen] <= self.smallest_probability
        truncated = found.truncated | (sum_by(floor, made.analysed.trial, made.trials) > 0)
        flags |= np.where(truncated, BIT["extreme_weights"], 0)
        df = practice_df(self.df, made.clusters, model.cluster_rank)
        effect = np.where(observed.converged & found.settled, found.means[1] - found.means[0], np.nan)
        control, treated = found.means + made.center[made.regressors]
        extras = {"mean_control": control, "mean_intervention": treated, "alpha": found.alpha}
        return report(
            made, ("arm",), effect[None], found.variance[None], df[None], self.level,
            failed=failed, flags=flags, extras=extras,
        )  # fmt: skip


def _status(made: Moments, model: OutcomeModel, observed: BeingObserved) -> tuple[Ints, Bools]:
    """Flags of both models, and which trials have no result (trials,)."""
    flags = made.flags | missingness_flags(observed) | np.where(model.aliased, BIT["arm_aliased"], 0)
    flags |= np.where(made.counts <= model.kept.sum(axis=0), BIT["no_data"], 0)
    saturated = ~made.failed & (made.clusters - model.cluster_rank <= 0)
    flags |= np.where(saturated, BIT["tau2_not_identified"], 0)
    few = (flags & (BIT["no_data"] | BIT["too_few_clusters"])) != 0
    return flags, made.failed | few | saturated | model.aliased | observed.out_of_range


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """What each practice adds to the two means, everybody's practices side by side (practices,).

    ``x`` (p, practices) is w_j times the mean of the covariates; ``residual`` the weighted residual and ``along``
    (P, practices) the weighted columns of the model of the outcome; ``slope`` (q, practices) and ``slopes``
    (q, P, practices) what these lose with each linear predictor of being observed. All are means over the practice's
    people times w_j.
    """

    trial: Ints
    arm: Ints
    weight: Floats
    x: Floats
    residual: Floats
    along: Floats
    slope: Floats
    slopes: Floats
    by_arm: bool
    truncated: Bools
    extras: dict[str, Floats]

    @classmethod
    def of(
        cls, batch: ObservedBatch, spec: Spec, made: Moments, model: OutcomeModel, observed: BeingObserved,
        equal: bool, smallest: float,
    ) -> _Parts:  # fmt: skip
        """Sum what each person adds over the people of every practice."""
        everyone, p = observed.everyone, made.regressors
        share = (1.0 / everyone.sizes if equal else np.ones_like(everyone.sizes))[everyone.cluster_of_row]
        x = predictors(batch, spec, made, everyone.rows)
        seen, trial = observed.place, made.analysed.trial
        full = _full(made.design[:p], model)
        weight, lost = observed.weights(smallest)
        error = made.design[p] - np.einsum("pn,pn->n", full, model.coefficients.T[:, trial])
        z, cluster, clusters = observed.columns[:, seen], everyone.cluster_of_row[seen], len(everyone.cluster)
        own = share[seen]
        everybody = sum_by(weight, trial, made.trials)
        with np.errstate(divide="ignore", invalid="ignore"):
            effective = everybody**2 / sum_by(weight**2, trial, made.trials)
        return cls(
            trial=everyone.cluster_trial,
            arm=(batch.at("arm", "practice")[everyone.cluster] == 1).astype(np.intp),
            weight=np.ones(clusters) if equal else everyone.sizes,
            x=sum_by(x * share, everyone.cluster_of_row, clusters),
            residual=sum_by(own * weight * error, cluster, clusters),
            along=sum_by(full * (own * weight), cluster, clusters),
            slope=sum_by(z * (own * lost * error), cluster, clusters),
            slopes=np.stack([sum_by(full * (own * lost * each), cluster, clusters) for each in z]),
            by_arm=observed.inverse.shape[-1] > made.trials,
            truncated=sum_by(observed.probability[observed.seen] <= smallest, trial, made.trials) > 0,
            extras={"effective_n": effective},
        )  # fmt: skip

    def _total(self, values: Floats, arm: int | None = None) -> Floats:
        """Sums over the practices of trials, or of an arm of theirs (..., trials)."""
        return sum_by(values if arm is None else values * (self.arm == arm), self.trial, self.trials)

    @property
    def trials(self) -> int:
        return len(self.truncated)

    def means(self, model: OutcomeModel) -> Floats:
        """Means under control and intervention (2, trials)."""
        found = []
        weight, count, x = self._total(self.weight), self._total(np.ones_like(self.weight)), self._total(self.x)
        with np.errstate(divide="ignore", invalid="ignore"):
            for a in (0, 1):
                share = self._total(np.ones_like(self.weight), a) / count
                predicted = (_assigned(x, weight, a, model) * model.coefficients.T).sum(axis=0)
                found.append((predicted + self._total(self.residual, a) / share) / weight)
        return np.stack(found)

    def without(self, model: OutcomeModel, beta: Floats, moved: Floats) -> Floats:
        """Effects without each practice in turn (practices,).

        ``beta`` (P, practices) are the coefficients without it, ``moved`` (q, practices) what the coefficients of
        being observed move by.
        """
        at, own = self.trial, np.stack([self.arm == 0, self.arm == 1])
        rest = self._total(self.weight)[at] - self.weight
        x = self._total(self.x)[:, at] - self.x
        count = self._total(np.ones_like(self.weight))[at] - 1.0
        apart = beta - model.coefficients.T[:, at]
        found = []
        with np.errstate(divide="ignore", invalid="ignore"):
            for a in (0, 1):
                share = (self._total(np.ones_like(self.weight), a)[at] - own[a]) / count
                left = {
                    name: self._total(getattr(self, name), a)[..., at] - own[a] * getattr(self, name)
                    for name in ("residual", "along", "slope", "slopes")
                }
                shift = moved * own[a] if self.by_arm else moved
                lost = left["slope"] - np.einsum("qpn,pn->qn", left["slopes"], apart)
                residual = left["residual"] - (left["along"] * apart).sum(axis=0) - (lost * shift).sum(axis=0)
                found.append(((_assigned(x, rest, a, model) * beta).sum(axis=0) + residual / share) / rest)
        return np.asarray(found[1] - found[0])


def _full(x: Floats, model: OutcomeModel) -> Floats:
    """Columns of the model of the outcome for people in their own arm: products with arm follow it (P, rows)."""
    products = x[model.arm] * x[1 : 1 + model.kept.shape[0] - model.arm - 1]
    return np.concatenate([x, products])


def _assigned(x: Floats, weight: Floats, arm: int, model: OutcomeModel) -> Floats:
    """Sums of the columns with everybody in one arm, from sums of covariates and weights (P, ...)."""
    covariates = x[1 : 1 + model.kept.shape[0] - model.arm - 1]
    return np.concatenate([x[: model.arm], arm * weight[None], arm * covariates])


def _coefficients_without(made: Moments, model: OutcomeModel, observed: BeingObserved) -> tuple[Floats, Bools]:
    """Coefficients of the outcome without each of everybody's practices (P, practices), and which have leverage one."""
    everyone, own = observed.everyone, made.analysed
    beta = model.coefficients.T[:, everyone.cluster_trial].copy()
    without, singular = without_each(made, model)
    place = np.searchsorted(everyone.cluster, own.cluster)
    beta[:, place] = without[own.cluster_trial, own.position].T
    lonely = np.zeros(len(everyone.cluster), dtype=bool)
    lonely[place] = singular[own.cluster_trial, own.position]
    return beta, lonely


def _weights_without(observed: BeingObserved) -> tuple[Floats, Bools]:
    """One Newton step of the coefficients of being observed without each practice (q, practices).

    With M = LL' the inverse information it is -(M^-1 - I_j)^-1 S_j = -L (I - L'I_j L)^-1 L'S_j; and for which practices
    that has no inverse.
    """
    everyone, z = observed.everyone, observed.columns
    cluster, clusters = everyone.cluster_of_row, len(everyone.cluster)
    group = np.zeros(clusters, dtype=np.intp)
    group[cluster] = observed.group
    first, second = pairs(len(z))
    spread = np.where(observed.certain, 0.0, observed.probability * (1.0 - observed.probability))
    information = unpack(sum_by(z[first] * (z[second] * spread), cluster, clusters), len(z))
    dropped = ~(np.einsum("iig->ig", observed.inverse) > 0)
    inverse = observed.inverse.copy()
    inverse[range(len(z)), range(len(z))] += dropped
    with np.errstate(invalid="ignore", divide="ignore"):  # information that is rounding: no weights without a practice
        lower = cholesky(inverse) * ~dropped
    lower, upper = lower[:, :, group], lower.transpose(1, 0, 2)[:, :, group]
    rest = np.eye(len(z))[:, :, None] - multiply(multiply(upper, information), lower)
    adjust, singular = matrix_power(rest, -1.0)
    score = apply(upper, sum_by(observed.score, cluster, clusters))
    return -apply(lower, apply(adjust, score)), singular
