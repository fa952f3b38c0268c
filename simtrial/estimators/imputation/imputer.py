"""What `mi` imputes, from which model, and one completed batch after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from simtrial.batch import Column, Level, ObservedBatch
from simtrial.expressions import truth
from simtrial.flags import BIT
from simtrial.kernels.posterior import InverseGamma, Posterior, draw, posterior, practice_effects
from simtrial.kernels.segments import count_by
from simtrial.moments.build import moments, predictors
from simtrial.moments.moments import Moments
from simtrial.moments.rows import PRODUCT, Spec

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class ImputationModel:
    """Columns and rows of the imputation model: those of the analysis, and auxiliary columns.

    Attributes
    ----------
    spec
        Outcome, covariates and conditions. Conditions of the analysis (``keep``, ``subset``) hold here too: those who
        are not analysed neither inform the model nor are imputed, so slopes, variances and the effect of arm are those
        of the people analysed.
    baseline
        Column of the baseline where the analysis reads it, else None; its gaps are filled first.
    received
        Expression of receipt; what it says of people is a covariate, blank where it is unknown.
    by_arm
        Covariates whose products with arm are covariates as well.
    keep
        Those of the conditions that say who kept to the protocol.
    prior
        Of the variances; None is uniform-icc.
    """

    spec: Spec
    baseline: str | None = None
    received: str | None = None
    keep: tuple[str, ...] = ()
    by_arm: tuple[str, ...] = ()
    prior: InverseGamma | None = None

    def with_derived(self, batch: ObservedBatch) -> ObservedBatch:
        """Add receipt and products with arm as columns; made anew when a column they are made of was filled."""
        made: dict[str, Column] = {}
        if self.received is not None:
            receipt = truth(self.received, batch)
            values = np.where(receipt.unknown, np.nan, receipt.holds)
            made[f"{PRODUCT}{self.received}"] = Column(values, "participant")
        for name in self.by_arm:
            made |= _products(batch, name)
        return batch.with_columns(made) if made else batch

    def derived(self, batch: ObservedBatch) -> tuple[str, ...]:
        """Names of these columns.

        They begin as products with arm do, so that they give way to arm where they cannot be told from it, as
        receipt cannot where everybody takes up the intervention.
        """
        receipt = () if self.received is None else (f"{PRODUCT}{self.received}",)
        return (*receipt, *(label for name in self.by_arm for label in _products(batch, name)))


def _products(batch: ObservedBatch, name: str) -> dict[str, Column]:
    """Products of arm with a number, or with every category but the first; blank where the covariate is."""
    column = batch.column(name)
    level: Level = "participant" if "participant" in (column.level, batch.column("arm").level) else "practice"
    arm, values = batch.at("arm", level), batch.at(name, level)
    if not column.categories:
        return {f"{PRODUCT}{name}": Column(arm * values, level)}
    blank = np.where(values < 0, np.nan, 0.0)
    return {
        f"{PRODUCT}{name}={label}": Column(arm * (values == code) + blank, level)
        for code, label in enumerate(column.categories)
        if code
    }


@dataclass(frozen=True)
class Gap:
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
    def of(cls, batch: ObservedBatch, spec: Spec, fitted: Moments, prior: InverseGamma | None, rows: Ints) -> Gap:
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
        return cls(spec.outcome, spec, fitted, usable, table, rows[able[trial]], wanted & ~able)

    def fill(self, batch: ObservedBatch, rng: np.random.Generator) -> ObservedBatch:
        """Draw parameters, practice effects and values once for every trial."""
        if self.table is None:
            return batch
        index, fitted, usable = batch.index, self.fitted, self.usable
        p = fitted.regressors
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

    @property
    def flags(self) -> NDArray[np.int64]:
        """Why the model failed; practices of one person, whose two variances only the prior tells apart (trials,)."""
        alone = (self.fitted.counts == self.fitted.clusters) & ~self.fitted.failed & ~self.failed
        there = np.zeros(len(alone), dtype=bool)
        there[self.fitted.analysed.index.participant_trial[self.rows]] = True
        return np.where(alone & there, BIT["tau2_not_identified"], 0)


def _spread(values: Floats, usable: Ints, trials: int) -> Floats:
    out = np.zeros(trials)
    out[usable] = values
    return out


class Imputes(Protocol):
    """A method that imputes."""

    def imputation_model(self) -> ImputationModel:
        """Columns, rows and prior of the model that outcomes are drawn from."""


@dataclass(frozen=True)
class Imputer:
    """The gaps of a batch in the order they are filled, and the trials in which a needed model cannot be fitted.

    ``unknown`` (trials,) counts people without an outcome who are not imputed because receipt or a condition is unknown
    for them; ``blank`` (trials,) says where receipt or keeping to the protocol is among it.
    """

    batch: ObservedBatch
    model: ImputationModel
    gaps: tuple[Gap, ...]
    unknown: Floats
    blank: Bools

    @classmethod
    def of(cls, method: Imputes, batch: ObservedBatch, fitted: Moments) -> Imputer:
        """Find missing values and fit the imputation models; ``fitted`` are the moments of the method's spec."""
        model = method.imputation_model()
        spec, baseline = model.spec, model.baseline
        derived = model.derived(batch)
        if derived:
            batch = model.with_derived(batch)
            spec = replace(spec, adjust=(*spec.adjust, *derived))
            fitted = moments(batch, spec)
        no_outcome = np.isnan(batch.at(spec.outcome))
        others = tuple(name for name in spec.adjust if name not in (baseline, f"{PRODUCT}{baseline}"))
        ready = _complete(batch, ("arm", *others))
        for condition in spec.where:
            ready &= truth(condition, batch).holds
        gaps: list[Gap] = []
        if baseline is not None:
            no_baseline = np.isnan(batch.at(baseline))
            for names, rows in (
                ((*others, spec.outcome), np.flatnonzero(no_baseline & ~no_outcome & ready)),
                (others, np.flatnonzero(no_baseline & no_outcome & ready)),
            ):
                if len(rows):
                    own = Spec(baseline, None, names, spec.where)
                    gaps.append(Gap.of(batch, own, moments(batch, own), model.prior, rows))
        gaps.append(Gap.of(batch, spec, fitted, model.prior, np.flatnonzero(no_outcome & ready)))
        unknown, blank = _unknown(batch, model, no_outcome)
        return cls(batch, model, tuple(gaps), unknown, blank)

    def complete(self, rng: np.random.Generator) -> ObservedBatch:
        """Fill every gap once."""
        batch = self.batch
        for gap in self.gaps:
            batch = gap.fill(batch, rng)
            if gap.column == self.model.baseline:
                batch = self.model.with_derived(batch)
        return batch

    @property
    def failed(self) -> Bools:
        """Trials with a missing value whose model cannot be fitted (trials,)."""
        return np.asarray(np.any([gap.failed for gap in self.gaps], axis=0))

    @property
    def flags(self) -> NDArray[np.int64]:
        """What is odd about the models of trials in which they were used (trials,)."""
        blank = np.where(self.blank, BIT["blank_receipt"], 0)
        return np.asarray(np.bitwise_or.reduce([blank, *(gap.flags for gap in self.gaps)]))


