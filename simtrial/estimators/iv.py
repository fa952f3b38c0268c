"""Complier-average effect by two-stage least squares: allocation is the instrument, receipt the treatment."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.batch import ObservedBatch
from simtrial.design_matrix import Spec
from simtrial.estimators import Estimates, Method, register, report
from simtrial.estimators.cluster_means import residual_means
from simtrial.estimators.ols import Df, StandardError, covariance
from simtrial.flags import BIT
from simtrial.kernels.segments import sum_by
from simtrial.kernels.students_t import critical, two_sided
from simtrial.moments import Moments

Floats = NDArray[np.float64]
WEAK = 10.0  # first-stage F of Staiger and Stock (1997, doi:10.2307/2171753)
ABSENT = 1e-12  # share of the sum of squares of receipt that allocation must explain


@register("iv")
class InstrumentalVariable(Method):
    """Effect of receiving the intervention among those who take it up when offered.

    Outcome and receipt are regressed on arm and covariates; the ratio of the two arm coefficients is 2SLS with one
    instrument. Its robust variance is the OLS sandwich of the structural residual divided by the square of the first
    stage. ``ci`` anderson-rubin inverts the test that outcome - theta receipt has no arm effect; with fixed covariance
    estimates that is Fieller's set, which can be unbounded. ``level_of_analysis`` cluster takes both reduced forms from
    practice means, every practice alike, of what the covariates leave of outcome and receipt (Agbla, De Stavola and
    DiazOrdaz 2020, Statistical Methods in Medical Research 29); a practice is then a row, so CR0 is HC0 and CR2 is HC2.
    """

    kind: Literal["iv"] = "iv"
    target = "received"
    received: str = Field(description="expression that defines receipt, e.g. sessions >= 6")
    level_of_analysis: Literal["participant", "cluster"] = Field("participant", description="people, or practice means")
    se: StandardError = Field("CR2", description="standard error")
    df: Df = Field("satterthwaite", description="degrees of freedom")
    ci: Literal["wald", "anderson-rubin"] = Field("wald", description="interval")

    def has_t_interval(self) -> bool:
        """Whether the interval is Wald's; that of Anderson and Rubin is no interval around the estimate."""
        return self.ci == "wald"

    def spec(self) -> Spec:
        """Rows and columns analysed, receipt as a second response."""
        return replace(super().spec(), received=self.received)

    def expressions(self) -> tuple[str, ...]:
        """Expressions among the options."""
        return (*super().expressions(), self.received)

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Fit every trial by indirect least squares; ``every_term`` adds the covariates of the structural equation."""
        if self.level_of_analysis == "cluster":
            outcome, receipt, joint, df, singular = reduced_forms_of_means(moments, self.se, self.df)
        else:
            outcome, receipt = moments.least_squares.coefficients[-1]
            joint, df, singular = covariance(moments, None, self.se, self.df)
        scale = _receipt_squares(moments)
        absent = ~(receipt**2 > ABSENT * scale) & ~moments.failed
        safe = np.where(absent | moments.failed, np.nan, receipt)
        theta = outcome / safe
        with np.errstate(invalid="ignore", divide="ignore"):
            variance = _structural(joint, theta) / safe**2
            first_stage = np.where(joint[1, 1] > ABSENT * receipt**2, receipt**2 / joint[1, 1], np.inf)
        flags = moments.flags | np.where(singular, BIT["leverage_one"], 0)
        flags |= np.where(absent, BIT["no_first_stage"], 0)
        flags |= np.where((first_stage < WEAK) & ~absent & ~moments.failed, BIT["weak_instrument"], 0)
        extras = {"first_stage": receipt, "first_stage_f": np.where(absent, 0.0, first_stage)}
        terms: tuple[str, ...] = ("received",)
        estimate, variances, dfs = theta[None], variance[None], df[None]
        if every_term and self.level_of_analysis == "participant":
            terms, estimate, variances, dfs = self._structural_terms(moments, theta, safe, variance, df)
        result = report(
            moments, terms, estimate, variances, dfs, self.level,
            failed=moments.failed | absent, flags=flags, extras=extras,
        )  # fmt: skip
        return result if self.ci == "wald" else _anderson_rubin(result, outcome, receipt, joint, self.level)

    def _structural_terms(
        self, moments: Moments, theta: Floats, safe: Floats, variance: Floats, df: Floats
    ) -> tuple[tuple[str, ...], Floats, Floats, Floats]:
        """Coefficients of the covariates: contrast l of y - theta d, minus its first-stage share along arm."""
        terms = tuple(term for term in moments.terms if term != "arm")
        coefficients = moments.least_squares.coefficients
        rows, variances, dfs = [theta], [variance], [df]
        for term in terms:
            contrast = moments.contrast(term)
            shift = moments.center[moments.regressors] if term == "intercept" else 0.0
            along = (contrast * coefficients[:, 1]).sum(axis=0) / safe
            direction = contrast.copy()
            direction[-1] -= along
            rows.append((contrast * (coefficients[:, 0] - theta * coefficients[:, 1])).sum(axis=0) + shift)
            joint, term_df, _ = covariance(moments, direction, self.se, self.df)
            variances.append(_structural(joint, theta))
            dfs.append(term_df)
        return ("received", *terms), np.stack(rows), np.stack(variances), np.stack(dfs)


def reduced_forms_of_means(
    moments: Moments, se: str, df: str
) -> tuple[Floats, Floats, Floats, Floats, NDArray[np.bool_]]:
    """Effects of arm on practice means of outcome and receipt, their joint variance, its df, and lonely practices.

    Returns
    -------
    outcome, receipt, variance, df, singular
        (trials,), (trials,), (2, 2, trials), (trials,), (trials,).
    """
    trials = moments.trials
    side = 2 * moments.cluster_trial + np.rint(moments.means[moments.regressors - 1]).astype(np.intp)
    left = [residual_means(moments, at) for at in (0, 1)]
    count = np.bincount(side, minlength=2 * trials).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = [sum_by(values, side, 2 * trials) / count for values in left]
        apart = [values - mean[side] for values, mean in zip(left, means, strict=True)]
        k = count.reshape(trials, 2)
        weight = {"CR2": 1 / (k * (k - 1)), "CR3": 1 / (k - 1) ** 2}.get(se, 1 / k**2)
        j = moments.clusters
        if se == "classical":
            weight = np.repeat(((1 / k).sum(axis=1) / (j - 2))[:, None], 2, axis=1)
        factor = {"CR1": j / (j - 1), "CR1S": j / (j - 2), "HC1": j / (j - 2)}.get(se, np.ones(trials))
        joint = np.empty((2, 2, trials))
        for a in (0, 1):
            for b in (0, 1):
                products = sum_by(apart[a] * apart[b], side, 2 * trials).reshape(trials, 2)
                joint[a, b] = factor * (weight * products).sum(axis=1)
        if df == "satterthwaite":  # of a sum of chi-squares, the working model one variance for all means
            used = (weight * (k - 1)).sum(axis=1) ** 2 / (weight**2 * (k - 1)).sum(axis=1)
        else:
            spent = {"residual": 2.0, "clusters-1": 1.0, "clusters-2": 2.0}.get(df, moments.cluster_rank)
            used = np.full(trials, np.inf) if df == "normal" else j - spent
    outcome, receipt = (mean.reshape(trials, 2)[:, 1] - mean.reshape(trials, 2)[:, 0] for mean in means)
    return outcome, receipt, joint, used, np.asarray((k < 2).any(axis=1) & ~moments.failed)


def _receipt_squares(moments: Moments) -> Floats:
    """Mean square of receipt per trial (trials,)."""
    row = moments.inner[-1]
    return sum_by(row**2, moments.analysed.trial, moments.trials) / np.maximum(moments.counts, 1.0)


def _structural(joint: Floats, theta: Floats) -> Floats:
    """Variance of the arm coefficient of y - theta d."""
    return np.asarray(np.maximum(joint[0, 0] - 2.0 * theta * joint[0, 1] + theta**2 * joint[1, 1], 0.0))


def _anderson_rubin(result: Estimates, outcome: Floats, receipt: Floats, joint: Floats, level: float) -> Estimates:
    """Replace the Wald interval by {theta : |t(theta)| <= t_crit}: the roots of a theta^2 - 2 b theta + c.

    a = pi^2 - t^2 V_dd, b = pi rho - t^2 V_yd, c = rho^2 - t^2 V_yy with reduced forms rho (outcome), pi (receipt).
    a > 0: between the roots; a < 0 with real roots: outside them; else the whole line.
    """
    df = result.df[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        square = critical(df, level) ** 2
        a, b, c = (
            receipt**2 - square * joint[1, 1],
            receipt * outcome - square * joint[0, 1],
            outcome**2 - square * joint[0, 0],
        )
        root = np.sqrt(np.maximum(b**2 - a * c, 0.0))
        bounded = a > 0.0
        lower = np.where(bounded, (b - root) / a, -np.inf)
        upper = np.where(bounded, (b + root) / a, np.inf)
        p_value = two_sided(outcome / np.sqrt(joint[0, 0]), df)
    kind = np.where(bounded, "bounded", np.where(b**2 > a * c, "rays", "line"))
    kind = np.where(result.failed, "", kind)
    flags = result.flags | np.where(~bounded & ~result.failed, BIT["unbounded_interval"], 0)
    lower, upper, p_value = (np.where(result.failed, np.nan, x) for x in (lower, upper, p_value))
    ci_lower, ci_upper, p = result.ci_lower.copy(), result.ci_upper.copy(), result.p_value.copy()
    ci_lower[0], ci_upper[0], p[0] = lower, upper, p_value
    return Estimates(
        result.terms, result.estimate, result.std_error, result.df, ci_lower, ci_upper, p, result.failed, flags,
        result.n_used, result.clusters_used, result.extras, {"ci_type": kind},
    )  # fmt: skip
