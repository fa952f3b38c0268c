"""Logistic regressions of many subsets of the same rows at once, trials together."""

from __future__ import annotations

import numpy as np

from simtrial.arrays import Floats

STEPS = 30
LARGEST = 2.0  # step of a coefficient of a predictor of SD 1
STILL = 1e-18  # twice the gain of a step after which the next one is rounding; no set waits for another
RIDGE = 1e-12  # share of the trace that keeps a flat direction solvable; it does not move a finite solution


def fit(predictors: Floats, outcome: Floats, weight: Floats, start: Floats) -> Floats:
    """Coefficients of maximum likelihood by Newton's method (trials, sets, q).

    Without a finite maximum the steps end on the way to probabilities of 0 and 1, which is not reported here:
    `simtrial.kernels.logistic` tells it.

    Parameters
    ----------
    predictors, outcome
        (trials, N, q) and (trials, N).
    weight
        0 or 1 by subset (trials, sets, N).
    start
        (trials, sets, q).
    """
    trials, n, q = predictors.shape
    squares = (predictors[:, :, :, None] * predictors[:, :, None]).reshape(trials, n, q * q)
    at, going = start.copy(), np.ones(start.shape[:2], dtype=bool)
    for _ in range(STEPS):
        score, information = _at(at, predictors, squares, outcome, weight)
        step = np.linalg.solve(information, score[..., None])[..., 0]
        at += going[..., None] * step / np.maximum(1.0, np.abs(step).max(axis=-1, keepdims=True) / LARGEST)
        going &= (step * score).sum(axis=-1) > STILL
        if not going.any():
            break
    return at


def _at(at: Floats, predictors: Floats, squares: Floats, outcome: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Score (trials, sets, q) and information (trials, sets, q, q)."""
    q = predictors.shape[2]
    chance = probability(at, predictors)
    score = (weight * (outcome[:, None] - chance)) @ predictors
    information = ((weight * chance * (1.0 - chance)) @ squares).reshape(*at.shape, q)
    trace = np.einsum("...ii->...", information)
    return score, information + (RIDGE * trace + 1e-200)[..., None, None] * np.eye(q)


def probability(at: Floats, predictors: Floats) -> Floats:
    """Probabilities by subset (trials, sets, N)."""
    line = np.clip(at @ predictors.transpose(0, 2, 1), -700.0, 700.0)
    return np.asarray(1.0 / (1.0 + np.exp(-line)))
