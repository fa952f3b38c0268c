"""Contact with the intervention over time: care partners in post, the first contact, and the length of sessions."""

from __future__ import annotations

import numpy as np

from simtrial.arrays import Floats

SHORTEST = 10.0
"""Minutes from which a meeting counts as a session."""


def mean_length(sessions: Floats, mean: float, sd: float, rng: np.random.Generator) -> Floats:
    """Mean length in minutes of the sessions of each person, blank without one (participants,).

    A single session lasts 10 minutes and a gamma of mean m = ``mean`` - 10 and SD ``sd`` more, so the mean of S of them
    is 10 + m Gamma(S k)/(S k), k = (m/sd)^2: variance sd^2/S.
    """
    beyond = mean - SHORTEST
    shape = np.maximum(sessions, 1.0) * (beyond / sd) ** 2
    return np.where(sessions > 0, SHORTEST + beyond * rng.standard_gamma(shape) / shape, np.nan)


def in_post(propensity: Floats, months: int, turnover: float, rng: np.random.Generator) -> Floats:
    """Share of months with a care partner in post, a two-state Markov chain for each practice (practices,).

    Each month it is decided anew with probability ``turnover`` whether the post is filled, with the practice's
    ``propensity`` p: p is the stationary share, months k apart correlate rho^k, rho = 1 - turnover, and the share of m
    months has mean p and variance p (1 - p)/m (1 + 2 sum_{k<m} (1 - k/m) rho^k).
    """
    filled = np.zeros(len(propensity))
    total = np.zeros(len(propensity))
    for month in range(months):
        kept = (1.0 - turnover) * filled if month else 0.0
        now = turnover * propensity if month else propensity
        filled = (rng.random(len(propensity)) < kept + now).astype(np.float64)
        total += filled
    return total / months
