"""Fits of the random-intercept model as `lmm` reads them: each answers for its own variances, df and flags."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats
from simtrial.flags import BIT
from simtrial.kernels import by_arm_fit, joint_test
from simtrial.kernels import random_intercept_fit as kernel
from simtrial.kernels.joint_test import JointTest

Flags = NDArray[np.int64]
Rule = Literal["satterthwaite", "satterthwaite-observed", "kenward-roger"]

BY_ARM = tuple(f"{name}_{arm}" for name in ("sigma2", "tau2", "icc") for arm in ("control", "intervention"))
COMMON = {"none": ("icc", "tau2", "sigma2"), "residual": ("tau2",), "cluster": ("sigma2",), "both": ()}
"""What both arms share."""


class MixedFit(Protocol):
    """A model fitted to every usable trial of a batch; contrasts are (p, trials) of its coefficients."""

    @property
    def coefficients(self) -> Floats:
        """Fixed effects (p, trials)."""

    @property
    def converged(self) -> Bools:
        """Whether an optimum was reached (trials,)."""

    @property
    def deviance(self) -> Floats:
        """-2 log-likelihood (trials,)."""

    @property
    def flags(self) -> Flags:
        """What is odd about the fit, bits of `simtrial.flags` (trials,)."""

    @property
    def variances(self) -> dict[str, Floats]:
        """Variances and intracluster correlation (trials,), by arm too where they may differ; NaN where not told."""

    def not_told(self, contrasts: Iterable[Floats], kept: Bools) -> Bools:
        """Trials in which the data do not tell the variance of a contrast that is ``kept`` (contrasts, trials)."""

    def covariance(self, at: list[int]) -> Floats:
        """Model covariance of some coefficients (k, k, trials)."""

    def variance(self, contrast: Floats) -> Floats:
        """Model variance of a contrast (trials,)."""

    def small_sample(self, contrast: Floats, rule: Rule) -> tuple[Floats, Floats]:
        """Variance of a contrast and df by a rule (trials,)."""

    def joint(self, at: list[int], kept: Bools, rule: Rule) -> JointTest:
        """F test of some coefficients with df by a rule; dropped ones count for nothing."""


def wald(fit: MixedFit, at: list[int], kept: Bools) -> JointTest:
    """F test of some coefficients, its denominator df still to be set."""
    return joint_test.wald(fit.coefficients[at], fit.covariance(at), kept)


def _fai_cornelius(fit: MixedFit, at: list[int], kept: Bools, df_of: Callable[[Floats], Floats]) -> Floats:
    """Df of the F test, from those of single contrasts."""

    def of_one(contrast: Floats) -> Floats:
        chosen = np.zeros(fit.coefficients.shape)
        chosen[at] = contrast
        return df_of(chosen)

    return joint_test.fai_cornelius(fit.covariance(at), kept, of_one)


@dataclass(frozen=True)
class OneVariance:
    """Both arms have the same variances.

    ``residual`` is N - p; ``alone`` where every cluster has one row (trials,): there the model is OLS, with these df.
    """

    fit: kernel.Fit
    alone: Bools
    residual: Floats

    @property
    def coefficients(self) -> Floats:
        """Fixed effects (p, trials)."""
        return self.fit.at.coefficients

    @property
    def converged(self) -> Bools:
        """Whether an optimum was reached (trials,)."""
        return self.fit.converged

    @property
    def deviance(self) -> Floats:
        """-2 log-likelihood (trials,)."""
        return self.fit.deviance

    @property
    def flags(self) -> Flags:
        """Boundary, the limit, and where nothing tells the variances apart (trials,)."""
        fit = self.fit
        flags = np.where((fit.gamma == 0.0) & ~self.alone, BIT["boundary"], 0).astype(np.int64)
        flags |= np.where(fit.limit, BIT["constant_within"], 0)
        flags |= np.where(~fit.converged, BIT["not_converged"], 0)
        return flags | np.where(self.alone, BIT["tau2_not_identified"], 0)

    @property
    def variances(self) -> dict[str, Floats]:
        """Of both arms; in the limit all variation is between practices."""
        fit = self.fit
        icc, tau2, sigma2 = fit.gamma / (1 + fit.gamma), fit.tau2, fit.sigma2
        if fit.limit.any():
            icc, sigma2 = np.where(fit.limit, 1.0, icc), np.where(fit.limit, 0.0, sigma2)
        if self.alone.any():
            icc, tau2 = np.where(self.alone, np.nan, icc), np.where(self.alone, np.nan, tau2)
        return {"icc": icc, "tau2": tau2, "sigma2": sigma2}

    def _without_variance(self, contrast: Floats) -> Bools:
        """Where nothing varies within practices, and so a contrast that people tell has no variance (trials,)."""
        return np.asarray(self.fit.limit & ~(kernel.between_share(self.fit, contrast) > 0.5))

    def not_told(self, contrasts: Iterable[Floats], kept: Bools) -> Bools:
        """Trials in which people alone tell one of the contrasts, and do not vary."""
        if not self.fit.limit.any():
            return self.fit.limit
        return np.asarray((kept & np.stack([self._without_variance(contrast) for contrast in contrasts])).any(axis=0))

    def covariance(self, at: list[int]) -> Floats:
        """Model covariance of some coefficients (k, k, trials)."""
        return np.asarray(self.fit.sigma2 * self.fit.at.inverse[np.ix_(at, at)])

    def variance(self, contrast: Floats) -> Floats:
        """Model variance of a contrast (trials,), NaN where the data do not tell it."""
        variance = kernel.variance(self.fit, contrast)
        return np.where(self._without_variance(contrast), np.nan, variance) if self.fit.limit.any() else variance

    def small_sample(self, contrast: Floats, rule: Rule) -> tuple[Floats, Floats]:
        """Variance of a contrast, Kenward and Roger's where they are the rule, and df."""
        variance = self.variance(contrast)
        if rule != "kenward-roger":
            return variance, np.where(self.alone, self.residual, self._df(contrast, rule))
        found = kernel.small_sample(self.fit, contrast)
        adjusted = np.where(self.alone | np.isnan(variance), variance, found.variance)
        return adjusted, np.where(self.alone, self.residual, found.df)

    def _df(self, contrast: Floats, rule: Rule) -> Floats:
        observed = rule == "satterthwaite-observed"
        return kernel.observed_df(self.fit, contrast)[0] if observed else kernel.small_sample(self.fit, contrast).df

    def joint(self, at: list[int], kept: Bools, rule: Rule) -> JointTest:
        """F test with the df of Fai and Cornelius, or that of Kenward and Roger, who scale it as well."""
        if rule == "kenward-roger":
            covariance = joint_test.kenward_roger_covariance(self.fit, at)
            adjusted = np.where(self.alone, self.covariance(at), covariance)
            test = joint_test.wald(self.coefficients[at], adjusted, kept)
            scale, df = joint_test.kenward_roger(self.fit, at, kept)
            return test.scaled(np.where(self.alone, 1.0, scale), np.where(self.alone, self.residual, df))
        df = _fai_cornelius(self, at, kept, lambda contrast: self._df(contrast, rule))
        return wald(self, at, kept).scaled(1.0, np.where(self.alone, self.residual, df))


