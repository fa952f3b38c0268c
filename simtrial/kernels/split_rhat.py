"""Has a chain settled? R-hat of its two halves."""

from __future__ import annotations

import numpy as np

from simtrial.arrays import Floats


def split_rhat(trace: Floats) -> Floats:
    """Gelman and Rubin's R-hat of the two halves of a chain (Gelman et al. 2013, Bayesian Data Analysis, section 11.4).

    Parameters
    ----------
    trace
        States of the chain along the first axis (states, ...), the middle one of an odd number left out.

    Returns
    -------
    rhat
        (...), 1 where nothing moves, NaN with fewer than four states.
    """
    half = len(trace) // 2
    if half < 2:
        return np.full(trace.shape[1:], np.nan)
    halves = np.stack([trace[:half], trace[len(trace) - half :]])
    within = halves.var(axis=1, ddof=1).mean(axis=0)
    between = half * halves.mean(axis=1).var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        rhat = np.sqrt((half - 1) / half + between / (half * within))
    return np.asarray(np.where(np.ptp(trace, axis=0) == 0.0, 1.0, rhat))
