"""Estimates from arrays: t inference, joint tests, trials that failed, and the flags that say why."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats
from simtrial.estimators.method import Estimates
from simtrial.flags import BIT, bits, first_causes
from simtrial.kernels.joint_test import JointTest
from simtrial.kernels.students_t import critical, two_sided
from simtrial.moments.moments import Moments


def wald(
    estimate: Floats,
    variance: Floats,
    df: Floats,
    level: float,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return standard error, interval and p-value of t inference: std_error, ci_lower, ci_upper, p_value."""
    with np.errstate(invalid="ignore", divide="ignore"):
        std_error = np.sqrt(variance)
        half = critical(df, level) * std_error
        p_value = two_sided(np.where(std_error > 0, estimate / std_error, np.nan), df)
    return std_error, estimate - half, estimate + half, p_value


def report(
    moments: Moments,
    terms: tuple[str, ...],
    estimate: Floats,
    variance: Floats,
    df: Floats,
    level: float,
    *,
    failed: NDArray[np.bool_],
    flags: NDArray[np.int64],
    extras: Mapping[str, Floats],
    joint: JointTest | None = None,
    in_outcome_units: bool = True,
) -> Estimates:
    """Assemble `Estimates` from arrays (terms, trials), blanking trials that failed.

    A variance that is rounding beside that of the outcome, whose unit estimates have unless ``in_outcome_units`` is
    False, is none: nothing is left between practices.

    With a ``joint`` test of several coefficients the target has its p-value and df, and no estimate. Where rows depend
    on an expression, ``n_unknown`` counts the people left out because it is unknown for them.
    """
    if failed.any():
        flags = np.where(failed, flags & ~OF_A_FIT, flags)
    unsaid = np.isnan(estimate[0]) | np.isnan(variance[0]) if joint is None else np.isnan(joint.statistic)
    if in_outcome_units and joint is None:
        flat = ~failed & (variance[0] <= rounding_variance(moments))
        if flat.any():
            explained = flat & (flags & BIT["not_converged"] == 0)  # at a bound that flag says why already
            unsaid, flags = unsaid | flat, flags | np.where(explained, BIT["constant_outcome"], 0)
    df = df if joint is None else np.concatenate([joint.df_den[None], df[1:]])
    failed = failed | unsaid | ~(df[0] > 0)
    kept = [moments.kept[moments.terms.index(t)] if t in moments.terms else True for t in terms]
    blank = np.array([failed | ~np.asarray(own) for own in kept])
    if blank.any():
        estimate, variance, df = (np.where(blank, np.nan, x) for x in (estimate, variance, df))
    std_error, lower, upper, p_value = wald(estimate, variance, df, level)
    if joint is not None:
        p_value[0] = np.where(failed, np.nan, joint.p_value)
        extras = {**extras, "statistic": joint.statistic, "df_num": joint.df_num, "df_den": joint.df_den}
    if failed.any():
        extras = {name: np.where(failed, np.nan, values) for name, values in extras.items()}
        flags = flags | np.where(failed & (flags & FATAL == 0), BIT["invalid_result"], 0)
        flags = np.where(failed, first_causes(flags), flags)
    if moments.analysed.unknown is not None:
        extras = {**extras, "n_unknown": moments.analysed.unknown}
    return Estimates(
        terms=terms, estimate=estimate, std_error=std_error, df=df, ci_lower=lower, ci_upper=upper, p_value=p_value,
        failed=failed, flags=flags, n_used=moments.counts, clusters_used=moments.clusters, extras=extras, joint=joint,
    )  # fmt: skip


def practice_df(rule: str, clusters: Floats, rank: Floats) -> Floats:
    """Df of a t interval by the number of practices, clusters-p, clusters-2 or normal (trials,).

    ``rank`` are the coefficients at practice level.
    """
    if rule == "normal":
        return np.full(clusters.shape, np.inf)
    return clusters - (rank if rule == "clusters-p" else 2.0)


def rounding_variance(moments: Moments) -> Floats:
    """Variance of an effect up to which its standard error is rounding beside the SD of the outcome (trials,)."""
    squares = moments.gram[moments.regressors, moments.regressors]
    return np.asarray(EXPLAINED**2 * squares / np.maximum(moments.counts, 1.0))


def failed_estimates(trials: int, term: str, flag: str) -> Estimates:
    """Failed estimates of trials, with the flag that gives the reason."""
    blank, zero = np.full((1, trials), np.nan), np.zeros(trials)
    return Estimates(
        terms=(term,), estimate=blank, std_error=blank, df=blank, ci_lower=blank, ci_upper=blank, p_value=blank,
        failed=np.ones(trials, dtype=bool), flags=np.full(trials, BIT[flag], dtype=np.int64),
        n_used=zero, clusters_used=zero,
    )  # fmt: skip


EXPLAINED = 1e-10
"""Standard error, in SDs of the outcome, up to which practice means count as equal.

An outcome that covariates leave a share of `PERFECT` of its sum of squares has standard errors above this with up to
some million people.
"""

FATAL = bits(
    [
        "no_data",
        "one_arm",
        "arm_aliased",
        "constant_outcome",
        "constant_within",
        "tau2_not_identified",
        "no_first_stage",
        "imputation_failed",
        "too_few_clusters",
        "not_converged",
        "error",
        "invalid_result",
        "timeout",
        "no_allocation",
        "out_of_range",
        "same_receipt",
        "one_stratum",
        "receipt_in_control",
        "collapsed",
        "one_compliant_practice",
    ]
)
"""Flags that explain by themselves why a fit failed."""

OF_A_FIT = bits(
    ["boundary", "aliased", "leverage_one", "weak_instrument", "not_converged", "separation", "extreme_weights"]
)
"""Flags that describe a fit, removed without one."""


def terms_of(moments: Moments, target: str, every_term: bool) -> tuple[str, ...]:
    """Names of the terms to report, target first."""
    if not every_term:
        return (target,)
    if moments.products:
        return tuple(dict.fromkeys((target, "arm", *moments.terms)))
    return (target, *(term for term in moments.terms if term != "arm"))
