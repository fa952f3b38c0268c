"""Model-robust standardisation (g-computation) of the participant-average or the cluster-average effect."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from simtrial.arrays import Bools, Floats
from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, Method, practice_df, register, report
from simtrial.flags import BIT
from simtrial.kernels.sandwich import matrix_power
from simtrial.kernels.small_matrices import independent
from simtrial.moments import leave_one_out
from simtrial.moments.moments import Moments


@register("g-computation")
class GComputation(Method):
    """Average of model predictions under either arm, corrected by the residual means of those who were in it.

    Li, Tong, Fang, Cheng, Kahan and Wang (2025, doi:10.1002/sim.70270): mu(a) = sum_j w_j / w_+ {m_j(a) + 1(A_j = a)
    (Ybar_j - m_j(a)) / pi_a}. m is least squares of the outcome on arm and covariates, or the fixed part of the mixed
    model; w_j = n_j for the participant-average, 1 for the cluster-average effect; pi_a is the share of analysed
    practices in arm a. Consistent whatever the model, because arm is randomised. Variance by the jackknife that leaves
    out one practice at a time.
    """

    kind: Literal["g-computation"] = "g-computation"
    average: Literal["participant", "cluster"] = Field("participant", description="whose average effect is estimated")
    model: Literal["ols", "lmm"] = Field(
        "ols", description="model of the outcome: least squares or mixed model by REML"
    )
    by_arm: bool = Field(False, description="separate covariate coefficients in each arm")
    df: Literal["clusters-p", "clusters-2", "normal"] = Field("clusters-p", description="df of the t interval")

    @model_validator(mode="after")
    def _one_mixed_model(self) -> GComputation:
        if self.by_arm and self.model == "lmm":
            raise ValueError("by_arm needs model = 'ols'; name a covariate in interaction of an lmm instead")
        return self

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Fit every trial, and every trial without each of its practices, from cross-products."""
        model = outcome_model(moments, self.by_arm)
        if self.model == "ols":
            without, singular = without_each(moments, model)
        else:
            every, without, singular = leave_one_out.coefficients(moments)
            model = replace(model, coefficients=every)
        means, left_out = _standardise(moments, model, without, self.average == "participant")
        clusters, there = moments.clusters, _laid_out(moments, np.ones_like(moments.sizes)) > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            centre = np.where(there, left_out, 0.0).sum(axis=1) / clusters
            squares = (np.where(there, left_out - centre[:, None], 0.0) ** 2).sum(axis=1)
            variance = (clusters - 1) / clusters * squares
        saturated = clusters - model.cluster_rank <= 0
        flags = moments.flags | np.where((singular & there).any(axis=1), BIT["leverage_one"], 0)
        # what people of one arm would have had in the other rests on a coefficient that no data determine
        flags |= np.where(model.aliased, BIT["arm_aliased"], 0)
        few = flags & BIT["too_few_clusters"] != 0
        unfitted = (
            np.isnan(variance) & ~moments.failed & ~few
        )  # as many coefficients as people, with or without a practice
        flags |= np.where((moments.counts <= model.kept.sum(axis=0)) | unfitted, BIT["no_data"], 0)
        flags |= np.where(saturated & ~moments.failed, BIT["tau2_not_identified"], 0)
        failed = moments.failed | (flags & (BIT["no_data"] | BIT["too_few_clusters"]) != 0) | saturated | model.aliased
        control, treated = means + moments.center[moments.regressors]
        effect = means[1] - means[0]  # before the centre is added, which may be many times as large
        df = practice_df(self.df, clusters, model.cluster_rank)
        return report(
            moments, ("arm",), effect[None], variance[None], df[None], self.level, failed=failed, flags=flags,
            extras={"mean_control": control, "mean_intervention": treated},
        )  # fmt: skip


@dataclass(frozen=True)
class OutcomeModel:
    """Least squares with arm last but for its interactions, clusters side by side.

    ``rows`` (trials, positions, k, p) is U_j'X_j, ``kept`` (p, trials), ``inverse`` (trials, p, p) of X'X,
    ``coefficients`` (trials, p), ``cluster_rank`` and ``aliased`` (trials,); ``arm`` is the place of arm.
    """

    rows: Floats
    kept: Bools
    inverse: Floats
    coefficients: Floats
    cluster_rank: Floats
    aliased: Bools
    arm: int


