"""What `mi` fills in a batch, whatever the engine: the columns its model needs, and the people who lack one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats
from simtrial.batch import Column, Level, ObservedBatch, averaged
from simtrial.expressions import columns, parse, truth
from simtrial.flags import BIT
from simtrial.kernels.segments import count_by
from simtrial.moments.build import moments, without_arm
from simtrial.moments.moments import Moments
from simtrial.moments.rows import PRODUCT, Spec


@dataclass(frozen=True, kw_only=True)
class ImputationModel:
    """Columns and rows of the model of the outcome: whatever the analysis uses, and auxiliary columns.

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
    conditions
        Expressions whose truth, 0 or 1, is a covariate; blank where it is unknown.
    keep
        Those of the conditions that say who kept to the protocol.
    """

    spec: Spec
    baseline: str | None = None
    received: str | None = None
    keep: tuple[str, ...] = ()
    by_arm: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()

    def with_derived(self, batch: ObservedBatch) -> ObservedBatch:
        """Add receipt, conditions and products with arm as columns; made anew when what they are made of was filled."""
        made: dict[str, Column] = {}
        for text in self._compared:
            said = truth(text, batch)
            made[f"{PRODUCT}{text}"] = Column(np.where(said.unknown, np.nan, said.holds), "participant")
        for name in self.by_arm:
            made |= _products(batch, name)
        return batch.with_columns(made) if made else batch

    def derived(self, batch: ObservedBatch) -> tuple[str, ...]:
        """Names of these columns.

        They begin as products with arm do, so that they give way to arm where they cannot be told from it, as
        receipt cannot where everybody takes up the intervention.
        """
        compared = (f"{PRODUCT}{text}" for text in self._compared)
        return (*compared, *(label for name in self.by_arm for label in _products(batch, name)))

    @property
    def _compared(self) -> tuple[str, ...]:
        """Receipt, then the other expressions whose truth is a covariate."""
        receipt = () if self.received is None else (self.received,)
        return tuple(dict.fromkeys((*receipt, *self.conditions)))


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


@dataclass(frozen=True, kw_only=True)
class Incomplete:
    """A batch before it is imputed: what an engine is given.

    Attributes
    ----------
    model
        What is imputed, and from what.
    batch
        The trials, receipt and products with arm among their columns.
    spec
        Outcome, covariates and conditions of the model, these columns included.
    moments
        Those of ``spec``: of the people with everything observed.
    covariates
        All columns but the baseline and its product with arm. Nobody who lacks one of them is imputed, unless the
        engine fills covariates too.
    fillable
        Those of them, and of the baseline and the outcome, that the engine may fill, the outcome last.
    imputable
        Participants (participants,) who meet the conditions and have arm and all covariates.
    unknown
        People without an outcome who are not imputed because receipt or a condition is unknown for them (trials,).
    blank_receipt
        Whether receipt or keeping to the protocol is among what is unknown (trials,).
    arm
        The one arm, 0 or 1, whose people are imputed from each other; None: all from all.
    fitted_to
        The trials that models are fitted to, where ``batch`` has people in another arm than their own; None: ``batch``.
    """

    model: ImputationModel
    batch: ObservedBatch
    spec: Spec
    moments: Moments
    covariates: tuple[str, ...]
    imputable: Bools
    unknown: Floats
    blank_receipt: Bools
    fillable: tuple[str, ...]
    arm: int | None = None
    fitted_to: ObservedBatch | None = None

    @classmethod
    def of(
        cls, model: ImputationModel, batch: ObservedBatch, fitted: Moments, fills_covariates: bool = False
    ) -> Incomplete:
        """Find what is missing; ``fitted`` are the moments of the model's own spec."""
        spec, baseline = model.spec, model.baseline
        derived = model.derived(batch)
        if derived:
            batch = model.with_derived(batch)
            spec = replace(spec, adjust=(*spec.adjust, *derived))
            fitted = moments(batch, spec)
        covariates = tuple(name for name in spec.adjust if name not in (baseline, f"{PRODUCT}{baseline}"))
        needed, fillable = covariates, (*(() if baseline is None else (baseline,)), spec.outcome)
        if fills_covariates:
            own = tuple(name for name in covariates if name not in derived and averaged(name) is None)
            receipt = derived[:1] if model.received is not None else ()
            needed, fillable = receipt, (*own, *fillable)
        imputable = _complete(batch, ("arm", *needed))
        for condition in spec.where:
            imputable &= truth(condition, batch).holds
        unknown, blank = _unknown(batch, model, () if fills_covariates else model.spec.adjust)
        return cls(
            model=model, batch=batch, spec=spec, moments=fitted, covariates=covariates, imputable=imputable,
            unknown=unknown, blank_receipt=blank, fillable=fillable,
        )  # fmt: skip

    def of_arm(self, arm: int) -> Incomplete:
        """The same of one arm: its people alone are imputed, and they alone inform the models."""
        own = replace(self, arm=arm, imputable=self.imputable & (self.batch.at("arm") == arm))
        return replace(own, moments=own.moments_of(self.spec))

    def as_control(self, alone: bool) -> Incomplete:
        """The same with everybody to be imputed as if in control: reference-based imputation.

        ``alone``: by the people of control alone, and everybody else's practice is one that nobody has seen. Else by
        the people of both arms, less the coefficient of arm; everybody keeps the effect of their practice.
        """
        if alone:
            own = replace(self, arm=0)
            return replace(own, moments=own.moments_of(self.spec))
        wanted = self.lacks(self.spec.outcome)
        arm = np.where(wanted, 0.0, self.batch.at("arm"))
        batch = self.batch.with_columns({"arm": Column(arm, "participant")})
        return replace(self, batch=self.model.with_derived(batch), fitted_to=self.batch)

    def moments_of(self, spec: Spec) -> Moments:
        """Moments of a model of some column; within one arm they have no coefficient of arm."""
        batch = self.batch if self.fitted_to is None else self.fitted_to
        if self.arm is None:
            return moments(batch, spec)
        return without_arm(moments(batch, replace(spec, where=(*spec.where, f"arm == {self.arm}"))))

    @property
    def flags(self) -> NDArray[np.int64]:
        """What is odd about the people who are not imputed (trials,)."""
        return np.where(self.blank_receipt, BIT["blank_receipt"], 0)

    def lacks(self, name: str) -> Bools:
        """Participants whose value of a column is to be imputed (participants,)."""
        return ~present(self.batch, name) & self.imputable

    def filled(self, batch: ObservedBatch, name: str, values: Floats) -> ObservedBatch:
        """Put imputed values (rows of the column's level,) in place, and make anew what is derived from them."""
        batch = batch.with_columns({name: replace(batch.column(name), values=values)})
        made_of = (
            self.model.baseline,
            *self.model.by_arm,
            *(c for t in self.model.conditions for c in columns(parse(t))),
        )
        return self.model.with_derived(batch) if name in made_of else batch


def _unknown(batch: ObservedBatch, model: ImputationModel, needed: Sequence[str]) -> tuple[Floats, Bools]:
    """People without an outcome for whom an expression is unknown, and whether receipt or keeping is (trials,).

    ``needed`` are the columns without which nobody would be imputed anyway.
    """
    trial, trials = batch.index.participant_trial, batch.index.trials
    texts = (*model.spec.where, *(() if model.received is None else (model.received,)))
    if not texts:
        return np.zeros(trials), np.zeros(trials, dtype=bool)
    names = [name for name in needed if name != model.baseline]
    wanted = np.isnan(batch.at(model.spec.outcome)) & _complete(batch, ("arm", *names))
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
