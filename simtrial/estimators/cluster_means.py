"""Analyses of practice means: t tests, weighted or not, of adjusted means, and regression of means on means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from simtrial.arrays import Floats
from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, Method, register, report, terms_of
from simtrial.flags import BIT
from simtrial.kernels.segments import sum_by
from simtrial.kernels.small_matrices import independent, pairs, quadratic, sweep, unpack
from simtrial.moments.moments import PERFECT, Moments

Weights = Literal["equal", "size", "inverse-variance"]


@register("cluster-means")
class ClusterMeans(Method):
    """Analysis of the means of the analysed practices.

    ``adjustment`` two-stage (Hayes and Moulton 2017, Cluster Randomised Trials, chapter 11): outcomes are regressed on
    the covariates without arm, person by person, and the practice means of the residuals compared. ancova: practice
    means of the outcome are regressed on arm and the practice means of the covariates. ``weights`` inverse-variance are
    1/(tau2 + sigma2/n_j) with the variances of a one-way analysis of variance within arms, tau2 truncated at 0.
    """

    kind: Literal["cluster-means"] = "cluster-means"
    weights: Weights = Field("equal", description="weight of a practice")
    variance: Literal["pooled", "welch"] = Field("pooled", description="one variance of means, or one per arm")
    adjustment: Literal["two-stage", "ancova"] = Field("two-stage", description="how covariates enter")
    df: Literal["clusters-p", "clusters-2"] = Field("clusters-p", description="degrees of freedom; welch has its own")

    @model_validator(mode="after")
    def _welch_compares_two_samples(self) -> ClusterMeans:
        if self.variance == "welch" and self.adjustment == "ancova":
            raise ValueError("variance 'welch' compares two samples of means: it needs adjustment = 'two-stage'")
        if self.variance == "welch" and "df" in self.model_fields_set and self.df == "clusters-p":
            raise ValueError("variance 'welch' has its own degrees of freedom (Satterthwaite): omit df")
        return self

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Compare the practices of the two arms in every trial; ``every_term`` adds the covariates of ancova."""
        residuals = _residuals(moments)
        components = _components(moments, residuals)
        weight = _weights(moments, self.weights, components)
        terms = terms_of(moments, self.target, every_term and self.adjustment == "ancova")
        if self.adjustment == "ancova":
            found = _regression(moments, weight, terms)
            df = moments.clusters - (2.0 if self.df == "clusters-2" else found.rank)
            dfs = np.broadcast_to(df, found.estimate.shape)
        else:
            found, own = _two_samples(moments, residuals, weight, self.variance == "welch")
            spent = 2.0 if self.df == "clusters-2" else moments.cluster_rank
            dfs = (own if self.variance == "welch" else moments.clusters - spent)[None]
        failed = moments.failed | (found.flags & (BIT["arm_aliased"] | BIT["constant_outcome"]) != 0)
        extras = {}
        if self.weights == "inverse-variance":
            total = components.tau2 + components.sigma2
            with np.errstate(divide="ignore", invalid="ignore"):
                extras = {"icc": components.tau2 / total, "tau2": components.tau2, "sigma2": components.sigma2}
        saturated = ~failed & (np.minimum(dfs[0], moments.clusters - found.rank) <= 0)
        flags = moments.flags | found.flags | np.where(saturated, BIT["no_data"], 0)
        if self.weights == "inverse-variance":
            flags |= np.where(np.isnan(components.sigma2) & ~failed, BIT["tau2_not_identified"], 0)
            flags |= np.where((components.tau2 == 0.0) & ~failed, BIT["boundary"], 0)
        result = report(
            moments, terms, found.estimate, found.variance, dfs, self.level, failed=failed, flags=flags, extras=extras
        )
        return _with_estimate(result, saturated, found) if saturated.any() else result


@dataclass(frozen=True)
class _Residuals:
    """Residual outcomes given the covariates: cluster means (clusters,), pooled within sum of squares (trials,)."""

    means: Floats
    within: Floats


@dataclass(frozen=True)
class _Components:
    """Variance between practices, not below 0, and within (trials,)."""

    tau2: Floats
    sigma2: Floats