def outcome_model(moments: Moments, by_arm: bool) -> OutcomeModel:
    """Fit by least squares; with ``by_arm`` the products of covariates and arm follow the arm."""
    p = moments.regressors
    if not by_arm or p == 2:
        fit = moments.least_squares
        return OutcomeModel(
            rows=moments.basis,
            kept=moments.kept,
            inverse=fit.inverse.transpose(2, 0, 1),
            coefficients=fit.coefficients[:, 0].T,
            cluster_rank=moments.cluster_rank,
            aliased=np.zeros(moments.trials, dtype=bool),
            arm=p - 1,
        )
    arm = _laid_out(moments, moments.means[p - 1])
    rows = np.concatenate([moments.basis, arm[:, :, None, None] * moments.basis[..., 1 : p - 1]], axis=-1)
    q = rows.shape[-1]
    flat = rows.reshape(moments.trials, -1, q)
    gram = flat.transpose(0, 2, 1) @ flat
    squares = np.einsum("tii->it", gram)
    kept = independent(gram.transpose(1, 2, 0), squares)
    rows = rows * kept.T[:, None, None]
    gram = gram * kept.T[:, :, None] * kept.T[:, None, :] + np.eye(q) * ~kept.T[:, :, None]
    products = flat.transpose(0, 2, 1) @ moments.responses[..., :1].reshape(moments.trials, -1, 1)
    inverse = np.linalg.inv(gram)
    level = np.concatenate([moments.cluster_level, moments.cluster_level[1 : p - 1]])
    aliased = (moments.kept[1 : p - 1] & ~kept[p:]).any(axis=0) & ~moments.failed
    return OutcomeModel(
        rows=rows, kept=kept, inverse=inverse, coefficients=(inverse @ (products * kept.T[:, :, None]))[..., 0],
        cluster_rank=np.asarray((kept & level).sum(axis=0), dtype=np.float64), aliased=aliased, arm=p - 1,
    )  # fmt: skip


def _laid_out(moments: Moments, values: Floats) -> Floats:
    """Values per cluster (clusters,) side by side (trials, positions), 0 where there is none."""
    rows = moments.analysed
    out = np.zeros((moments.trials, rows.most))
    out[rows.cluster_trial, rows.position] = values
    return out


def without_each(moments: Moments, model: OutcomeModel) -> tuple[Floats, Bools]:
    """Coefficients by least squares without each practice in turn, and practices of leverage one.

    Without practice j the coefficients are b - M R_j'(I - R_j M R_j')^-1 e_j with e_j its residuals. Where it alone
    determines a coefficient the Moore-Penrose inverse gives a solution of the remaining normal equations, and so the
    same predictions for the practices that are left, if these have a unique one.

    Returns
    -------
    without, singular
        (trials, positions, p); (trials, positions).
    """
    rows, beta, inverse = model.rows, model.coefficients, model.inverse
    trials, _, k, q = rows.shape
    moved = (rows.reshape(trials, -1, q) @ inverse).reshape(rows.shape)
    rest = np.eye(k)[:, :, None, None] - np.einsum("tcip,tcjp->ijtc", moved, rows)
    adjust, singular = matrix_power(rest, -1.0)
    residual = moments.responses[..., 0] - (rows.reshape(trials, -1, q) @ beta[:, :, None]).reshape(rows.shape[:3])
    return beta[:, None] - np.einsum("tcip,ijtc,tcj->tcp", moved, adjust, residual), singular


def _standardise(moments: Moments, model: OutcomeModel, without: Floats, by_size: bool) -> tuple[Floats, Floats]:
    """Means under either arm (2, trials), centred as the outcome, and effects without each practice in turn.

    ``without`` (trials, positions, p) are the coefficients then; the effects are (trials, positions).
    """
    sums = _Sums.of(moments, model, by_size)
    control, treated = sums.total().means(model.coefficients[:, None], model.arm)
    less_control, less_treated = sums.less().means(without, model.arm)
    return np.stack([control[:, 0], treated[:, 0]]), less_treated - less_control


@dataclass(frozen=True)
class _Sums:
    """Weighted sums over practices, by arm (control, intervention) first.

    ``practices`` (2, trials, positions), ``weight`` the same, ``x`` (2, ..., p) weighted means of X, ``y`` of the
    outcome; one practice each, or all, or all but one.
    """

    practices: Floats
    weight: Floats
    x: Floats
    y: Floats

    @classmethod
    def of(cls, moments: Moments, model: OutcomeModel, by_size: bool) -> _Sums:
        """Practices one by one."""
        sizes = _laid_out(moments, moments.sizes)
        arm = _laid_out(moments, moments.means[moments.regressors - 1])
        practices = np.stack([(sizes > 0) * (1.0 - arm), (sizes > 0) * arm])
        weight = practices * sizes if by_size else practices
        root = np.sqrt(np.maximum(sizes, 1.0))  # the first basis row is sqrt(n_j) times the mean
        x = weight[..., None] * (model.rows[:, :, 0] / root[..., None])
        return cls(practices, weight, x, weight * (moments.responses[:, :, 0, 0] / root))

    def total(self) -> _Sums:
        """All practices."""
        return _Sums(*(values.sum(axis=2, keepdims=True) for values in vars(self).values()))

    def less(self) -> _Sums:
        """All practices but one, each in turn."""
        whole = self.total()
        return _Sums(*(vars(whole)[name] - values for name, values in vars(self).items()))

    def means(self, beta: Floats, arm: int) -> tuple[Floats, Floats]:
        """Standardised mean under control and under the intervention, for coefficients (trials, positions, p)."""
        found = []
        everyone, weight = self.x.sum(axis=0), self.weight.sum(axis=0)
        for a in (0, 1):
            at = everyone.copy()
            at[..., arm] = a * weight
            at[..., arm + 1 :] = a * at[..., 1 : 1 + at.shape[-1] - arm - 1]
            with np.errstate(divide="ignore", invalid="ignore"):
                share = self.practices[a] / self.practices.sum(axis=0)
                rest = (self.y[a] - (self.x[a] * beta).sum(axis=-1)) / share
                found.append(((at * beta).sum(axis=-1) + rest) / weight)
        return found[0], found[1]
