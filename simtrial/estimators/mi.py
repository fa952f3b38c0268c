"""Multiple imputation of outcomes under a random-intercept model, wrapped around any other method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SerializeAsAny, field_validator, model_validator

from simtrial.batch import Column, ObservedBatch
from simtrial.design_matrix import Spec
from simtrial.estimators import Estimates, Method, inherit, register, report
from simtrial.estimators.per_protocol import wrapped
from simtrial.flags import BIT
from simtrial.kernels.posterior import InverseGamma, Posterior, draw, posterior, practice_effects
from simtrial.kernels.rubin import pool
from simtrial.moments import Moments
from simtrial.reduce import moments, predictors

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@register("mi")
class MultipleImputation(Method):
    """Impute missing outcomes ``m`` times, analyse each completed trial, pool by Rubin's rules.

    The imputation model is a random-intercept regression of follow-up on arm, the covariates of the analysis and
    ``auxiliary`` columns; draws are independent and exact. A missing baseline is drawn first, from its regression on
    arm and the other covariates, and on the follow-up as well for those who have one; its posterior rests on those
    with every variable observed. Participants who lack another covariate are not imputed and not analysed. ``df``
    barnard-rubin takes its complete-data df from the analysis of the completed data.
    """

    draws: ClassVar[bool] = True

    kind: Literal["mi"] = "mi"
    analysis: SerializeAsAny[Method] = Field(description="the method applied to each completed trial")
    imputation: Literal["random-intercept"] = Field("random-intercept", description="imputation model")
    m: int = Field(20, ge=2, le=10_000, description="imputations")
    prior: Literal["uniform-icc", "inverse-gamma"] = Field("uniform-icc", description="prior of the variances")
    tau2_shape: float = Field(0.5, gt=0, description="inverse-gamma shape of the between-practice variance")
    tau2_scale: float = Field(0.5, gt=0, description="inverse-gamma scale of the between-practice variance")
    sigma2_shape: float = Field(0.5, ge=0, description="inverse-gamma shape of the residual variance")
    sigma2_scale: float = Field(0.5, ge=0, description="inverse-gamma scale of the residual variance")
    auxiliary: list[str] = Field(default_factory=list, description="further columns of the imputation model")
    df: Literal["barnard-rubin", "rubin"] = Field("barnard-rubin", description="degrees of freedom after pooling")

    _inherit = model_validator(mode="before")(inherit)
    _build = field_validator("analysis", mode="before")(wrapped)

    def imputation_spec(self) -> Spec:
        """Outcome and predictors of the imputation model."""
        inner = self.analysis.spec()
        extra = [name for name in self.auxiliary if name not in inner.adjust]
        return Spec(inner.outcome, None, (*inner.adjust, *extra))

    def spec(self) -> Spec:
        """Rows and columns of the imputation model."""
        return self.imputation_spec()

    def expressions(self) -> tuple[str, ...]:
        """Expressions among the options."""
        return self.analysis.expressions()

    def reads(self) -> frozenset[str]:
        """Names of the observed columns the method needs."""
        return self.analysis.reads() | frozenset(self.auxiliary)

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Impute, analyse and pool every trial."""
        if rng is None:
            raise ValueError("multiple imputation draws and needs a generator")
        imputer = Imputer.of(self, batch, moments)
        results = [self._analyse(imputer.complete(rng), every_term) for _ in range(self.m)]
        return self._pooled(results, imputer.failed)

    def _analyse(self, completed: ObservedBatch, every_term: bool) -> tuple[Moments, Estimates]:
        made = moments(completed, self.analysis.spec())
        return made, self.analysis.fit(completed, made, None, every_term)

    def _pooled(self, results: Sequence[tuple[Moments, Estimates]], unfit: NDArray[np.bool_]) -> Estimates:
        made, first = results[0]
        fits = [estimates for _, estimates in results]
        df_complete = np.mean([e.df for e in fits], axis=0)
        pooled = pool(
            np.stack([e.estimate for e in fits]), np.stack([e.std_error for e in fits]) ** 2, df_complete, self.df
        )
        bad = unfit | np.any([e.failed for e in fits], axis=0)
        often = np.zeros(len(bad), dtype=np.int64)
        for bit in BIT.values():
            often |= np.where(np.mean([(e.flags & bit) > 0 for e in fits], axis=0) >= 0.5, bit, 0)
        flags = often | np.where(bad, BIT["imputation_failed"], 0)
        extras = {"fmi": pooled.fmi[0], "riv": pooled.riv[0], "df_complete": df_complete[0]}
        return report(
            made, first.terms, pooled.estimate, pooled.variance, pooled.df, self.level,
            failed=bad, flags=flags, extras=extras,
        )  # fmt: skip

    def inverse_gamma(self) -> InverseGamma | None:
        """Prior of the variances; None is uniform-icc."""
        if self.prior == "uniform-icc":
            return None
        return InverseGamma((self.tau2_shape, self.tau2_scale), (self.sigma2_shape, self.sigma2_scale))


