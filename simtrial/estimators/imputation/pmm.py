"""Imputation by predictive mean matching with practices: values of people whose predicted value is alike."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.arrays import Bools, Floats, Ints
from simtrial.batch import ObservedBatch
from simtrial.estimators.imputation.engine import register_imputation
from simtrial.estimators.imputation.incomplete import Incomplete
from simtrial.estimators.imputation.random_intercept import IMPROPER, MissingColumn, RandomIntercept
from simtrial.estimators.imputation.regressions import FittedRegressions, gaps
from simtrial.kernels.nearest import Donors


@register_imputation("pmm")
class PredictiveMeanMatching(RandomIntercept):
    """Values of people with everything observed whose predicted value is next to that of the one who lacks it.

    Predicted by the random-intercept regression, practice effects included: donors at the REML estimates, recipients at
    draws of the parameters and effects (type 1 of van Buuren 2018, section 3.4.2). Only values that occur are imputed.
    """

    donors: int = Field(5, ge=1, le=1000, description="nearest people of whom one is taken at random")

    def fit(self, incomplete: Incomplete) -> FittedRegressions:
        """Fit the regressions of whatever is missing, those of the baseline first."""
        batch = incomplete.batch
        return FittedRegressions(
            incomplete,
            tuple(
                Matched(MissingColumn.of(batch, spec, fitted, rows, self.tabulated, IMPROPER), batch, self.donors)
                for spec, fitted, rows in gaps(incomplete)
            ),
        )


@dataclass(frozen=True)
class Matched:
    """One column to fill, and the people it is filled from; see `FilledColumn`."""

    model: MissingColumn
    batch: ObservedBatch
    count: int

    @property
    def column(self) -> str:
        """Name of the column."""
        return self.model.column

    @property
    def drawable(self) -> bool:
        """Whether there is a trial to draw for."""
        return self.model.drawable

    @property
    def failed(self) -> Bools:
        """Trials with something to fill whose model cannot be fitted (trials,)."""
        return self.model.failed

    @property
    def flags(self) -> NDArray[np.int64]:
        """What is odd about the models of trials in which they were used (trials,)."""
        return self.model.flags

    def reason(self, trial: int) -> str:
        """Say why the model of one trial cannot be fitted."""
        return self.model.reason(trial)

    @cached_property
    def donors(self) -> Donors:
        """Analysed people, by their fitted value at the REML estimates."""
        own = self.model.fitted
        analysed, fit = own.analysed, own.reml
        beta, gamma = np.zeros((own.regressors, own.trials)), np.zeros(own.trials)
        beta[:, own.usable], gamma[own.usable] = fit.at.coefficients, fit.gamma
        p, trial = own.regressors, own.cluster_trial
        left = own.means[p] - np.einsum("pc,pc->c", own.means[:p], beta[:, trial])
        effects = own.sizes * gamma[trial] / (1.0 + own.sizes * gamma[trial]) * left
        fitted = np.einsum("pn,pn->n", own.design[:p], beta[:, analysed.trial])
        fitted += own.center[p, analysed.trial] + effects[analysed.cluster_of_row]
        return Donors.of(fitted, analysed.trial, own.trials)

    def drawn(self, batch: ObservedBatch, rng: np.random.Generator) -> Floats:
        """Draw parameters, effects and donors once for every trial; the column filled (participants,)."""
        model, rows = self.model, self.model.rows
        values = batch.at(self.column).copy()
        wanted = model.mean(batch, model.parameters(batch, rng), rows)
        trial: Ints = batch.index.participant_trial[rows]
        found = self.donors.drawn(wanted, trial, self.count, rng)
        values[rows] = self.batch.at(self.column)[model.fitted.analysed.rows[found]]
        return values
