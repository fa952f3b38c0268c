"""Rubin's rules, for one estimate and for several tested together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from simtrial.arrays import Bools, Floats, Ints
from simtrial.kernels.joint_test import JointTest, wald

Rule = Literal["barnard-rubin", "rubin", "lost-information"]


@dataclass(frozen=True)
class Pooled:
    """Pooled estimate, variances within, between and in all, df, relative increase, fraction of missing information."""

    estimate: Floats
    within: Floats
    between: Floats
    variance: Floats
    df: Floats
    riv: Floats
    fmi: Floats


def pool(
    estimates: Floats,
    variances: Floats,
    df_complete: Floats,
    rule: Rule = "barnard-rubin",
) -> Pooled:
    """Pool ``m`` analyses of completed data.

    Rubin (1987, doi:10.1002/9780470316696): T = W + (1 + 1/m) B and nu_m = (m - 1)/lambda^2 with
    lambda = (1 + 1/m) B/T. Barnard and Rubin (1999, doi:10.1093/biomet/86.4.948): 1/nu = 1/nu_m + 1/nu_obs with
    nu_obs = (1 - lambda) nu_com (nu_com + 1)/(nu_com + 3). The factor (nu_com + 1)/(nu_com + 3) is left out by
    `lost-information`: nu_obs = (1 - lambda) nu_com, which is nu_com where nothing is missing. Without variation
    between imputations nu_m is infinite.
    A single one (a mistake) is taken for the complete data: its own variance, and nu_com or with `rubin` no limit.

    Parameters
    ----------
    estimates, variances
        (m, ...).
    df_complete
        nu_com (...), infinite where the complete-data inference is normal.
    """
    m = len(estimates)
    estimate, within = estimates.mean(axis=0), variances.mean(axis=0)
    if m == 1:
        df, unknown = np.where(rule == "rubin", np.inf, df_complete), np.full(estimate.shape, np.nan)
        return Pooled(
            estimate=estimate, within=within, between=unknown, variance=within, df=df, riv=unknown, fmi=unknown
        )
    between = np.where(np.ptp(estimates, axis=0) == 0, 0.0, estimates.var(axis=0, ddof=1))
    added = (1.0 + 1.0 / m) * between
    variance = within + added
    with np.errstate(divide="ignore", invalid="ignore"):
        share = added / variance
        riv = added / within
        rubin = (m - 1) / share**2
        factor = 1.0 if rule == "lost-information" else (df_complete + 1) / (df_complete + 3)
        observed = np.where(np.isinf(df_complete), np.inf, df_complete * factor * (1 - share))
        df = rubin if rule == "rubin" else 1.0 / (1.0 / rubin + 1.0 / observed)
        fmi = (riv + 2.0 / (df + 3.0)) / (riv + 1.0)
    return Pooled(estimate=estimate, within=within, between=between, variance=variance, df=df, riv=riv, fmi=fmi)


Z = 1.959963984540054  # of the upper limit of the share of missing information: of a two-sided interval of 95%


def imputations_needed(share: Floats, m: int, se_cv: float, most: int) -> Ints:
    """Imputations at which the pooled standard error varies by ``se_cv`` of itself (trials,), ``m`` to ``most``.

    Von Hippel (2020, doi:10.1177/0049124117747303): 1 + (g/se_cv)^2 / 2, where g is the upper limit of the share of
    missing information from m imputations, logit g = logit share + Z sqrt(2/m) (Harel 2007,
    doi:10.1016/j.stamet.2006.03.002).

    Parameters
    ----------
    share
        (1 + 1/m) B / T of the first ``m`` imputations (trials,).
    """
    upper = np.zeros(share.shape)
    some = share > 0
    with np.errstate(divide="ignore"):
        upper[some] = 1.0 / (1.0 + (1.0 / share[some] - 1.0) * np.exp(-Z * np.sqrt(2.0 / m)))
    return np.asarray(np.clip(np.ceil(1.0 + 0.5 * (upper / se_cv) ** 2), m, max(m, most)), dtype=np.intp)


def pool_tests(
    estimates: Floats,
    covariances: Floats,
    kept: Bools,
    df_complete: Floats,
    rule: Rule = "barnard-rubin",
) -> tuple[JointTest, Floats]:
    """Pool ``m`` Wald tests of the same q coefficients, and their average relative increase of variance (trials,).

    D1 of Li, Raghunathan and Rubin (1991, doi:10.1080/01621459.1991.10475152): Q'W^-1 Q / {q (1 + r)} with Q and W the
    mean estimates and covariances, r = (1 + 1/m) tr(B W^-1) / q. Df are Reiter's (2007, doi:10.1093/biomet/asm028) for
    nu_com of the complete data, or with `rubin`, and where q (m - 1) is at most 4, those for large samples. As in
    `pool`, `lost-information` leaves out the factor (nu_com + 1)/(nu_com + 3).

    Parameters
    ----------
    estimates, covariances
        (m, q, trials) and (m, q, q, trials).
    kept
        Coefficients that there are (q, trials).
    df_complete
        nu_com (trials,), infinite where the complete-data test is chi-squared.
    """
    m = len(estimates)
    mean, within = estimates.mean(axis=0), covariances.mean(axis=0)
    test = wald(mean, within, kept)
    if m == 1:
        df = np.where(rule == "rubin", np.inf, df_complete)
        return test.scaled(1.0, df), np.full(len(df), np.nan)
    away = np.where(kept, estimates - mean, 0.0)
    between = np.einsum("mit,mjt->tij", away, away) / (m - 1)
    both = kept[:, None] & kept
    safe = np.where(both & np.isfinite(test.statistic), within, np.eye(len(mean))[:, :, None]).transpose(2, 0, 1)
    size = np.sqrt(np.einsum("tii->ti", safe))
    scaled = size[:, :, None] * size[:, None, :]
    with np.errstate(divide="ignore", invalid="ignore"):
        increase = (1.0 + 1.0 / m) * np.einsum("tii->t", np.linalg.solve(safe / scaled, between / scaled)) / test.df_num
        complete = np.where(rule == "rubin", np.inf, df_complete)
        factor = 1.0 if rule == "lost-information" else (complete + 1.0) / (complete + 3.0)
        df = _df_of_tests(increase, test.df_num, float(m), np.where(np.isinf(complete), np.inf, complete * factor))
        return test.scaled(1.0 / (1.0 + increase), df), increase


def _df_of_tests(r: Floats, q: Floats, m: float, star: Floats) -> Floats:
    """Denominator df of D1: Reiter's equations 1 and 2, with t = q (m - 1), a = r t / (t - 2) and his nu*_com.

    Those of large samples where t is at most 4 or nu*_com infinite; those of a single coefficient, by Barnard and
    Rubin, where nu_com is so small that Reiter's expansion has no value.
    """
    t = q * (m - 1.0)
    many = 4.0 + (t - 4.0) * (1.0 + (1.0 - 2.0 / t) / r) ** 2
    large = np.where(t > 4.0, many, t * (1.0 + 1.0 / q) * (1.0 + 1.0 / r) ** 2 / 2.0)
    a = r * t / (t - 2.0)
    c0, c1, c2 = 1.0 / (t - 4.0), star - 2.0 * (1.0 + a), star - 4.0 * (1.0 + a)
    z = 1.0 / c2 + c0 * (
        a**2 * c1 / ((1.0 + a) ** 2 * c2) + 8.0 * a**2 * c1 / ((1.0 + a) * c2**2) + 4.0 * a**2 / ((1.0 + a) * c2)
        + 4.0 * a**2 / (c2 * c1) + 16.0 * a**2 * c1 / c2**3 + 8.0 * a**2 / c2**2
    )  # fmt: skip
    share = r / (1.0 + r)
    one = 1.0 / (share**2 / (m - 1.0) + 1.0 / (star * (1.0 - share)))
    small = np.where((c2 > 0.0) & (z > 0.0), 4.0 + 1.0 / z, one)
    return np.where((t > 4.0) & np.isfinite(star), small, large)
