"""Biases of `verify/missing-outcomes` in large trials: sums over baselines (Gauss-Hermite) and sessions."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import optimize, stats

SLOPE, LOST, EFFECT, DELTA = 0.6, 0.3, 1.0, -0.5
CELLS = ((0.0, 0.0, 0.0), (0.8, 0.0, 0.0), (0.0, -0.8, 0.0), (0.8, 0.0, DELTA))
"""Slopes of dropout in intervention on baseline and on sessions, and the shift of those who leave."""


def population() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Baselines, sessions and their probabilities: N(0, 1), and 0 for 9%, else zero-truncated negative binomial."""
    k, mu, shape = np.arange(1, 400), 10.4, 3.0
    some = stats.nbinom.pmf(k, shape, shape / (shape + mu))
    sessions, mass = np.concatenate([[0], k]), np.concatenate([[0.09], 0.91 * some / some.sum()])
    x, w = np.polynomial.hermite_e.hermegauss(60)
    return np.repeat(x, len(sessions)), np.tile(sessions, len(x)), np.outer(w / w.sum(), mass).ravel()


@dataclass(frozen=True)
class Cell:
    """One cell: control loses 30% at random, intervention by a probit model."""

    on_baseline: float
    on_sessions: float
    shift: float

    @cached_property
    def biases(self) -> dict[str, float]:
        """Bias of every method."""
        x, sessions, mass = population()
        mean = mass @ sessions
        z = (sessions - mean) / np.sqrt(mass @ (sessions - mean) ** 2)
        score = self.on_baseline * x + self.on_sessions * z
        limit = optimize.brentq(lambda c: mass @ stats.norm.sf(c - score) - LOST, -10, 10, xtol=1e-13)
        stays = stats.norm.cdf(limit - score)
        here = mass * stays / (1 - LOST)  # of those who stay
        y = SLOPE * x + EFFECT * (sessions >= 6)
        truth = EFFECT * (mass @ (sessions >= 6)) + LOST * self.shift
        seen, at = here @ y, here @ x
        squares = here @ (x - at) ** 2
        slope = (SLOPE + here @ ((x - at) * y)) / (1 + squares)  # the same for both arms; control has squares 1
        one_slope = seen - slope * at
        columns = np.stack([np.ones_like(x), x, z])
        both = np.linalg.solve((columns * here) @ columns.T, (columns * here) @ y) @ columns
        alone = np.linalg.solve((columns[:2] * here) @ columns[:2].T, (columns[:2] * here) @ y) @ columns[:2]
        weight = self._weights(columns, mass, stays)
        weighted = mass * stays * weight
        gone = mass * (1 - stays)
        found = {
            "complete cases": seen,
            "complete cases, adjusted": one_slope,
            "weighting": weighted @ y / weighted.sum(),
            "augmented weighting": mass @ alone + weighted @ (y - alone),
            "imputation": one_slope,
            "imputation with sessions, by arm": (1 - LOST) * seen + gone @ both,
            "imputation with six sessions, by arm": (1 - LOST) * seen + gone @ y,  # the curve of the outcome itself
            "imputation, practices ignored": one_slope,
            "imputation, practices fixed": one_slope,
            "imputation, half a point worse": one_slope + LOST * DELTA,
            "mean imputed": (1 - LOST) * seen,  # both arms get the same mean
            "baseline carried forward": (1 - LOST) * seen + gone @ x,
        }
        return {method: float(value - truth) for method, value in found.items()}

    @staticmethod
    def _weights(columns: np.ndarray, mass: np.ndarray, stays: np.ndarray) -> np.ndarray:
        """One over the probabilities of the logistic regression that is nearest to the probit, none above 20."""
        start = np.array([1.4, 0.0, 0.0])
        found = optimize.root(lambda g: (columns * mass) @ (stays - 1 / (1 + np.exp(-g @ columns))), start, tol=1e-13)
        return np.minimum(1 + np.exp(-found.x @ columns), 20.0)


BIASES = {cell: Cell(*cell).biases for cell in CELLS}
