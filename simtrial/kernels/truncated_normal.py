"""Draws from normal distributions cut at 0, by inversion of the tail that is left."""

from __future__ import annotations

import numpy as np

from simtrial.arrays import Bools, Floats


def one_sided(mean: Floats, positive: Bools, rng: np.random.Generator) -> Floats:
    """Draw from N(mean, 1) above 0 where ``positive``, else below 0 (rows,).

    Both are mirrored to the upper tail: with s the sign, s x = s mean - z', z' below s mean. With means more than 37
    SDs on the wrong side the draw is the cut itself.
    """
    from scipy.special import ndtr, ndtri

    sign = np.where(positive, 1.0, -1.0)
    inside = np.maximum(rng.random(len(mean)) * ndtr(sign * mean), 1e-300)
    return np.asarray(sign * np.maximum(sign * mean - ndtri(inside), 0.0))