@dataclass(frozen=True)
class Gap:
    """One column to fill for some participants: the model it is drawn from, and its posterior in every trial."""

    column: str
    spec: Spec
    fitted: Moments
    table: Posterior | None
    rows: Ints

    @classmethod
    def of(cls, batch: ObservedBatch, spec: Spec, fitted: Moments, prior: InverseGamma | None, rows: Ints) -> Gap:
        """Fit the model of a column; rows of trials where it cannot be fitted are left blank."""
        rows = rows[~fitted.failed[batch.index.participant_trial[rows]]]
        table = posterior(fitted.size_sums(), prior) if len(rows) else None
        return cls(spec.outcome, spec, fitted, table, rows)

    def fill(self, batch: ObservedBatch, rng: np.random.Generator) -> ObservedBatch:
        """Draw parameters, practice effects and values once for every trial."""
        if self.table is None:
            return batch
        index, fitted = batch.index, self.fitted
        p, usable = fitted.regressors, fitted.usable
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
        return batch.with_columns({self.column: Column(values, "participant")})


def _spread(values: Floats, usable: Ints, trials: int) -> Floats:
    out = np.zeros(trials)
    out[usable] = values
    return out


@dataclass(frozen=True)
class Imputer:
    """The gaps of a batch in the order they are filled, and the trials in which a needed model cannot be fitted."""

    batch: ObservedBatch
    gaps: tuple[Gap, ...]
    failed: NDArray[np.bool_]

    @classmethod
    def of(cls, method: MultipleImputation, batch: ObservedBatch, fitted: Moments) -> Imputer:
        """Find what is missing and fit the models that fill it."""
        spec, prior, index = method.imputation_spec(), method.inverse_gamma(), batch.index
        outcome, baseline = spec.outcome, f"{method.analysis.response}_baseline"
        gaps: list[Gap] = []
        no_outcome = np.isnan(batch.at(outcome))
        others = tuple(name for name in spec.adjust if name != baseline)
        ready = _complete(batch, ("arm", *others))
        needs_baseline = baseline in spec.adjust or method.analysis.spec().minus == baseline
        failed = np.zeros(index.trials, dtype=bool)
        if needs_baseline:
            no_baseline = np.isnan(batch.at(baseline))
            for predictors_, rows in (
                ((*others, outcome), np.flatnonzero(no_baseline & ~no_outcome & ready)),
                (others, np.flatnonzero(no_baseline & no_outcome & ready)),
            ):
                if len(rows):
                    model = Spec(baseline, None, predictors_)
                    gaps.append(_gap(batch, model, moments(batch, model), prior, rows, failed))
        rows = np.flatnonzero(no_outcome & ready)
        gaps.append(_gap(batch, spec, fitted, prior, rows, failed))
        return cls(batch, tuple(gaps), failed)

    def complete(self, rng: np.random.Generator) -> ObservedBatch:
        """Fill every gap once."""
        batch = self.batch
        for gap in self.gaps:
            batch = gap.fill(batch, rng)
        return batch


def _gap(batch: ObservedBatch, spec: Spec, fitted: Moments, prior: Any, rows: Ints, failed: NDArray[np.bool_]) -> Gap:
    failed[np.unique(batch.index.participant_trial[rows])] |= fitted.failed[
        np.unique(batch.index.participant_trial[rows])
    ]
    return Gap.of(batch, spec, fitted, prior, rows)


def _complete(batch: ObservedBatch, names: Sequence[str]) -> NDArray[np.bool_]:
    """Participants for whom all columns are observed."""
    seen = np.ones(batch.index.participants, dtype=bool)
    for name in names:
        values = batch.at(name)
        seen &= values >= 0 if batch.column(name).categories else ~np.isnan(values)
    return seen
