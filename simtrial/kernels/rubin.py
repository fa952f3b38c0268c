"""Rubin's rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from simtrial.arrays import Floats

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
