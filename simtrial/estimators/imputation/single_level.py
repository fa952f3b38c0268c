"""Imputation from a regression that takes people as independent: practices are ignored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats, Ints
from simtrial.batch import ObservedBatch
from simtrial.estimators.imputation.engine import ImputationEngine, register_imputation
from simtrial.estimators.imputation.incomplete import Incomplete
from simtrial.estimators.imputation.regressions import FittedRegressions, Parameters, gaps, mean, reason
from simtrial.kernels.posterior import TINY
from simtrial.kernels.small_matrices import apply, cholesky
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec

IMPROPER = "no residual variance can be computed"


@register_imputation("single-level")
class SingleLevel(ImputationEngine):
    """Normal regression that ignores practices: the pooled standard error is too small.

    p(coefficients, sigma2) proportional to 1/sigma2: sigma2 is the residual sum of squares over a chi-squared variable,
    coefficients are normal given it. A missing baseline is drawn first.
    """

    arm_alone: ClassVar[bool] = True
    takes_arm: ClassVar[bool] = True

    def fit(self, incomplete: Incomplete) -> FittedRegressions:
        """Fit the regressions of whatever is missing, those of the baseline first."""
        batch = incomplete.batch
        return FittedRegressions(
            incomplete, tuple(Regression.of(batch, spec, fitted, rows) for spec, fitted, rows in gaps(incomplete))
        )


@dataclass(frozen=True, kw_only=True)
class Regression:
    """One column to fill, and the least-squares fit it is drawn from; see `FilledColumn`.

    ``latent``: the outcomes of a probit model, whose scale is drawn by Haar's measure (`LatentScale` of the priors).
    """

    column: str
    spec: Spec
    fitted: Moments
    rows: Ints
    failed: Bools
    latent: bool = False

    @classmethod
    def of(cls, batch: ObservedBatch, spec: Spec, fitted: Moments, rows: Ints, latent: bool = False) -> Regression:
        """Fit the model of a column; rows of trials where it cannot be fitted are left blank."""
        trial = batch.index.participant_trial[rows]
        squares = fitted.least_squares.residual[0, 0]
        able = ~fitted.failed & np.isfinite(squares) & (squares > TINY) & (fitted.counts > fitted.rank)
        wanted = np.bincount(trial, minlength=fitted.trials) > 0
        return cls(
            column=spec.outcome, spec=spec, fitted=fitted, rows=rows[able[trial]], failed=wanted & ~able, latent=latent
        )

    @property
    def drawable(self) -> bool:
        """Whether there is a trial to draw for."""
        return len(self.rows) > 0

    @property
    def flags(self) -> NDArray[np.int64]:
        """None: nothing but the mean and the residual variance is estimated (trials,)."""
        return np.zeros(self.fitted.trials, dtype=np.int64)

    def reason(self, trial: int) -> str:
        """Say why the model of one trial cannot be fitted."""
        return reason(self.column, int(self.fitted.flags[trial]), IMPROPER)

    def drawn(self, batch: ObservedBatch, rng: np.random.Generator) -> Floats:
        """Draw sigma2, the coefficients given it, and values; the column filled (participants,)."""
        own = self.parameters(batch, rng)
        values = batch.at(self.column).copy()
        noise = np.sqrt(own.sigma2[batch.index.participant_trial[self.rows]])
        values[self.rows] = self.mean(batch, own, self.rows) + noise * rng.standard_normal(len(self.rows))
        return values

    def parameters(self, batch: ObservedBatch, rng: np.random.Generator) -> Parameters:
        """Draw sigma2, and the coefficients given it; practices have no effects."""
        fitted, p, trials = self.fitted, self.fitted.regressors, self.fitted.trials
        used = np.unique(batch.index.participant_trial[self.rows])
        least, sigma2, beta = fitted.least_squares, np.zeros(trials), np.zeros((p, trials))
        shape = 0.5 * (fitted.counts if self.latent else fitted.counts - fitted.rank)[used]
        sigma2[used] = 0.5 * least.residual[0, 0, used] / rng.standard_gamma(shape)
        noise = np.sqrt(sigma2[used]) * rng.standard_normal((p, len(used)))
        beta[:, used] = least.coefficients[:, 0, used] + apply(cholesky(least.inverse[:, :, used]), noise)
        return Parameters(beta, sigma2, np.zeros(batch.index.practices))

    def mean(self, batch: ObservedBatch, own: Parameters, rows: Ints) -> Floats:
        """Mean of the column for some participants, given the parameters (rows,)."""
        return mean(batch, self.spec, self.fitted, own, rows)