@dataclass(frozen=True)
class VariancesByArm:
    """Arms differ in the variance of people, of practices, or in both."""

    fit: by_arm_fit.Fit

    @property
    def coefficients(self) -> Floats:
        """Fixed effects (p, trials)."""
        return self.fit.at.coefficients

    @property
    def converged(self) -> Bools:
        """Whether an optimum was reached (trials,)."""
        return self.fit.converged

    @property
    def deviance(self) -> Floats:
        """-2 log-likelihood (trials,)."""
        return self.fit.deviance

    @property
    def flags(self) -> Flags:
        """Boundary, an arm fitted perfectly, and where nothing tells the variances apart (trials,)."""
        fit = self.fit
        flags = np.where(fit.boundary, BIT["boundary"], 0).astype(np.int64)
        flags |= np.where(fit.perfect, BIT["constant_outcome"], 0)
        flags |= np.where(~fit.converged, BIT["not_converged"], 0)
        untold = fit.held.any(axis=0) | ~(fit.identified | fit.perfect)
        return flags | np.where(untold, BIT["tau2_not_identified"], 0)

    @property
    def variances(self) -> dict[str, Floats]:
        """Of either arm, and what both share."""
        fit = self.fit
        tau2 = np.where(fit.held_by_arm, np.nan, fit.tau2)
        every = dict(zip(BY_ARM, (*fit.sigma2, *tau2, *(tau2 / (tau2 + fit.sigma2))), strict=True))
        return every | {common: every[f"{common}_control"] for common in COMMON[fit.by]}

    def not_told(self, contrasts: Iterable[Floats], kept: Bools) -> Bools:
        """Trials in which an arm leaves no residual or the data do not tell the variances: all contrasts are alike."""
        return self.fit.perfect | ~self.fit.identified

    def covariance(self, at: list[int]) -> Floats:
        """Model covariance of some coefficients (k, k, trials)."""
        return self.fit.at.inverse[np.ix_(at, at)]

    def variance(self, contrast: Floats) -> Floats:
        """Model variance of a contrast (trials,)."""
        return self.fit.variance(contrast)

    def small_sample(self, contrast: Floats, rule: Rule) -> tuple[Floats, Floats]:
        """Variance of a contrast and Satterthwaite's df by expected information, the one rule there is."""
        return self.fit.variance(contrast), self.fit.df(contrast)

    def joint(self, at: list[int], kept: Bools, rule: Rule) -> JointTest:
        """F test with the df of Fai and Cornelius."""
        return wald(self, at, kept).scaled(1.0, _fai_cornelius(self, at, kept, self.fit.df))
