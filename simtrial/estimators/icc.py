"""Intracluster correlation of an outcome: by REML, crude or given covariates, or by analysis of variance."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.special import erfc, expit, fdtrc, fdtri, ndtri

from simtrial.arrays import Floats
from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, Method, register, report
from simtrial.flags import BIT
from simtrial.kernels.random_intercept_grid import profile
from simtrial.kernels.ratio_survey import CAP
from simtrial.kernels.segments import sum_by
from simtrial.moments.build import without_arm
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec


@register("icc")
class IntraclusterCorrelation(Method):
    """Share of the residual variance between practices, tau2/(tau2 + sigma2), given arm and covariates.

    ``estimation`` reml: interval by the delta method on the logit scale, 0 to 1 where the estimate is 0 (as Stata's
    estat icc); P value of tau2 = 0 by the likelihood ratio, half a chi-square with 1 df (Self and Liang 1987,
    doi:10.1080/01621459.1987.10478472). anova: one-way analysis of variance without covariates, not truncated at 0;
    standard error as in Smith (1957), for any sizes; interval and P value by F (Searle 1971; Thomas and Hultquist
    1978), exact for equal sizes. ``within_arm`` false lets both arms share one mean.
    """

    target = "icc"
    effect = False
    t_interval = False

    kind: Literal["icc"] = "icc"
    estimation: Literal["reml", "anova"] = Field("reml", description="restricted maximum likelihood, or mean squares")
    occasion: Literal["followup", "baseline"] = Field("followup", description="when the outcome was measured")
    within_arm: bool = Field(True, description="a mean per arm; false: one mean for all")

    @model_validator(mode="after")
    def _what_goes_together(self) -> IntraclusterCorrelation:
        if self.estimation == "anova" and self.adjust:
            raise ValueError("estimation 'anova' takes no covariates: write adjust = []")
        if self.occasion == "baseline" and self.outcome == "change":
            raise ValueError("occasion 'baseline' is of one visit: it needs outcome = 'followup'")
        return self

    def spec(self) -> Spec:
        """Rows and columns analysed."""
        spec = super().spec()
        return replace(spec, outcome=f"{self.response}_baseline") if self.occasion == "baseline" else spec

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Find the correlation in every trial."""
        made = moments if self.within_arm else without_arm(moments)
        alone = made.counts == made.clusters
        failed = made.failed | alone | (made.clusters <= made.cluster_rank)
        failed |= (self.estimation == "reml") & (made.counts - made.rank <= 1)  # one contrast: every ICC is as likely
        flags = made.flags & ~BIT["too_few_clusters"]
        flags |= np.where(failed & ~made.failed, BIT["tau2_not_identified"], 0)
        parts = (
            mean_squares(made, self.within_arm, self.level)
            if self.estimation == "anova"
            else reml(made, self.level, flat_too=False)
        )
        estimate, variance, lower, upper, p_value, boundary, *test = parts
        flat = ~failed & (1.0 - estimate <= 2.0 / CAP)  # 1, and no interval about it
        failed, flags = failed | flat, flags | np.where(flat, BIT["constant_within"], 0)
        flags |= np.where(boundary & ~failed, BIT["boundary"], 0)
        flags |= np.where(np.isnan(estimate) & ~failed, BIT["not_converged"], 0)
        extras = dict(zip(("statistic", "df_num", "df_den"), test, strict=True))
        found = report(
            made, ("icc",), estimate[None], variance[None], test[2][None], self.level,
            failed=failed, flags=flags, extras=extras, in_outcome_units=False,
        )  # fmt: skip
        lower, upper, p_value = (np.where(found.failed, np.nan, x)[None] for x in (lower, upper, p_value))
        return replace(found, ci_lower=lower, ci_upper=upper, p_value=p_value)


Parts = tuple[Floats, Floats, Floats, Floats, Floats, NDArray[np.bool_], Floats, Floats, Floats]
"""Estimate, variance, ends of interval, P value, whether the estimate is 0, test statistic, its df (trials,) each."""


