"""Reduced forms of mixed models: effects of allocation on outcome and on receipt, their covariance by jackknife."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats
from simtrial.estimators.compliers.iv_means import ReducedForms
from simtrial.flags import BIT
from simtrial.moments import leave_one_out
from simtrial.moments.moments import Moments

ROUNDED = 1e-9  # of a whole number, up to which receipt is that number: what its mean and deviation add up to


def reduced_forms_of_mixed_models(moments: Moments, df: str) -> ReducedForms:
    """Arm coefficients of two random-intercept models by REML, refitted without each practice in turn.

    With theta_(j) the pair without practice j, the joint covariance is the jackknife (J - 1)/J sum_j (theta_(j) -
    mean)(theta_(j) - mean)'. Variances, and with them the weights of practices, are estimated anew each time. ``df``
    satterthwaite, which a jackknife has not, means clusters-p.
    """
    assert moments.parent is not None
    outcome, less_outcome, alone = _coefficients(moments.parent)
    receipt, less_receipt, also = _coefficients(_of_receipt(moments))
    explained = _explained(moments)
    least_squares = moments.least_squares.coefficients[-1, 1]
    receipt = np.where(explained, least_squares, receipt)
    less_receipt = np.where(explained[:, None], least_squares[:, None], less_receipt)
    rows = moments.analysed
    there = np.zeros((moments.trials, rows.most), dtype=bool)
    there[rows.cluster_trial, rows.position] = True
    without = np.stack([less_outcome, less_receipt])
    told, flags = _identified(moments, without, there)
    joint = np.where(told, _jackknife(without, there, moments.clusters), np.nan)
    spent = {"normal": -np.inf, "clusters-1": 1.0, "clusters-2": 2.0}.get(df, moments.cluster_rank)
    singular = np.asarray(((alone | also) & there).any(axis=1) & ~moments.failed)
    return ReducedForms(
        outcome=outcome, receipt=receipt, joint=joint, df=np.asarray(moments.clusters - spent), singular=singular,
        flags=flags,
    )  # fmt: skip


def _coefficients(moments: Moments) -> tuple[Floats, Floats, Bools]:
    """Arm coefficient with all practices (trials,), without each, and which of them determine one alone."""
    every, without, singular = leave_one_out.coefficients(moments)
    return every[:, -1], without[:, :, -1], singular


def _of_receipt(moments: Moments) -> Moments:
    """The same regressors with receipt, 0 or 1 or a dose, as the only response."""
    receipt = moments.design[-1]
    whole = np.rint(receipt)
    exact = np.where(np.abs(receipt - whole) <= ROUNDED * (1.0 + np.abs(whole)), whole, receipt)
    return moments.root.with_response(exact, measured=False)


def _explained(moments: Moments) -> Bools:
    """Trials in which the regressors explain receipt: least squares fits it without error, and so does any model."""
    return _of_receipt(moments).failed & ~moments.failed


def _jackknife(without: Floats, there: Bools, clusters: Floats) -> Floats:
    """Covariance (2, 2, trials) of two estimates from their values without each practice (2, trials, positions)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = np.where(there, without, 0.0).sum(axis=-1) / clusters
        apart = np.where(there, without - centre[..., None], 0.0)
        return np.asarray((clusters - 1.0) / clusters * np.einsum("atc,btc->abt", apart, apart))


def _identified(moments: Moments, without: Floats, there: Bools) -> tuple[Bools, NDArray[np.int64]]:
    """Trials of which the jackknife says something, and flags: why it does not, and a variance of 0 (trials,)."""
    parent, fitted = moments.parent, ~moments.failed
    assert parent is not None
    few = (moments.flags & BIT["too_few_clusters"]) != 0  # leaving out a practice would empty an arm
    saturated = fitted & (moments.clusters - moments.cluster_rank <= 0)
    converged, boundary = np.ones((2, moments.trials), dtype=bool)
    if len(parent.usable):
        fit = parent.reml_where_told
        converged[parent.usable], boundary[parent.usable] = fit.converged, fit.gamma == 0.0
    unfitted = fitted & ~few & ~saturated & (np.isnan(without) & there).any(axis=(0, 2))
    flags = np.where(saturated, BIT["tau2_not_identified"], 0)
    flags |= np.where(fitted & (~converged | unfitted), BIT["not_converged"], 0)
    flags |= np.where(fitted & boundary, BIT["boundary"], 0)
    return fitted & ~few & ~saturated & converged & ~unfitted, flags
