"""Which rows and columns an analysis takes from observed trials."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats, Ints
from simtrial.batch import Column, Level, ObservedBatch
from simtrial.expressions import truth
from simtrial.kernels.segments import sum_by
from simtrial.moments.analysis_set import AnalysisSet, Covered, Regressor

INTERCEPT, ARM = ":intercept", ":arm"
"""Names of what every model has beside its covariates, as no column is called."""

PRODUCT = "arm:"
"""What the names of products with arm begin with."""


@dataclass(frozen=True)
class Spec:
    """What is analysed: the outcome column (less another one, for change), covariates, conditions, receipt if any.

    Receipt is an expression, or ``dose`` a column of numbers in its place.

    ``interaction`` is the one of the covariates whose products with arm are regressors as well.
    """

    outcome: str
    minus: str | None = None
    adjust: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    received: str | None = None
    interaction: str | None = None
    dose: str | None = None

    @property
    def plain(self) -> Spec:
        """The same without receipt."""
        return self if self.received is self.dose is None else replace(self, received=None, dose=None)


def regressors(batch: ObservedBatch, spec: Spec, rows: AnalysisSet | None = None) -> list[Regressor]:
    """Intercept, covariates in treatment contrasts (first category is the reference), products with arm, arm.

    Products need the analysed ``rows``: see `products`.
    """
    return [column for name in sources(spec) for column in regressors_of(batch, spec, name, rows)]


def sources(spec: Spec) -> tuple[str, ...]:
    """What regressors are made of, in their order: `INTERCEPT`, names of covariates, `PRODUCT`, `ARM`."""
    return (INTERCEPT, *spec.adjust, PRODUCT, ARM)


def regressors_of(batch: ObservedBatch, spec: Spec, name: str, rows: AnalysisSet | None) -> list[Regressor]:
    """Regressors of one of the `sources`."""
    if name == PRODUCT:
        return [] if rows is None else products(batch, spec, rows)
    if name == INTERCEPT:
        ones = np.ones(batch.index.practices)
        return [Regressor(term="intercept", values=ones, level="practice", measured=False, covariate="intercept")]
    if name == ARM:
        arm = batch.column("arm")
        own = arm.values.astype(np.float64)
        return [Regressor(term="arm", values=own, level=arm.level, measured=False, covariate="arm")]
    column = batch.column(name)
    if column.categories:
        return _contrasts(batch, name, rows)
    return [Regressor(term=name, values=column.values, level=column.level, measured=True, covariate=name)]


def column_of(batch: ObservedBatch, name: str) -> Column | None:
    """Column behind one of the `sources`, None where there is none or not one alone."""
    return None if name in (INTERCEPT, PRODUCT) else batch.column("arm" if name == ARM else name)


def _contrasts(batch: ObservedBatch, name: str, rows: AnalysisSet | None) -> list[Regressor]:
    """Indicators of the categories but the first; 0 for the first that a trial has where it lacks some before it.

    So what a trial is compared with never depends on the categories that other trials have.
    """
    column = batch.column(name)
    values = {code: (column.values == code).astype(np.float64) for code in range(1, len(column.categories))}
    first = np.zeros(batch.index.trials, dtype=np.intp) if rows is None else first_category(batch, name, rows)
    if first.any():
        trial = batch.index.practice_trial if column.level == "practice" else batch.index.participant_trial
        values = {code: indicator * (first[trial] != code) for code, indicator in values.items()}
    labels = column.categories
    return [
        Regressor(term=f"{name}={labels[code]}", values=own, level=column.level, measured=False, covariate=name)
        for code, own in values.items()
    ]


def first_category(batch: ObservedBatch, name: str, rows: AnalysisSet) -> Ints:
    """Code of the first category that the analysed rows of each trial have, 0 without any (trials,)."""
    column = batch.column(name)
    practice = column.level == "practice"
    places, first = (rows.cluster, rows.first_cluster) if practice else (rows.rows, rows.first_row)
    codes = column.values[places]
    out = np.zeros(batch.index.trials, dtype=np.intp)
    if len(codes):
        out[rows.cluster_trial[rows.first_cluster]] = np.minimum.reduceat(codes, first)
    return out


def products(batch: ObservedBatch, spec: Spec, rows: AnalysisSet) -> list[Regressor]:
    """Arm times each category of the interacting covariate but the first, or times its distance from the trial mean.

    So beside its products the coefficient of arm is the effect in the first category, or at the mean of the analysed
    participants; the products themselves do not depend on the origin.
    """
    if spec.interaction is None:
        return []
    name, column = spec.interaction, batch.column(spec.interaction)
    level: Level = "participant" if "participant" in (column.level, batch.column("arm").level) else "practice"
    arm, values = batch.at("arm", level).astype(np.float64), batch.at(name, level)
    if column.categories:
        codes = range(1, len(column.categories))
        labels = [f"{PRODUCT}{name}={column.categories[code]}" for code in codes]
        own = [arm * (values == code) for code in codes]
        return [
            Regressor(term=label, values=product, level=level, measured=False, covariate=PRODUCT)
            for label, product in zip(labels, own, strict=True)
        ]
    trials = batch.index.trials
    mean = sum_by(batch.at(name)[rows.rows], rows.trial, trials) / np.maximum(rows.counts, 1.0)
    trial = batch.index.practice_trial if level == "practice" else batch.index.participant_trial
    return [
        Regressor(
            term=f"{PRODUCT}{name}", values=arm * (values - mean[trial]), level=level, measured=False, covariate=PRODUCT
        )
    ]


def outcome(batch: ObservedBatch, spec: Spec) -> Floats:
    """Values of the outcome, or of the change (participants,)."""
    values = batch.at(spec.outcome)
    return values if spec.minus is None else values - batch.at(spec.minus)


def analysed(batch: ObservedBatch, spec: Spec, values: Floats, like: AnalysisSet | None = None) -> AnalysisSet:
    """Participants with observed outcome, arm and covariates for whom every condition is known to hold.

    Counted as unknown are those with all of them observed for whom the conditions, taken together, neither hold nor
    fail. ``like`` is a set of the same trials: where it has the same rows it is not made again.
    """
    covered = _covered(batch, ("arm", *spec.adjust), None if like is None else like.covered)
    seen = covered[1] & ~np.isnan(values)
    if not spec.where:
        return AnalysisSet.of(batch.index, seen, like=like, covered=covered)
    met = reduce(operator.and_, (truth(condition, batch) for condition in spec.where))
    unknown = sum_by(seen & met.unknown, batch.index.participant_trial, batch.index.trials)
    return AnalysisSet.of(batch.index, seen & met.holds, unknown)


def _covered(batch: ObservedBatch, names: Sequence[str], before: Covered | None) -> Covered:
    """Who has a value in all of some columns; as it was ``before`` if the columns are the same."""
    columns = tuple(batch.column(name) for name in names)
    if before is not None and len(columns) == len(before[0]) and all(map(operator.is_, columns, before[0])):
        return before
    seen: dict[Level, Bools] = {}
    for column in columns:
        there = column.values >= 0 if column.categories else ~np.isnan(column.values)
        seen[column.level] = seen[column.level] & there if column.level in seen else there
    places = [(batch.index.rows(level, "participant"), there) for level, there in seen.items()]
    return columns, reduce(operator.and_, (there if rows is None else there[rows] for rows, there in places))


def coefficients_needed(batch: ObservedBatch, spec: Spec) -> NDArray[np.int64]:
    """Coefficients that covariates and products of each trial would need, were all of its people analysed (trials,)."""
    total = np.zeros(batch.index.trials, dtype=np.int64)
    for name in spec.adjust if spec.interaction is None else (*spec.adjust, spec.interaction):
        column = batch.column(name)
        if not column.categories:
            total += 1
            continue
        trial = batch.index.practice_trial if column.level == "practice" else batch.index.participant_trial
        present = np.zeros((len(column.categories), batch.index.trials), dtype=bool)
        seen = column.values >= 0
        present[column.values[seen], trial[seen]] = True
        total += np.maximum(present.sum(axis=0) - 1, 0)
    return total
