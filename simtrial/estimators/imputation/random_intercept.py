"""Imputation from a random-intercept regression, by exact independent draws from its posterior."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.arrays import Bools, Floats, Ints
from simtrial.batch import ObservedBatch
from simtrial.estimators.imputation.engine import ImputationEngine, register_imputation
from simtrial.estimators.imputation.incomplete import Incomplete
from simtrial.estimators.imputation.regressions import FittedRegressions, Parameters, gaps, mean, reason
from simtrial.flags import BIT
from simtrial.kernels.imputed_values import Gaps, Practices, imputed_values
from simtrial.kernels.plug_in import PlugIn
from simtrial.kernels.posterior import Draw, posterior
from simtrial.kernels.random_intercept_criterion import SizeSums
from simtrial.kernels.variance_priors import UNIFORM_ICC, InverseGamma, RatioPrior, UniformTau, VariancePrior
from simtrial.kernels.within_basis import used_up
from simtrial.moments.build import Known, predictors
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec

IMPROPER = "it does not vary within practices, so the intracluster correlation has no posterior"
ENDLESS = (
    "it does not vary within practices, or there are fewer than two more practices than coefficients at their level, "
    "so that the intracluster correlation has no posterior where the SD between practices is uniform"
)


class Drawable(Protocol):
    """What the parameters of the model are drawn from, for every trial of some sums."""

    @property
    def proper(self) -> Bools:
        """Trials in which there is something to draw (trials,)."""

    def draw(self, rng: np.random.Generator) -> Draw:
        """Draw the parameters of every trial once."""


Tabulate = Callable[[SizeSums, Bools], Drawable]
"""From the sums of trials, and for which of them something is drawn (trials,)."""


@register_imputation("random-intercept")
class RandomIntercept(ImputationEngine):
    """Random-intercept regression of follow-up on the columns of the model, flat in the coefficients.

    A missing baseline is drawn first, from its regression on arm and the other covariates, and on the follow-up as well
    for those who have one; its posterior rests on those with every variable observed.
    """

    arm_alone: ClassVar[bool] = True
    takes_arm: ClassVar[bool] = True

    prior: Literal["uniform-icc", "half-normal", "half-cauchy", "uniform-tau", "inverse-gamma", "reml"] = Field(
        "uniform-icc", description="prior of the variances; reml: none, both at their estimates"
    )
    ratio_scale: float = Field(0.5, gt=0, description="scale of half-normal and half-cauchy, the priors of tau/sigma")
    tau2_shape: float = Field(0.5, gt=0, description="inverse-gamma shape of the between-practice variance")
    tau2_scale: float = Field(0.5, gt=0, description="inverse-gamma scale of the between-practice variance")
    sigma2_shape: float = Field(0.5, ge=0, description="inverse-gamma shape of the residual variance")
    sigma2_scale: float = Field(0.5, ge=0, description="inverse-gamma scale of the residual variance")

    def variance_prior(self) -> VariancePrior | None:
        """Prior of the variances; None: they are not drawn."""
        if self.prior == "reml":
            return None
        if self.prior == "half-normal" or self.prior == "half-cauchy":
            return RatioPrior(self.prior, self.ratio_scale)
        if self.prior == "inverse-gamma":
            return InverseGamma((self.tau2_shape, self.tau2_scale), (self.sigma2_shape, self.sigma2_scale))
        return UNIFORM_ICC if self.prior == "uniform-icc" else UniformTau()

    def tabulated(self, sums: SizeSums, needed: Bools) -> Drawable:
        """Find what is drawn from in every trial."""
        prior = self.variance_prior()
        return PlugIn.of(sums) if prior is None else posterior(sums, prior, needed=needed)

    def fit(self, incomplete: Incomplete) -> FittedRegressions:
        """Fit the regressions of whatever is missing, those of the baseline first."""
        improper = ENDLESS if self.prior == "uniform-tau" else IMPROPER
        return FittedRegressions(
            incomplete,
            tuple(
                MissingColumn.of(incomplete.batch, spec, fitted, rows, self.tabulated, improper)
                for spec, fitted, rows in gaps(incomplete)
            ),
        )


@dataclass(frozen=True, kw_only=True)
class MissingColumn:
    """One column to fill for some participants: the model it is drawn from, and its posterior in every usable trial.

    ``failed`` (trials,) are trials with something to fill whose model cannot be fitted: their ``flags`` say why, or
    there is nothing to draw from, for which ``improper`` has the words.
    """

    column: str
    spec: Spec
    fitted: Moments
    usable: Ints
    table: Drawable | None
    rows: Ints
    failed: Bools
    improper: str
    known: Known = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, batch: ObservedBatch, spec: Spec, fitted: Moments, rows: Ints, tabulate: Tabulate, improper: str
    ) -> MissingColumn:
        """Fit the model of a column; rows of trials where it cannot be fitted are left blank."""
        trial = batch.index.participant_trial[rows]
        wanted = np.zeros(batch.index.trials, dtype=bool)
        wanted[trial] = True
        able, usable, table = ~fitted.failed, fitted.usable, None
        if (able & wanted).any():
            table = tabulate(fitted.size_sums(), wanted[usable])
            if not table.proper.all():  # squares out of the range of numbers
                proper = np.flatnonzero(table.proper)
                usable = usable[proper]
                table = tabulate(fitted.size_sums().take(proper), wanted[usable]) if len(proper) else None
                able = np.isin(np.arange(len(able)), usable)
        return cls(
            column=spec.outcome, spec=spec, fitted=fitted, usable=usable, table=table, rows=rows[able[trial]],
            failed=wanted & ~able, improper=improper,
        )  # fmt: skip

    @property
    def drawable(self) -> bool:
        """Whether there is a trial to draw for."""
        return self.table is not None

    def drawn(self, batch: ObservedBatch, rng: np.random.Generator) -> Floats:
        """Draw parameters, practice effects and values once for every trial; the column filled (participants,)."""
        gamma, sigma2, beta = self._everywhere(batch, rng)
        noise = rng.standard_normal(batch.index.practices)[self._among]
        x = predictors(batch, self.spec, self.fitted, self.rows, self.known)
        values = batch.at(self.column).copy()
        values[self.rows] = imputed_values(
            self._practices, self._gaps, x, gamma, sigma2, beta, noise, rng.standard_normal(len(self.rows))
        )
        return values

    def parameters(self, batch: ObservedBatch, rng: np.random.Generator) -> Parameters:
        """Draw parameters and practice effects once for every trial; 0 where nothing can be drawn."""
        gamma, sigma2, beta = self._everywhere(batch, rng)
        every = self._seen(np.arange(batch.index.practices))
        noise = rng.standard_normal(batch.index.practices)
        return Parameters(beta, sigma2, every.effects(gamma, sigma2, beta, noise))

    def _everywhere(self, batch: ObservedBatch, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
        """One draw of gamma, sigma2 (trials,) and the coefficients (p, trials), 0 where nothing can be drawn."""
        assert self.table is not None
        drawn, trials = self.table.draw(rng), batch.index.trials
        if len(self.usable) == trials:
            return drawn.gamma, drawn.sigma2, drawn.coefficients
        gamma, sigma2 = (_spread(values, self.usable, trials) for values in (drawn.gamma, drawn.sigma2))
        return gamma, sigma2, _spread(drawn.coefficients, self.usable, trials)

    @cached_property
    def _among(self) -> Ints:
        """Practices of those to be filled."""
        return np.unique(self.fitted.analysed.index.participant_practice[self.rows])

    @cached_property
    def _practices(self) -> Practices:
        return self._seen(self._among)

    @cached_property
    def _gaps(self) -> Gaps:
        index, fitted = self.fitted.analysed.index, self.fitted
        trial = index.participant_trial[self.rows]
        place = np.searchsorted(self._among, index.participant_practice[self.rows])
        return Gaps(place, trial, fitted.center[fitted.regressors, trial])

    def _seen(self, practices: Ints) -> Practices:
        """What the analysed people of some practices tell of them."""
        fitted = self.fitted
        index, clusters, p = fitted.analysed.index, fitted.analysed.cluster, fitted.regressors
        cluster = np.full(index.practices, -1)
        cluster[clusters] = np.arange(len(clusters))
        there, own = cluster[practices] >= 0, cluster[practices]
        sizes, means = np.zeros(len(practices)), np.zeros((p + 1, len(practices)))
        sizes[there], means[:, there] = fitted.sizes[own[there]], fitted.means[: p + 1, own[there]]
        return Practices(index.practice_trial[practices], sizes, means)

    def mean(self, batch: ObservedBatch, own: Parameters, rows: Ints) -> Floats:
        """Mean of the column for some participants, given the parameters (rows,)."""
        return mean(batch, self.spec, self.fitted, own, rows, self.known if rows is self.rows else None)

    @property
    def flags(self) -> NDArray[np.int64]:
        """Trials in which only the prior tells the two variances apart (trials,).

        There is one person in every practice, or covariates use up what people of a practice differ in, or within an
        arm there are no more practices than coefficients at their level.
        """
        fitted = self.fitted
        alone = fitted.counts == fitted.clusters
        alone |= ~fitted.kept[-1] & (fitted.clusters <= fitted.cluster_rank)
        if len(fitted.usable):
            alone[fitted.usable] |= used_up(fitted.size_sums())
        alone &= ~fitted.failed & ~self.failed
        there = np.zeros(len(alone), dtype=bool)
        there[self.fitted.analysed.index.participant_trial[self.rows]] = True
        return np.where(alone & there, BIT["tau2_not_identified"], 0)

    def reason(self, trial: int) -> str:
        """Say why the model of one trial cannot be fitted."""
        return reason(self.column, int(self.fitted.flags[trial]), self.improper)


def _spread(values: Floats, usable: Ints, trials: int) -> Floats:
    out = np.zeros((*values.shape[:-1], trials))
    out[..., usable] = values
    return out