@dataclass(frozen=True)
class _Fit:
    """Estimates and variances (terms, trials), flags and rank of the regression (trials,)."""

    estimate: Floats
    variance: Floats
    flags: NDArray[np.int64]
    rank: Floats


def _with_estimate(result: Estimates, saturated: NDArray[np.bool_], found: _Fit) -> Estimates:
    """Without degrees of freedom, keep the estimate, and the standard error if it exists."""
    estimate = np.where(saturated, found.estimate, result.estimate)
    std_error = np.where(saturated, np.sqrt(found.variance), result.std_error)
    return replace(result, estimate=estimate, std_error=std_error)


def _weights(moments: Moments, weights: Weights, components: _Components) -> Floats:
    """Weight of every analysed practice (clusters,)."""
    if weights == "equal":
        return np.ones(len(moments.sizes))
    if weights == "size":
        return moments.sizes
    tau2, sigma2 = (v[moments.cluster_trial] for v in (components.tau2, components.sigma2))
    spread = tau2 + sigma2 / moments.sizes
    known = np.isfinite(spread) & (spread > 0.0)  # one person in every practice: nothing to weight by
    scale = (tau2 + sigma2)[known]
    weight = np.ones(len(spread))
    weight[known] = scale / spread[known]
    return weight


def weighed(moments: Moments, weights: Weights) -> tuple[Floats, Floats, Floats]:
    """Weight of every analysed practice (clusters,), and the variances of the outcome behind it: tau2, sigma2."""
    if weights != "inverse-variance":
        blank = np.full(moments.trials, np.nan)
        return _weights(moments, weights, _Components(blank, blank)), blank, blank
    components = _components(moments, _residuals(moments))
    return _weights(moments, weights, components), components.tau2, components.sigma2


def residual_means(moments: Moments, response: int = 0) -> Floats:
    """Cluster means of a response's residuals on the covariates, fitted person by person without arm (clusters,)."""
    p = moments.regressors
    beta = _without_arm(moments, response)[:, moments.cluster_trial]
    return np.asarray(moments.means[p + response] - np.einsum("pc,pc->c", moments.means[: p - 1], beta))


def _without_arm(moments: Moments, response: int) -> Floats:
    """Coefficients of the other columns without arm (p - 1, trials); 0 if not estimable."""
    p = moments.regressors
    chosen = [*range(p - 1), p + response]
    return np.where(moments.failed, 0.0, sweep(moments.gram[np.ix_(chosen, chosen)], p - 1)[1][:, 0])


def _residuals(moments: Moments) -> _Residuals:
    """Residuals of the outcome on the columns other than arm, person by person."""
    p, trials = moments.regressors, moments.trials
    pooled = unpack(moments.slot_sums[1], p + 1)
    v = np.concatenate([-_without_arm(moments, 0), np.zeros((1, trials)), np.ones((1, trials))])
    return _Residuals(residual_means(moments), quadratic(v, pooled))


def _components(moments: Moments, residuals: _Residuals) -> _Components:
    """One-way analysis of variance within arms (Donner and Klar 2000, section 7.2.1)."""
    trial, trials, sizes = moments.cluster_trial, moments.trials, moments.sizes
    arm = np.rint(moments.means[moments.regressors - 1]).astype(np.intp)
    side = 2 * trial + arm
    people = sum_by(sizes, side, 2 * trials)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = sum_by(sizes * residuals.means, side, 2 * trials) / people
        between = sum_by(sizes * (residuals.means - mean[side]) ** 2, trial, trials) / (moments.clusters - 2)
        sigma2 = residuals.within / (moments.counts - moments.clusters)
        unequal = np.nan_to_num(sum_by(sizes**2, side, 2 * trials) / people).reshape(trials, 2).sum(axis=1)
        usual = (moments.counts - unequal) / (moments.clusters - 2)
        tau2 = np.maximum((between - sigma2) / usual, 0.0)
    return _Components(tau2, sigma2)


