"""Effects of allocation on outcome and on receipt pooled over imputations, before their ratio is taken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats
from simtrial.estimators import Estimates
from simtrial.estimators.compliers.iv import InstrumentalVariable
from simtrial.estimators.compliers.iv_means import ReducedForms
from simtrial.flags import BIT
from simtrial.kernels.rubin import Rule, pool
from simtrial.moments.moments import Moments


def pooled_forms(forms: Sequence[ReducedForms], rule: Rule) -> ReducedForms:
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


def pooled_ratio(
    ratio: InstrumentalVariable, completed: Iterable[Moments], rule: Rule, unfit: Bools,
    flags: NDArray[np.int64],
) -> tuple[Estimates, Moments]:  # fmt: skip
    """Pool the effects on outcome and receipt, then divide; and the moments of the first completed trials."""
    made = list(completed)
    forms = pooled_forms([ratio.reduced_forms(one) for one in made], rule)
    robust = forms if ratio.se != "classical" else pooled_forms([ratio.reduced_forms(m, "CR2") for m in made], rule)
    bad = unfit | np.any([one.failed for one in made], axis=0)
    for bit in BIT.values():
        flags = flags | np.where(np.mean([(one.flags & bit) > 0 for one in made], axis=0) >= 0.5, bit, 0)
    flags = flags | np.where(bad, BIT["imputation_failed"], 0)
    return ratio.ratio_of(made[0], forms, robust, bad, flags), made[0]


def _along(joint: Floats, theta: Floats) -> Floats:
    """Variance of outcome - theta receipt (trials,)."""
    return np.asarray(joint[0, 0] - 2.0 * theta * joint[0, 1] + theta**2 * joint[1, 1])
