"""Random-intercept linear mixed model, fitted by REML or ML, with small-sample degrees of freedom."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from simtrial.arrays import Floats
from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, Method, register, report, terms_of
from simtrial.estimators.mixed_fits import BY_ARM, COMMON, MixedFit, OneVariance, VariancesByArm, wald
from simtrial.flags import BIT
from simtrial.kernels import by_arm_fit, compound_symmetry
from simtrial.kernels.joint_test import JointTest
from simtrial.moments.moments import Moments

Df = Literal["between-within", "satterthwaite", "satterthwaite-observed", "kenward-roger", "residual", "normal"]


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
        failed, flags = self.starting(moments)
        joint = None if target in moments.terms else JointTest.failed(moments.trials)
        estimate, variance, df = np.full((3, len(terms), moments.trials), np.nan)
        extras = dict.fromkeys(self._extras(), np.full(moments.trials, np.nan))
        if len(moments.usable):
            fit, usable = self._fitted(moments), moments.fitted
            failed, flags = failed.copy(), flags.copy()
            flags[usable] |= fit.flags
            failed[usable] |= self._not_told(moments, fit, target)
            if joint is not None:
                joint = self._joint(moments, fit).spread(moments.usable, moments.trials)
            for at, term in enumerate(terms):
                if term in moments.terms:
                    estimate[at], variance[at], df[at] = map(moments.spread, self._of_term(moments, fit, term))
            extras |= {name: moments.spread(values) for name, values in fit.variances.items()}
            extras["loglik"] = moments.spread(-0.5 * fit.deviance)
        saturated = ~failed & ((moments.clusters - moments.cluster_rank <= 0) | self._flat(moments))
        if saturated.any():
            flags = np.where(saturated, flags | BIT["tau2_not_identified"], flags)
        reported = report(
            moments, terms, estimate, variance, df, self.level,
            failed=failed | saturated, flags=flags, extras=extras, joint=joint,
        )  # fmt: skip
        return self.tested(reported)

    def _of_term(self, moments: Moments, fit: MixedFit, term: str) -> tuple[Floats, Floats, Floats]:
        """Estimate, variance and df of a coefficient, usable trials only."""
        contrast = moments.contrast(term)[:, moments.fitted]
        shift = moments.center[moments.regressors, moments.fitted] if term == "intercept" else 0.0
        estimate = (contrast * fit.coefficients).sum(axis=0) + shift
        variance, df = self._inference(moments, fit, contrast, term)
        if fit.converged.all():
            return estimate, variance, df
        refused = ~fit.converged  # no optimum, or only a bound
        return np.where(refused, np.nan, estimate), np.where(refused, np.nan, variance), df

    def _flat(self, moments: Moments) -> NDArray[np.bool_]:
        """Trials that leave REML one contrast, whose likelihood is the same at every ratio of variances."""
        one = (moments.counts - moments.rank <= 1) & (moments.counts > moments.clusters)
        return one & (self.estimation == "reml")

    def _not_told(self, moments: Moments, fit: MixedFit, target: str) -> NDArray[np.bool_]:
        """Usable trials in which the data do not tell the variance of the target, or leave none."""
        tested, usable = [target] if target in moments.terms else moments.products, moments.fitted
        kept = moments.kept[[moments.terms.index(term) for term in tested]][:, usable]
        return fit.not_told((moments.contrast(term)[:, usable] for term in tested), kept)

    def _extras(self) -> tuple[str, ...]:
        by_arm = () if self.heteroscedastic == "none" else BY_ARM
        return (*COMMON[self.heteroscedastic], "loglik", *by_arm)

    def _joint(self, moments: Moments, fit: MixedFit) -> JointTest:
        """Wald F test of all products with arm, usable trials only."""
        at, usable = [moments.terms.index(term) for term in moments.products], moments.usable
        kept = moments.kept[at][:, usable]
        if self.df == "between-within":
            each = np.stack([between_within(moments, term)[usable] for term in moments.products])
            return wald(fit, at, kept).scaled(1.0, np.where(kept, each, np.inf).min(axis=0))
        if self.df == "normal" or self.df == "residual":
            return wald(fit, at, kept).scaled(1.0, self._plain_df(moments))
        return fit.joint(at, kept, self.df)

    def _plain_df(self, moments: Moments) -> Floats:
        """Df that is the same for every contrast, usable trials only."""
        residual = (moments.counts - moments.rank)[moments.fitted]
        return np.full(len(residual), np.inf) if self.df == "normal" else residual

    def _fitted(self, moments: Moments) -> MixedFit:
        reml, usable = self.estimation == "reml", moments.fitted
        if self.heteroscedastic != "none":
            return VariancesByArm(by_arm_fit.fit(moments.by_arm, self.heteroscedastic, reml=reml))
        if self.tau2 == "unconstrained":
            fit = compound_symmetry.fit(moments.size_sums(), reml=reml)
        else:
            fit = moments.reml_where_told if reml else moments.ml
        alone = (moments.counts == moments.clusters)[usable]
        return OneVariance(fit, alone, (moments.counts - moments.rank)[usable])

    def _inference(self, moments: Moments, fit: MixedFit, contrast: Floats, term: str) -> tuple[Floats, Floats]:
        """Variance and df of a contrast."""
        if self.df == "between-within":
            return fit.variance(contrast), between_within(moments, term)[moments.fitted]
        if self.df == "normal" or self.df == "residual":
            return fit.variance(contrast), self._plain_df(moments)
        return fit.small_sample(contrast, self.df)


def between_within(moments: Moments, term: str) -> Floats:
    """Containment df (trials,): clusters - cluster-level coefficients, or the rest of N - p for individual terms."""
    between = moments.clusters - moments.cluster_rank
    inside = moments.counts - moments.rank - between
    at = 0 if term == "intercept" else moments.terms.index(term)
    return np.asarray(np.where(moments.cluster_level[at], between, inside))
