"""Pooling of the analyses of completed trials: by Rubin's rules, or a test of several terms together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats
from simtrial.estimators.assemble import report, wald
from simtrial.estimators.imputation.engine import FittedEngine
from simtrial.estimators.method import Estimates
from simtrial.flags import BIT
from simtrial.kernels.joint_test import JointTest
from simtrial.kernels.rubin import Pooled, Rule, pool, pool_tests
from simtrial.moments.moments import Moments

PooledDf = Literal["barnard-rubin", "rubin", "lost-information", "barnard-rubin-residual"]

SAME = 1e-6  # standard errors by which an interval may differ from that of t


def rule(df: PooledDf) -> Rule:
    """Formula of the pooled df; what is left of the name are the df of complete data."""
    return "barnard-rubin" if df == "barnard-rubin-residual" else df


def complete_df(results: Sequence[tuple[Moments, Estimates]], df: PooledDf) -> Floats:
    """Df of complete data (terms, trials): those of the analysis, at practice level by default, or N - p."""
    own = np.mean([estimates.df for _, estimates in results], axis=0)
    if df != "barnard-rubin-residual":
        return np.asarray(own)
    return np.broadcast_to(np.mean([made.counts - made.rank for made, _ in results], axis=0), own.shape)


def pooled_estimates(
    results: Sequence[tuple[Moments, Estimates]], df: PooledDf, *, levels: tuple[float, float], unfit: Bools,
    flags: NDArray[np.int64],
) -> Estimates:  # fmt: skip
    """Pool the analyses of every trial.

    Parameters
    ----------
    results
        Moments and estimates of every imputation.
    levels
        Levels of the interval of the pooled estimate, and of those of the analyses.
    unfit, flags
        Trials that could not be imputed, and what is odd about the imputation models (trials,).
    """
    made, first = results[0]
    fits = [estimates for _, estimates in results]
    complete = complete_df(results, df)
    pooled = pool(np.stack([e.estimate for e in fits]), np.stack([e.std_error for e in fits]) ** 2, complete, rule(df))
    bad = unfit | np.any([e.failed for e in fits], axis=0)
    joint, extras = _joint(fits, complete[0], rule(df)) if first.joint else (None, _extras(pooled, len(fits)))
    other = np.zeros_like(bad) if joint else _not_t(first, levels[1]) & ~bad
    for bit in BIT.values():
        flags = flags | np.where(np.mean([(e.flags & bit) > 0 for e in fits], axis=0) >= 0.5, bit, 0)
    flags = flags | np.where(bad, BIT["imputation_failed"], 0) | np.where(other, BIT["invalid_result"], 0)
    found = report(
        made, first.terms, pooled.estimate, pooled.variance, pooled.df, levels[0],
        failed=bad | other, flags=flags, extras={**extras, "df_complete": complete[0]}, joint=joint,
    )  # fmt: skip
    return replace(found, n_used=first.n_used, clusters_used=first.clusters_used)


def _joint(fits: Sequence[Estimates], df_complete: Floats, rule: Rule) -> tuple[JointTest, dict[str, Floats]]:
    """Pooled test of several products, which are the same in all imputations, and what is said of it."""
    tested = [e.joint.of for e in fits if e.joint is not None and e.joint.of is not None]
    kept = np.all([one.kept for one in tested], axis=0)
    test, increase = pool_tests(
        np.stack([one.estimate for one in tested]),
        np.stack([one.covariance for one in tested]),
        kept,
        df_complete,
        rule,
    )
    with np.errstate(invalid="ignore"):
        fmi = (increase + 2.0 / (test.df_den + 3.0)) / (increase + 1.0)
    return test, {"fmi": fmi, "riv": increase}


def _extras(pooled: Pooled, m: int) -> dict[str, Floats]:
    """What is said of a pooled estimate: missing information, variances, and the error that m leaves (trials,)."""
    return {
        "fmi": pooled.fmi[0], "riv": pooled.riv[0], "within_variance": pooled.within[0],
        "between_variance": pooled.between[0], "mc_error": np.sqrt(pooled.between[0] / m),
    }  # fmt: skip


def with_extras_of(fitted: FittedEngine, found: Estimates) -> Estimates:
    """Estimates with what an engine says of its draws so far, blank where a fit failed."""
    stated = {name: np.where(found.failed, np.nan, values) for name, values in getattr(fitted, "extras", {}).items()}
    return replace(found, extras={**found.extras, **stated}) if stated else found


def _not_t(found: Estimates, level: float) -> Bools:
    """Trials whose interval is not that of t on estimate and standard error: one of a plug-in (trials,)."""
    estimate, std_error, df = found.estimate[0], found.std_error[0], found.df[0]
    _, lower, upper, _ = wald(estimate, std_error**2, df, level)
    with np.errstate(invalid="ignore"):
        apart = np.maximum(np.abs(found.ci_lower[0] - lower), np.abs(found.ci_upper[0] - upper))
        return np.asarray(~found.failed & ~(apart <= SAME * std_error))
