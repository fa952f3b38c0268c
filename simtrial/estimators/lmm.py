"""Random-intercept linear mixed model, fitted by REML or ML, with small-sample degrees of freedom."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, Method, register, report, terms_of
from simtrial.flags import BIT
from simtrial.kernels import by_arm_fit as by_arm
from simtrial.kernels import compound_symmetry
from simtrial.kernels import joint_test as joint_test
from simtrial.kernels import random_intercept_fit as kernel
from simtrial.kernels.joint_test import JointTest
from simtrial.moments.moments import Moments

Floats = NDArray[np.float64]
Df = Literal["between-within", "satterthwaite", "satterthwaite-observed", "kenward-roger", "residual", "normal"]

Fit = kernel.Fit | by_arm.Fit
BY_ARM = tuple(f"{name}_{arm}" for name in ("sigma2", "tau2", "icc") for arm in ("control", "intervention"))

COMMON = {"none": ("icc", "tau2", "sigma2"), "residual": ("tau2",), "cluster": ("sigma2",), "both": ()}
"""What both arms share."""


@register("lmm")
class LinearMixedModel(Method):
    """Random-intercept model of the outcome on arm and covariates; the arm coefficient is the effect.

    ``df``: between-within (clusters - cluster-level coefficients), satterthwaite (expected information),
    satterthwaite-observed (lmerTest's; N - p on the boundary), kenward-roger (adjusted SE as well), residual, normal.
    ``tau2`` unconstrained lets the covariance within practices be negative; ``heteroscedastic`` gives every arm a
    residual or practice variance of its own.
    """

    kind: Literal["lmm"] = "lmm"
    interacts = True
    estimation: Literal["reml", "ml"] = Field("reml", description="restricted or full maximum likelihood")
    df: Df = Field("between-within", description="degrees of freedom of the t interval")
    tau2: Literal["nonnegative", "unconstrained"] = Field(
        "nonnegative", description="between-practice variance at least 0, or as low as compound symmetry allows"
    )
    heteroscedastic: Literal["none", "residual", "cluster", "both"] = Field(
        "none", description="which variances differ by arm: of people, of practices, both"
    )

    @model_validator(mode="after")
    def _what_goes_with_variances_by_arm(self) -> LinearMixedModel:
        if self.heteroscedastic == "none":
            return self
        if self.tau2 == "unconstrained":
            raise ValueError("heteroscedastic needs tau2 = 'nonnegative'; omit one of the two")
        if self.df in ("kenward-roger", "satterthwaite-observed"):
            raise ValueError(
                f"df '{self.df}' is not defined with heteroscedastic; "
                "take 'between-within', 'satterthwaite', 'residual' or 'normal'"
            )
        return self

    @model_validator(mode="after")
    def _kenward_roger_needs_reml(self) -> LinearMixedModel:
        if self.df == "kenward-roger" and self.estimation == "ml":
            raise ValueError("df 'kenward-roger' is defined for estimation = 'reml' only")
        return self

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Fit every trial; see `simtrial.kernels.random_intercept_fit` for the algorithm."""
        target = self.target_term(moments)
        terms = terms_of(moments, target, every_term)
        trials, usable = moments.trials, moments.usable
        failed, flags = self.starting(moments)
        failed, flags = failed.copy(), flags.copy()
        joint = None if target in moments.terms else JointTest.nothing(trials)
        blank = np.full((len(terms), trials), np.nan)
        estimate, variance, df = blank, blank.copy(), blank.copy()
        extras = {name: np.full(trials, np.nan) for name in self._extras()}
        if len(usable):
            fit = self._fitted(moments)
            alone = (moments.counts == moments.clusters)[usable]
            flags[usable] |= _flags(fit, alone)
            failed[usable] |= self._not_told(moments, fit, target)
            if joint is not None:
                joint = self._joint(moments, fit, alone).spread(usable, trials)
            for at, term in enumerate(terms):
                if term not in moments.terms:
                    continue
                contrast = moments.contrast(term)[:, usable]
                shift = moments.center[moments.regressors, usable] if term == "intercept" else 0.0
                value = (contrast * fit.at.coefficients).sum(axis=0) + shift
                estimate[at, usable] = np.where(fit.converged, value, np.nan)  # refused: no optimum, or only a bound
                variance[at, usable], df[at, usable] = self._inference(moments, fit, contrast, term, alone)
                variance[at, usable] = np.where(fit.converged, variance[at, usable], np.nan)
            for name, values in _variances(fit, alone).items():
                extras[name][usable] = values
            extras["loglik"][usable] = -0.5 * fit.deviance
        saturated = ~failed & (moments.clusters - moments.cluster_rank <= 0)
        flags[saturated] |= BIT["tau2_not_identified"]
        said = report(
            moments, terms, estimate, variance, df, self.level,
            failed=failed | saturated, flags=flags, extras=extras, joint=joint,
        )  # fmt: skip
        return self.tested(said)

    def _not_told(self, moments: Moments, fit: Fit, target: str) -> NDArray[np.bool_]:
        """Usable trials in which the data do not tell the variance of the target, or leave none."""
        if isinstance(fit, by_arm.Fit):
            return fit.perfect | ~fit.identified
        if not fit.limit.any():
            return fit.limit
        tested = [target] if target in moments.terms else moments.products
        kept = moments.kept[[moments.terms.index(term) for term in tested]][:, moments.usable]
        known = np.stack([_known(fit, moments.contrast(term)[:, moments.usable]) for term in tested])
        return np.asarray((kept & known).any(axis=0))

    def _extras(self) -> tuple[str, ...]:
        by_arm = () if self.heteroscedastic == "none" else BY_ARM
        return (*COMMON[self.heteroscedastic], "loglik", *by_arm)

    def _joint(self, moments: Moments, fit: Fit, alone: NDArray[np.bool_]) -> JointTest:
        """Wald F test of all products with arm, usable trials only."""
        usable, at = moments.usable, [moments.terms.index(term) for term in moments.products]
        kept, inverse = moments.kept[at][:, usable], fit.at.inverse[np.ix_(at, at)]
        covariance = inverse if isinstance(fit, by_arm.Fit) else fit.sigma2 * inverse
        residual = moments.counts[usable] - moments.rank[usable]
        if self.df == "kenward-roger" and isinstance(fit, kernel.Fit):
            adjusted = np.where(alone, covariance, joint_test.kenward_roger_covariance(fit, at))
            test = joint_test.wald(fit.at.coefficients[at], adjusted, kept)
            scale, df = joint_test.kenward_roger(fit, at, kept)
            return test.scaled(np.where(alone, 1.0, scale), np.where(alone, residual, df))
        test = joint_test.wald(fit.at.coefficients[at], covariance, kept)
        if self.df == "normal":
            return test.scaled(1.0, np.full(len(usable), np.inf))
        if self.df == "residual":
            return test.scaled(1.0, residual)
        if self.df == "between-within":
            each = np.stack([between_within(moments, term)[usable] for term in moments.products])
            return test.scaled(1.0, np.where(kept, each, np.inf).min(axis=0))
        observed = self.df == "satterthwaite-observed"

        def of_one(contrast: Floats) -> Floats:
            chosen = np.zeros((moments.regressors, len(usable)))
            chosen[at] = contrast
            if isinstance(fit, by_arm.Fit):
                return fit.df(chosen)
            return kernel.observed_df(fit, chosen)[0] if observed else kernel.expected_df(fit, chosen)

        df = joint_test.fai_cornelius(covariance, kept, of_one)
        return test.scaled(1.0, np.where(alone & (self.heteroscedastic == "none"), residual, df))

    def _fitted(self, moments: Moments) -> Fit:
        if self.heteroscedastic != "none":
            return by_arm.fit(moments.by_arm, self.heteroscedastic, reml=self.estimation == "reml")
        if self.tau2 == "unconstrained":
            return compound_symmetry.fit(moments.size_sums(), reml=self.estimation == "reml")
        return moments.reml if self.estimation == "reml" else moments.ml

    def _inference(
        self, moments: Moments, fit: Fit, contrast: Floats, term: str, alone: NDArray[np.bool_]
    ) -> tuple[Floats, Floats]:
        """Variance and df of a contrast; with one row in every cluster the model is OLS and df is N - p."""
        usable = moments.usable
        variance = fit.variance(contrast) if isinstance(fit, by_arm.Fit) else kernel.variance(fit, contrast)
        if isinstance(fit, kernel.Fit) and fit.limit.any():
            variance = np.where(_known(fit, contrast), np.nan, variance)
        residual = moments.counts[usable] - moments.rank[usable]
        if self.df == "normal":
            return variance, np.full(len(usable), np.inf)
        if self.df == "residual":
            return variance, residual
        if self.df == "between-within":
            return variance, between_within(moments, term)[usable]
        if isinstance(fit, by_arm.Fit):
            return variance, fit.df(contrast)
        if self.df == "satterthwaite-observed":
            df, _ = kernel.observed_df(fit, contrast)
        else:
            df = kernel.expected_df(fit, contrast)
        if self.df == "kenward-roger":
            adjusted = kernel.kenward_roger_variance(fit, contrast)
            variance = np.where(alone | np.isnan(variance), variance, adjusted)
        return variance, np.where(alone, residual, df)


def between_within(moments: Moments, term: str) -> Floats:
    """Containment df (trials,): clusters - cluster-level coefficients, or the rest of N - p for individual terms."""
    between = moments.clusters - moments.cluster_rank
    inside = moments.counts - moments.rank - between
    at = 0 if term == "intercept" else moments.terms.index(term)
    return np.asarray(np.where(moments.cluster_level[at], between, inside))


def _known(fit: kernel.Fit, contrast: Floats) -> NDArray[np.bool_]:
    """Where nothing varies within practices, and so a contrast that people tell has no variance (trials,)."""
    return np.asarray(fit.limit & ~(kernel.between_share(fit, contrast) > 0.5))


def _flags(fit: Fit, alone: NDArray[np.bool_]) -> NDArray[np.int64]:
    if isinstance(fit, by_arm.Fit):
        flags = np.where(fit.boundary, BIT["boundary"], 0).astype(np.int64)
        flags |= np.where(fit.perfect, BIT["constant_outcome"], 0)
        alone = fit.held.any(axis=0) | ~(fit.identified | fit.perfect)
    else:
        flags = np.where((fit.gamma == 0.0) & ~alone, BIT["boundary"], 0).astype(np.int64)
        flags |= np.where(fit.limit, BIT["constant_within"], 0)
    flags |= np.where(~fit.converged, BIT["not_converged"], 0)
    return flags | np.where(alone, BIT["tau2_not_identified"], 0)


def _variances(fit: Fit, alone: NDArray[np.bool_]) -> dict[str, Floats]:
    """Variances and intracluster correlation (trials,), by arm as well where they may differ; NaN where not told."""
    if isinstance(fit, kernel.Fit):
        icc, sigma2 = fit.gamma / (1 + fit.gamma), np.where(fit.limit, 0.0, fit.sigma2)
        found = {"icc": np.where(fit.limit, 1.0, icc), "tau2": fit.tau2, "sigma2": sigma2}
        return {name: np.where(alone & (name != "sigma2"), np.nan, values) for name, values in found.items()}
    tau2 = np.where(fit.held_by_arm, np.nan, fit.tau2)
    every = dict(zip(BY_ARM, (*fit.sigma2, *tau2, *(tau2 / (tau2 + fit.sigma2))), strict=True))
    return every | {common: every[f"{common}_control"] for common in COMMON[fit.by]}