def reml(fitted: Moments, level: float, flat_too: bool = True) -> Parts:
    """Correlation from the random-intercept model; variance by the delta method from the expected information.

    ``flat_too`` as of `simtrial.kernels.random_intercept_fit.fit`.
    """
    out, ratios = np.full((5, fitted.trials), np.nan), np.full(fitted.trials, np.nan)
    df = np.ones(fitted.trials), np.full(fitted.trials, np.inf)
    boundary = np.zeros(fitted.trials, dtype=bool)
    usable = fitted.usable
    if not len(usable):
        return *out, boundary, ratios, *df
    fit = fitted.reml if flat_too else fitted.reml_where_told
    gamma, (tau_tau, tau_sigma, sigma_sigma) = fit.gamma, fit.information.inverse
    null = 2.0 * profile(fit.sums, np.zeros(1), fit.nu, reml=True)[0] + fit.nu * (1.0 + np.log(2.0 * np.pi / fit.nu))
    zero = gamma == 0.0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        spread = tau_tau - 2.0 * gamma * tau_sigma + gamma**2 * sigma_sigma  # of gamma, in units of sigma2
        half, logit = float(ndtri(0.5 + level / 2)) * np.sqrt(spread) / gamma, np.log(gamma)
        lower, upper = (np.where(zero, end, expit(logit + s * half)) for s, end in ((-1.0, 0.0), (1.0, 1.0)))
        ratio = np.maximum(null - fit.deviance, 0.0)
        out[:, usable] = (
            gamma / (1.0 + gamma), spread / (1.0 + gamma) ** 4, lower, upper,
            np.where(zero, 1.0, 0.5 * erfc(np.sqrt(ratio / 2.0))),
        )  # fmt: skip
    boundary[usable], ratios[usable] = zero, ratio
    return *out, boundary, ratios, *df


def mean_squares(fitted: Moments, within_arm: bool, level: float) -> Parts:
    """Correlation from mean squares between and within practices, of all of a trial or of its arms together."""
    trial, trials, sizes, p = fitted.cluster_trial, fitted.trials, fitted.sizes, fitted.regressors
    arm = np.rint(fitted.means[p - 1]).astype(np.intp) if within_arm else 0
    group, groups = 2 * trial + arm, 2 * trials

    def pooled(values: Floats) -> Floats:
        return np.asarray(np.nan_to_num(values).reshape(trials, 2).sum(axis=1))

    with np.errstate(divide="ignore", invalid="ignore"):
        people = sum_by(sizes, group, groups)
        mean = sum_by(sizes * fitted.means[p], group, groups) / people
        between_df = fitted.clusters - pooled((people > 0).astype(np.float64))
        within_df = fitted.counts - fitted.clusters
        between = sum_by(sizes * (fitted.means[p] - mean[group]) ** 2, trial, trials) / between_df
        inside = fitted.within[fitted.varying.index(p), fitted.varying.index(p)]
        within = sum_by(inside, trial, trials) / within_df
        size = (fitted.counts - pooled(sum_by(sizes**2, group, groups) / people)) / between_df
        ratio = between / within
        estimate = (between - within) / (between + (size - 1.0) * within)
        g = 1.0 - estimate[trial] + sizes * estimate[trial]  # n_j times the variance of a mean, total variance 1
        moved = [sum_by(v, group, groups) for v in (sizes * g**2, sizes * g)]
        trace = sum_by(g**2, trial, trials) - pooled(2.0 * moved[0] / people) + pooled((moved[1] / people) ** 2)
        rest, total = (1.0 - estimate) ** 2, (1.0 + (size - 1.0) * estimate) ** 2
        variance = 2.0 * rest * (trace / between_df**2 + total / within_df) / size**2
        alpha = (1.0 - level) / 2.0
        ends = [
            ratio / fdtri(between_df, within_df, q) if (between_df > 0).any() else ratio for q in (1.0 - alpha, alpha)
        ]
        lower, upper = ((f - 1.0) / (f + size - 1.0) for f in ends)
        p_value = fdtrc(between_df, within_df, ratio)
        estimate = np.where(ratio > 1.0 / CAP, estimate, np.nan)  # at its bound, all practice means being the same
    flat = np.zeros(trials, dtype=bool)
    return estimate, variance, lower, upper, p_value, flat, ratio, between_df, within_df
