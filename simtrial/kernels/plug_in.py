"""Draws of the coefficients with both variances at their REML estimates, in place of a prior of the variances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simtrial.kernels.posterior import TINY, Draw
from simtrial.kernels.random_intercept_criterion import SizeSums
from simtrial.kernels.random_intercept_fit import Fit, fit
from simtrial.kernels.small_matrices import apply, cholesky


@dataclass(frozen=True)
class PlugIn:
    """REML fit of every trial, from which coefficients are drawn: N(beta, sigma2 C^-1)."""

    fit: Fit

    @classmethod
    def of(cls, sums: SizeSums) -> PlugIn:
        """Fit every trial."""
        with np.errstate(over="ignore"):  # squares of outcomes far out of range
            return cls(fit(sums))

    @property
    def proper(self) -> NDArray[np.bool_]:
        """Trials with an optimum at which people of a practice differ (trials,)."""
        sigma2 = self.fit.sigma2
        return np.asarray(np.isfinite(sigma2) & (sigma2 > TINY) & self.fit.converged & ~self.fit.limit)

    def draw(self, rng: np.random.Generator) -> Draw:
        """Draw the coefficients; the variances are the estimates."""
        at, sigma2 = self.fit.at, self.fit.sigma2
        noise = np.sqrt(sigma2) * rng.standard_normal(at.coefficients.shape)
        return Draw(self.fit.gamma, sigma2, at.coefficients + apply(cholesky(at.inverse), noise))