def _unknown(batch: ObservedBatch, model: ImputationModel, no_outcome: Bools) -> tuple[Floats, Bools]:
    """People without an outcome for whom an expression is unknown, and whether receipt or keeping is (trials,)."""
    trial, trials = batch.index.participant_trial, batch.index.trials
    texts = (*model.spec.where, *(() if model.received is None else (model.received,)))
    if not texts:
        return np.zeros(trials), np.zeros(trials, dtype=bool)
    names = [name for name in model.spec.adjust if name != model.baseline]
    wanted = no_outcome & _complete(batch, ("arm", *names))
    unknown = np.zeros_like(wanted)
    for condition in model.spec.where:
        wanted &= ~truth(condition, batch).fails
    for text in texts:
        unknown |= truth(text, batch).unknown
    receipt = [truth(text, batch).unknown for text in texts if text == model.received or text in model.keep]
    blank = np.any(receipt, axis=0) if receipt else np.zeros_like(wanted)
    return count_by(trial[wanted & unknown], trials), count_by(trial[wanted & blank], trials) > 0


def _complete(batch: ObservedBatch, names: Sequence[str]) -> Bools:
    """Participants for whom all columns are observed."""
    seen = np.ones(batch.index.participants, dtype=bool)
    for name in names:
        seen &= present(batch, name)
    return seen


def present(batch: ObservedBatch, name: str) -> Bools:
    """Participants for whom a column is observed (participants,)."""
    values = batch.at(name)
    return np.asarray(values >= 0 if batch.column(name).categories else ~np.isnan(values))