def _two_samples(moments: Moments, residuals: _Residuals, weight: Floats, welch: bool) -> tuple[_Fit, Floats]:
    """Difference of weighted means, its variance, and Welch's df (trials,)."""
    trial, trials = moments.cluster_trial, moments.trials
    arm = np.rint(moments.means[moments.regressors - 1]).astype(np.intp)
    side = 2 * trial + arm

    def by_side(values: Floats) -> Floats:
        return sum_by(values, side, 2 * trials)

    with np.errstate(divide="ignore", invalid="ignore"):
        total, count = by_side(weight), by_side(np.ones(len(weight)))
        mean = by_side(weight * residuals.means) / total
        squares = by_side(weight * (residuals.means - mean[side]) ** 2).reshape(trials, 2)
        total, count, mean = (x.reshape(trials, 2) for x in (total, count, mean))
        each = squares / (count - 1.0) / total
        if welch:
            variance = each.sum(axis=1)
            df = variance**2 / (each**2 / (count - 1.0)).sum(axis=1)
        else:
            variance = squares.sum(axis=1) / (moments.clusters - 2.0) * (1.0 / total).sum(axis=1)
            df = moments.clusters - 2.0
    flat = (squares.sum(axis=1) <= _negligible(moments, weight)) & (moments.clusters > 2)  # two means leave no residual
    flags = np.where(flat & ~moments.failed, BIT["constant_outcome"], 0).astype(np.int64)
    return _Fit((mean[:, 1] - mean[:, 0])[None], variance[None], flags, np.full(trials, 2.0)), df


def _regression(moments: Moments, weight: Floats, terms: tuple[str, ...]) -> _Fit:
    """Weighted regression of mean outcomes on arm and mean covariates; aliased ones dropped among the means anew."""
    p, trials = moments.regressors, moments.trials
    gram = np.empty((p + 1, p + 1, trials))
    for i, j in zip(*pairs(p + 1), strict=True):
        gram[i, j] = gram[j, i] = sum_by(weight * moments.means[i] * moments.means[j], moments.cluster_trial, trials)
    diagonal = np.arange(p)
    # means of a covariate centred within practices are rounding: judged beside its variation among people, too
    people = moments.gram[diagonal, diagonal] / np.maximum(moments.counts, 1.0)
    total = sum_by(weight, moments.cluster_trial, trials)
    kept = independent(gram[:p, :p], np.maximum(gram[diagonal, diagonal], people * total)) & moments.kept
    gram[:p] *= kept[:, None]
    gram[:, :p] *= kept[None]
    gram[diagonal, diagonal] += ~kept
    gram[p, p] = np.where(moments.clusters > 0, gram[p, p], 1.0)
    inverse, coefficients, rest, _ = sweep(gram, p)
    rank = kept.sum(axis=0).astype(np.float64)
    flags = np.where((kept != moments.kept).any(axis=0), BIT["aliased"], 0).astype(np.int64)
    flags |= np.where(~kept[-1], BIT["arm_aliased"], 0)
    flat = (rest[0, 0] <= _negligible(moments, weight)) & (moments.clusters > rank)
    flags |= np.where(flat, BIT["constant_outcome"], 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma2 = np.maximum(rest[0, 0], 0.0) / (moments.clusters - rank)
    sigma2 = np.where(moments.clusters > rank, sigma2, np.nan)
    estimate, variance = np.empty((2, len(terms), trials))
    for at, term in enumerate(terms):
        contrast = moments.contrast(term)
        shift = moments.center[p] if term == "intercept" else 0.0
        estimate[at] = (contrast * coefficients[:, 0]).sum(axis=0) + shift
        variance[at] = sigma2 * quadratic(contrast, inverse)
        if term != "intercept":
            estimate[at] = np.where(kept[moments.terms.index(term)], estimate[at], np.nan)
    return _Fit(estimate, variance, np.where(moments.failed, 0, flags), rank)


def _negligible(moments: Moments, weight: Floats) -> Floats:
    """Weighted sum of squares of means that is rounding beside the variation of people (trials,)."""
    people = moments.gram[moments.regressors, moments.regressors] / np.maximum(moments.counts, 1.0)
    return np.asarray(PERFECT * people * sum_by(weight, moments.cluster_trial, moments.trials))
