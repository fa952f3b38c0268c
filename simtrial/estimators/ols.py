"""Ordinary least squares with classical, heteroscedasticity-robust and cluster-robust standard errors."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, Method, register, report, terms_of
from simtrial.flags import BIT
from simtrial.kernels import sandwich
from simtrial.kernels.segments import sum_by
from simtrial.kernels.symmetric import apply, quadratic
from simtrial.moments import Moments

Floats = NDArray[np.float64]
StandardError = Literal["CR2", "CR0", "CR1", "CR1S", "CR3", "HC1", "classical"]
Df = Literal["satterthwaite", "clusters-1", "clusters-2", "clusters-p", "residual", "normal"]


@register("ols")
class OrdinaryLeastSquares(Method):
    """Least squares of the outcome on arm and covariates, practices entering through the standard error.

    ``se``: CR2 (Bell-McCaffrey), CR0, CR1 (J/(J-1)), CR1S (Stata's factor), CR3, HC1, classical. ``df`` satterthwaite
    is Bell and McCaffrey's, which under HC1 and classical means N - p.
    """

    kind: Literal["ols"] = "ols"
    se: StandardError = Field("CR2", description="standard error")
    df: Df = Field("satterthwaite", description="degrees of freedom of the t interval")

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Fit every trial by its cross-products."""
        terms = terms_of(moments, self.target, every_term)
        beta = moments.least_squares.coefficients[:, 0]
        shape = (len(terms), moments.trials)
        estimate, variance, df = np.empty(shape), np.empty(shape), np.empty(shape)
        singular = np.zeros(moments.trials, dtype=bool)
        for at, term in enumerate(terms):
            contrast = moments.contrast(term)
            shift = moments.center[moments.regressors] if term == "intercept" else 0.0
            estimate[at] = (contrast * beta).sum(axis=0) + shift
            robust, df[at], lonely = covariance(moments, None if term == self.target else contrast, self.se, self.df)
            variance[at], singular = robust[0, 0], singular | lonely
        flags = moments.flags | np.where(singular, BIT["leverage_one"], 0)
        extras = {"sigma2": residual_variance(moments)[0, 0]}
        return report(
            moments, terms, estimate, variance, df, self.level, failed=moments.failed, flags=flags, extras=extras
        )


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
    n, j = moments.counts, moments.clusters
    residual = n - moments.rank
    direction = moments.contrast("arm") if contrast is None else contrast
    found: sandwich.Leverage | None = None
    if se == "classical":
        variance = residual_variance(moments) * quadratic(direction, fit.inverse)
    elif se == "HC1":
        variance = _heteroscedastic(moments, direction)
    else:
        found = moments.leverage("CR0" if se.startswith(("CR0", "CR1")) else se, contrast)  # type: ignore[arg-type]
        with np.errstate(invalid="ignore"):  # one cluster: 0 times infinity
            variance = sandwich.variance(found, moments.basis, moments.responses, fit.coefficients) * _factor(
                moments, se
            )
    if df == "satterthwaite":
        used = residual if found is None else found.df
    elif df == "normal":
        used = np.full(len(n), np.inf)
    elif df == "residual":
        used = residual
    else:
        used = j - (moments.cluster_rank if df == "clusters-p" else float(df.removeprefix("clusters-")))
    singular = np.zeros(len(n), dtype=bool) if found is None else found.singular
    return variance, used, singular


def _factor(moments: Moments, se: str) -> Floats:
    """Scalar small-sample factor of CR1 and CR1S (trials,)."""
    n, j, p = moments.counts, moments.clusters, moments.rank
    with np.errstate(divide="ignore", invalid="ignore"):
        if se == "CR1":
            return np.asarray(j / (j - 1))
        if se == "CR1S":
            return np.asarray(j / (j - 1) * (n - 1) / (n - p))
    return np.ones(len(n))


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
