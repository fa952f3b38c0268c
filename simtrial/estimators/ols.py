"""Ordinary least squares with classical, heteroscedasticity-robust and cluster-robust standard errors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from simtrial.arrays import Floats
from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, Method, register, report, terms_of
from simtrial.flags import BIT
from simtrial.kernels import joint_test_robust, sandwich, sandwich_weighted
from simtrial.kernels.joint_test import JointTest, wald
from simtrial.kernels.segments import sum_by
from simtrial.kernels.small_matrices import apply, multiply, quadratic, sweep
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec

StandardError = Literal["CR2", "CR0", "CR1", "CR1S", "CR3", "HC1", "classical"]
SOURCE = "register_size"
"""Column with the source population of a practice."""
Df = Literal["satterthwaite", "clusters-1", "clusters-2", "clusters-p", "residual", "normal"]


@register("ols")
class OrdinaryLeastSquares(Method):
    """Least squares of the outcome on arm and covariates, practices entering through the standard error.

    ``se``: CR2 (Bell-McCaffrey), CR0, CR1 (J/(J-1)), CR1S (Stata's factor), CR3, HC1, classical. ``df`` satterthwaite
    is Bell and McCaffrey's, which under HC1 and classical means N - p. ``weights`` say what a person of practice j
    counts: 1, 1/n_j (every analysed practice alike), or register_size/n_j (a practice by its source population).
    """

    kind: Literal["ols"] = "ols"
    interacts = True
    se: StandardError = Field("CR2", description="standard error")
    df: Df = Field("satterthwaite", description="degrees of freedom of the t interval")
    weights: Literal["rows", "inverse-size", "source-size"] = Field("rows", description="weight of a person")

    @model_validator(mode="after")
    def _weights_need_cluster_robust_errors(self) -> OrdinaryLeastSquares:
        if self.weights != "rows" and self.se in ("HC1", "classical"):
            raise ValueError(f"weights '{self.weights}' are per practice: se must be one of CR2, CR0, CR1, CR1S, CR3")
        if self.weights != "rows" and self.interaction is not None:
            raise ValueError("interaction is tested with weights 'rows' only")
        return self

    def spec(self) -> Spec:
        """Rows and columns analysed; a practice whose source population is unknown is left out."""
        spec = super().spec()
        return replace(spec, where=(*spec.where, f"{SOURCE} > 0")) if self.weights == "source-size" else spec

    def reads(self) -> frozenset[str]:
        """Names of the observed columns the method needs."""
        return super().reads() | ({SOURCE} if self.weights == "source-size" else set())

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Fit every trial by its cross-products."""
        if self.weights != "rows":
            return self._weighted(batch, moments, every_term)
        target = self.target_term(moments)
        terms = terms_of(moments, target, every_term)
        beta = moments.least_squares.coefficients[:, 0]
        shape = (len(terms), moments.trials)
        estimate, variance, df = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
        failed, flags = self.starting(moments)
        joint, singular = None, np.zeros(moments.trials, dtype=bool)
        if target not in moments.terms:
            joint, singular = joint_test(moments, self.se, self.df)
            flags = flags | np.where(np.isnan(joint.statistic) & ~failed, BIT["too_few_clusters"], 0)
        for at, term in enumerate(terms):
            if term not in moments.terms:
                continue
            contrast = moments.contrast(term)
            shift = moments.center[moments.regressors] if term == "intercept" else 0.0
            estimate[at] = (contrast * beta).sum(axis=0) + shift
            robust, df[at], lonely = covariance(moments, None if term == "arm" else contrast, self.se, self.df)
            variance[at], singular = robust[0, 0], singular | lonely
        flags = flags | np.where(singular, BIT["leverage_one"], 0)
        extras = {"sigma2": residual_variance(moments)[0, 0]}
        found = report(
            moments, terms, estimate, variance, df, self.level, failed=failed, flags=flags, extras=extras, joint=joint
        )
        return self.tested(found)

    def _weighted(self, batch: ObservedBatch, moments: Moments, every_term: bool) -> Estimates:
        """Fit with a weight per practice, in units of the trial's mean weight."""
        rows, p = moments.analysed, moments.regressors
        weight = 1.0 / rows.sizes
        if self.weights == "source-size":
            weight = weight * np.asarray(batch.at(SOURCE, "practice"), dtype=np.float64)[rows.cluster]
        total = sum_by(weight, rows.cluster_trial, moments.trials)
        weight = weight * (moments.clusters / np.where(total > 0, total, 1.0))[rows.cluster_trial]
        beside = np.zeros((moments.trials, rows.most))
        beside[rows.cluster_trial, rows.position] = weight
        gram, products = sandwich_weighted.cross_products(moments.basis, moments.responses, beside)
        gram[np.arange(p), np.arange(p)] += ~moments.kept
        gram = np.where(moments.failed, np.eye(p)[:, :, None], gram)
        inverse = sweep(gram, p)[0]
        beta = multiply(inverse, products)
        correction: sandwich.Correction = "CR0" if self.se in ("CR0", "CR1", "CR1S") else self.se  # type: ignore[assignment]
        terms = terms_of(moments, self.target, every_term)
        estimate, variance, df = np.empty((3, len(terms), moments.trials))
        singular = np.zeros(moments.trials, dtype=bool)
        for at, term in enumerate(terms):
            contrast = moments.contrast(term)
            shift = moments.center[p] if term == "intercept" else 0.0
            estimate[at] = (contrast * beta[:, 0]).sum(axis=0) + shift
            found = sandwich_weighted.leverage(moments.basis, inverse, contrast, correction, beside)
            with np.errstate(invalid="ignore"):  # one cluster: 0 times infinity
                robust = sandwich.variance(found, moments.basis, moments.responses, beta)
                variance[at] = (robust * _factor(moments, self.se))[0, 0]
            df[at] = found.df if self.df == "satterthwaite" else counted_df(moments, self.df)
            singular |= found.singular
        flags = moments.flags | np.where(singular, BIT["leverage_one"], 0)
        return report(moments, terms, estimate, variance, df, self.level, failed=moments.failed, flags=flags, extras={})


def residual_variance(moments: Moments) -> Floats:
    """Residual (co)variance of the responses, divisor N - p (responses, responses, trials)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(moments.least_squares.residual / (moments.counts - moments.rank))


def covariance(moments: Moments, contrast: Floats | None, se: str, df: str) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Variance of a contrast (None: the arm) over all responses, its df, and where a cluster has leverage one.

    Returns
    -------
    variance, df, singular
        (responses, responses, trials), (trials,), (trials,).
    """
    fit = moments.least_squares
    n = moments.counts
    direction = moments.contrast("arm") if contrast is None else contrast
    found: sandwich.Leverage | None = None
    if se == "classical":
        variance = residual_variance(moments) * quadratic(direction, fit.inverse)
    elif se == "HC1":
        variance = _heteroscedastic(moments, direction)
    else:
        found = moments.leverage("CR0" if se.startswith(("CR0", "CR1")) else se, contrast)  # type: ignore[arg-type]
        with np.errstate(invalid="ignore"):  # one cluster: 0 times infinity
            x, y = moments.x_in_bases, moments.responses_in_bases
            variance = sandwich.variance_in_bases(found, x, y, fit.coefficients) * _factor(moments, se)
    used = found.df if found is not None and df == "satterthwaite" else counted_df(moments, df)
    singular = np.zeros(len(n), dtype=bool) if found is None else found.singular
    return variance, used, singular


def counted_df(moments: Moments, df: str) -> Floats:
    """Degrees of freedom that are counts (trials,); satterthwaite without clusters is N - p."""
    if df == "normal":
        return np.full(moments.trials, np.inf)
    if df in ("residual", "satterthwaite"):
        return moments.counts - moments.rank
    return moments.clusters - (moments.cluster_rank if df == "clusters-p" else float(df.removeprefix("clusters-")))


def joint_test(moments: Moments, se: str, df: str) -> tuple[JointTest, NDArray[np.bool_]]:
    """Wald F test of all products with arm, and where a cluster has leverage one (trials,).

    Under a cluster-robust covariance df satterthwaite is Hotelling's T-squared by moments (HTZ), see
    `simtrial.kernels.joint_test_robust`.
    """
    at, fit = [moments.terms.index(term) for term in moments.products], moments.least_squares
    kept, beta = moments.kept[at] & ~moments.failed, fit.coefficients[:, 0]
    singular = np.zeros(moments.trials, dtype=bool)
    if not at:
        return JointTest.failed(moments.trials), singular
    if se == "classical":
        with np.errstate(invalid="ignore"):  # no more rows than coefficients
            covariance = residual_variance(moments)[0, 0] * fit.inverse[np.ix_(at, at)]
    elif se == "HC1":
        covariance = _heteroscedastic_joint(moments, at)
    else:
        correction: Any = "CR0" if se.startswith(("CR0", "CR1")) else se
        root = moments.root
        found = joint_test_robust.leverage(root.basis, fit.inverse, at, kept, correction)
        with np.errstate(invalid="ignore"):  # one cluster: 0 times infinity
            covariance = joint_test_robust.covariance(found, root.basis, moments.responses[..., :1], beta)
            covariance = covariance * _factor(moments, se)
        singular = found.singular
        if df == "satterthwaite":
            scale, df_den = joint_test_robust.hotelling(found, root.basis, fit.inverse, kept)
            return wald(beta[at], covariance, kept).scaled(scale, df_den), singular
    return wald(beta[at], covariance, kept).scaled(1.0, counted_df(moments, df)), singular


def _heteroscedastic_joint(moments: Moments, at: list[int]) -> Floats:
    """HC1 covariance of some coefficients (q, q, trials)."""
    directions = np.zeros((len(at), moments.regressors, moments.trials))
    directions[np.arange(len(at)), at] = 1.0
    fit, p, trial = moments.least_squares, moments.regressors, moments.analysed.trial
    residual = moments.design[p] - np.einsum("pn,pn->n", fit.coefficients[:, 0, trial], moments.design[:p])
    scores = [
        np.einsum("pn,pn->n", apply(fit.inverse, one)[:, trial], moments.design[:p]) * residual for one in directions
    ]
    found = np.stack([[sum_by(a * b, trial, moments.trials) for b in scores] for a in scores])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(found * moments.counts / (moments.counts - moments.rank))


def _factor(moments: Moments, se: str) -> Floats | float:
    """Scalar small-sample factor of CR1 and CR1S (trials,); the others have none."""
    if se not in ("CR1", "CR1S"):
        return 1.0
    n, j, p = moments.counts, moments.clusters, moments.rank
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(j / (j - 1) if se == "CR1" else j / (j - 1) * (n - 1) / (n - p))


def _heteroscedastic(moments: Moments, contrast: Floats) -> Floats:
    """HC1: sum of (l'M x_i)^2 e_i e_i' times N / (N - p)."""
    fit, trials = moments.least_squares, moments.trials
    p = moments.regressors
    weight = np.einsum("pn,pn->n", apply(fit.inverse, contrast)[:, moments.analysed.trial], moments.design[:p])
    fitted = np.einsum("prn,pn->rn", fit.coefficients[:, :, moments.analysed.trial], moments.design[:p])
    score = weight * (moments.design[p:] - fitted)
    count = len(score)
    variance = np.empty((count, count, trials))
    for i in range(count):
        for j in range(count):
            variance[i, j] = sum_by(score[i] * score[j], moments.analysed.trial, trials)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(variance * moments.counts / (moments.counts - moments.rank))
