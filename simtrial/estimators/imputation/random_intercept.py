"""Imputation from a random-intercept regression, by exact independent draws from its posterior."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.arrays import Bools, Floats, Ints
from simtrial.batch import ObservedBatch
from simtrial.estimators.imputation.engine import ImputationEngine, register_imputation
from simtrial.estimators.imputation.incomplete import Incomplete
from simtrial.flags import BIT
from simtrial.kernels.posterior import InverseGamma, Posterior, draw, posterior, practice_effects
from simtrial.moments.build import moments, predictors
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec

REASONS = {
    "one_arm": "all people with everything observed are in one arm",
    "no_data": "no more people with everything observed than coefficients",
    "arm_aliased": "arm is collinear with the covariates among the people with everything observed",
    "out_of_range": "its values are too large or too small to be computed with",
    "constant_outcome": "it is constant given the covariates",
}
IMPROPER = "it does not vary within practices, so the intracluster correlation has no posterior"


@register_imputation("random-intercept")
class RandomIntercept(ImputationEngine):
    """Random-intercept regression of follow-up on the columns of the model, flat in the coefficients.

    A missing baseline is drawn first, from its regression on arm and the other covariates, and on the follow-up as well
    for those who have one; its posterior rests on those with every variable observed.
    """

    prior: Literal["uniform-icc", "inverse-gamma"] = Field("uniform-icc", description="prior of the variances")
    tau2_shape: float = Field(0.5, gt=0, description="inverse-gamma shape of the between-practice variance")
    tau2_scale: float = Field(0.5, gt=0, description="inverse-gamma scale of the between-practice variance")
    sigma2_shape: float = Field(0.5, ge=0, description="inverse-gamma shape of the residual variance")
    sigma2_scale: float = Field(0.5, ge=0, description="inverse-gamma scale of the residual variance")

    def inverse_gamma(self) -> InverseGamma | None:
        """Prior of the variances; None is uniform-icc."""
        if self.prior == "uniform-icc":
            return None
        return InverseGamma((self.tau2_shape, self.tau2_scale), (self.sigma2_shape, self.sigma2_scale))

    def fit(self, incomplete: Incomplete) -> FittedRegressions:
        """Fit the regressions of whatever is missing, those of the baseline first."""
        batch, spec, baseline = incomplete.batch, incomplete.spec, incomplete.model.baseline
        prior, no_outcome = self.inverse_gamma(), incomplete.lacks(spec.outcome)
        missing: list[MissingColumn] = []
        if baseline is not None:
            no_baseline = incomplete.lacks(baseline)
            for names, people in (
                ((*incomplete.covariates, spec.outcome), no_baseline & ~no_outcome),
                (incomplete.covariates, no_baseline & no_outcome),
            ):
                if people.any():
                    own = Spec(baseline, None, names, spec.where)
                    missing.append(MissingColumn.of(batch, own, moments(batch, own), prior, np.flatnonzero(people)))
        missing.append(MissingColumn.of(batch, spec, incomplete.moments, prior, np.flatnonzero(no_outcome)))
        return FittedRegressions(incomplete, tuple(missing))


@dataclass(frozen=True, kw_only=True)
class MissingColumn:
    """One column to fill for some participants: the model it is drawn from, and its posterior in every usable trial.

    ``failed`` (trials,) are trials with something to fill whose model cannot be fitted: their ``flags`` say why.
    """

    column: str
    spec: Spec
    fitted: Moments
    usable: Ints
    table: Posterior | None
    rows: Ints
    failed: Bools

    @classmethod
    def of(
        cls, batch: ObservedBatch, spec: Spec, fitted: Moments, prior: InverseGamma | None, rows: Ints
    ) -> MissingColumn:
        """Fit the model of a column; rows of trials where it cannot be fitted are left blank."""
        trial = batch.index.participant_trial[rows]
        wanted = np.zeros(batch.index.trials, dtype=bool)
        wanted[trial] = True
        able, usable, table = ~fitted.failed, fitted.usable, None
        if (able & wanted).any():
            table = posterior(fitted.size_sums(), prior, needed=wanted[usable])
            if not table.proper.all():  # squares out of the range of numbers
                proper = np.flatnonzero(table.proper)
                usable = usable[proper]
                table = (
                    posterior(fitted.size_sums().take(proper), prior, needed=wanted[usable]) if len(proper) else None
                )
                able = np.isin(np.arange(len(able)), usable)
        return cls(
            column=spec.outcome, spec=spec, fitted=fitted, usable=usable, table=table, rows=rows[able[trial]],
            failed=wanted & ~able,
        )  # fmt: skip

    def drawn(self, batch: ObservedBatch, rng: np.random.Generator) -> Floats:
        """Draw parameters, practice effects and values once for every trial; the column filled (participants,)."""
        index, fitted, usable = batch.index, self.fitted, self.usable
        p = fitted.regressors
        assert self.table is not None
        drawn = draw(self.table, rng)
        gamma, sigma2 = (_spread(x, usable, index.trials) for x in (drawn.gamma, drawn.sigma2))
        beta = np.zeros((p, index.trials))
        beta[:, usable] = drawn.coefficients
        sizes, residual = np.zeros(index.practices), np.zeros(index.practices)
        sizes[fitted.analysed.cluster] = fitted.sizes
        fitted_means = np.einsum("pc,pc->c", fitted.means[:p], beta[:, fitted.cluster_trial])
        residual[fitted.analysed.cluster] = fitted.means[p] - fitted_means
        trial = index.practice_trial
        effects = practice_effects(gamma[trial], sigma2[trial], sizes, residual, rng)
        people = index.participant_trial[self.rows]
        mean = np.einsum("pn,pn->n", predictors(batch, self.spec, fitted, self.rows), beta[:, people])
        mean += fitted.center[p, people] + effects[index.participant_practice[self.rows]]
        values = batch.at(self.column).copy()
        values[self.rows] = mean + np.sqrt(sigma2[people]) * rng.standard_normal(len(self.rows))
        return values

    @property
    def flags(self) -> NDArray[np.int64]:
        """Practices of one person, whose two variances only the prior tells apart (trials,)."""
        alone = (self.fitted.counts == self.fitted.clusters) & ~self.fitted.failed & ~self.failed
        there = np.zeros(len(alone), dtype=bool)
        there[self.fitted.analysed.index.participant_trial[self.rows]] = True
        return np.where(alone & there, BIT["tau2_not_identified"], 0)

    def reason(self, trial: int) -> str:
        """Say why the model of one trial cannot be fitted."""
        flags = int(self.fitted.flags[trial])
        reason = next((words for flag, words in REASONS.items() if flags & BIT[flag]), IMPROPER)
        return f"the imputation model of '{self.column}' cannot be fitted: {reason}"


def _spread(values: Floats, usable: Ints, trials: int) -> Floats:
    out = np.zeros(trials)
    out[usable] = values
    return out


@dataclass(frozen=True)
class FittedRegressions:
    """The missing columns of a batch in the order they are filled, each with its fitted model."""

    incomplete: Incomplete
    missing: tuple[MissingColumn, ...]

    def complete(self, rng: np.random.Generator) -> ObservedBatch:
        """Fill every column once."""
        batch = self.incomplete.batch
        for each in self.missing:
            if each.table is not None:
                batch = self.incomplete.filled(batch, each.column, each.drawn(batch, rng))
        return batch

    @property
    def failed(self) -> Bools:
        """Trials in which somebody needs a value from a model that cannot be fitted (trials,)."""
        return np.asarray(np.any([each.failed for each in self.missing], axis=0))

    @property
    def flags(self) -> NDArray[np.int64]:
        """What is odd about the models of trials in which they were used (trials,)."""
        return np.asarray(np.bitwise_or.reduce([each.flags for each in self.missing]))

    def reason(self, trial: int) -> str:
        """Say of a trial that failed which model cannot be fitted, and why."""
        return next(each.reason(trial) for each in self.missing if each.failed[trial])
