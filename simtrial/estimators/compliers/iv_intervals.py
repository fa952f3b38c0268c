"""Confidence sets of a ratio of two effects that are not Wald's: where a quadratic is not positive, and tF."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simtrial.arrays import Floats
from simtrial.estimators import Estimates
from simtrial.flags import BIT
from simtrial.kernels import adjusted_t
from simtrial.kernels.anderson_rubin import Set, not_rejected
from simtrial.kernels.interval_sets import INTERVAL, RAY, TWO_RAYS, WHOLE_LINE
from simtrial.kernels.students_t import critical, two_sided


def quadratic_set(result: Estimates, outcome: Floats, receipt: Floats, joint: Floats, level: float) -> Estimates:
    """Replace Wald inference on the ratio by {theta : (rho - theta pi)^2 <= t^2 V(theta)}, and by its test of 0.

    That is Fieller's set (1954, JRSS B 16) for two estimates with covariance ``joint``, and Anderson and Rubin's where
    both come from one least squares. The test of no effect is that of the outcome alone: F = rho^2/V_yy on 1 and df.
    Estimate and standard error stay those of the ratio.
    """
    df = result.df[0]
    found = not_rejected(outcome, receipt, joint, critical(df, level))
    with np.errstate(invalid="ignore", divide="ignore"):
        t = np.where(outcome == 0.0, 0.0, outcome / np.sqrt(joint[0, 0]))
    return _with_set(result, found, t)


def adjusted(result: Estimates, level: float) -> Estimates:
    """Widen Wald's interval by what the first-stage F asks for: the tF procedure, see `simtrial.kernels.adjusted_t`.

    The standard error is multiplied by c(F)/1.96 in interval and test; df stay, so that df normal is the published
    procedure. Estimate and standard error reported are those of the ratio.
    """
    by = adjusted_t.factor(result.extras["first_stage_f"])
    endless = np.isinf(by)
    std_error, df = result.std_error[0] * by, result.df[0]
    half = critical(df, level) * std_error
    t = np.where(endless, 0.0, result.estimate[0] / std_error)
    kind = np.where(endless, WHOLE_LINE, INTERVAL)
    found = Set(result.estimate[0] - half, result.estimate[0] + half, kind)
    return _with_set(replace(result, extras={**result.extras, "tf_factor": by}), found, t)


def _with_set(result: Estimates, found: Set, t: Floats) -> Estimates:
    """The estimate with another set, and the test of no effect whose square root is ``t``."""
    df, failed = result.df[0], result.failed
    unbounded = ~failed & np.isin(found.kind, (RAY, TWO_RAYS, WHOLE_LINE))
    ci_lower, ci_upper, p_value = result.ci_lower.copy(), result.ci_upper.copy(), result.p_value.copy()
    test = {"statistic": t**2, "df_num": np.ones(len(df)), "df_den": df}
    ci_lower[0], ci_upper[0], p_value[0], *test_numbers = (
        np.where(failed, np.nan, x) for x in (found.lower, found.upper, two_sided(t, df), *test.values())
    )
    return replace(
        result, ci_lower=ci_lower, ci_upper=ci_upper, p_value=p_value,
        flags=result.flags | np.where(unbounded, BIT["unbounded_interval"], 0),
        extras={**result.extras, **dict(zip(test, test_numbers, strict=True))},
        notes={**result.notes, "ci_type": np.where(failed, "", found.kind)},
    )  # fmt: skip
