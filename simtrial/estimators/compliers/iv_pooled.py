"""Effects of allocation on outcome and on receipt pooled over imputations, before their ratio is taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from simtrial.arrays import Floats
from simtrial.estimators.compliers.iv_means import ReducedForms
from simtrial.flags import BIT
from simtrial.kernels.rubin import pool


def pooled_forms(forms: Sequence[ReducedForms], rule: Literal["barnard-rubin", "rubin"]) -> ReducedForms:
    """Pool the pair of effects of every completed trial by Rubin's rules for vectors.

    Q is the mean of the pairs, W that of their covariances, B the covariance between imputations, T = W + (1 + 1/m) B
    (Rubin 1987, section 3.4). The df are those of the contrast outcome - theta receipt at the ratio theta of the pooled
    effects, whose variance is that of the ratio times the squared effect on receipt.
    """
    m = len(forms)
    effects = np.stack([np.stack([f.outcome, f.receipt]) for f in forms])
    within = np.mean([f.joint for f in forms], axis=0)
    centre = effects.mean(axis=0)
    apart = np.where(np.ptp(effects, axis=0) == 0, 0.0, effects - centre)
    between = np.einsum("mat,mbt->abt", apart, apart) / max(m - 1, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        theta = centre[0] / centre[1]
        along = apart[:, 0] - theta * apart[:, 1]
        variances = np.stack([_along(f.joint, theta) for f in forms])
        contrast = pool(along, variances, np.mean([f.df for f in forms], axis=0), rule)
    flags = np.zeros(len(theta), dtype=np.int64)
    for bit in BIT.values():
        flags |= np.where(np.mean([(f.flags & bit) > 0 for f in forms], axis=0) >= 0.5, bit, 0)
    return ReducedForms(
        outcome=centre[0], receipt=centre[1], joint=within + (1.0 + 1.0 / m) * between, df=contrast.df, flags=flags,
        singular=np.mean([f.singular for f in forms], axis=0) >= 0.5,
        extras={
            "fmi": contrast.fmi, "riv": contrast.riv, "df_complete": np.mean([f.df for f in forms], axis=0),
        },
    )  # fmt: skip


def _along(joint: Floats, theta: Floats) -> Floats:
    """Variance of outcome - theta receipt (trials,)."""
    return np.asarray(joint[0, 0] - 2.0 * theta * joint[0, 1] + theta**2 * joint[1, 1])
