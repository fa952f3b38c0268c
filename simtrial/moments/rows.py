"""Which rows and columns an analysis takes from observed trials."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

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
    """Regressors of one of the `sources`; of ``rows``, columns of practices are those of the analysed clusters."""
    if name == PRODUCT:
        return [] if rows is None else products(batch, spec, rows)
    if name == INTERCEPT:
        ones = np.ones(batch.index.practices if rows is None else len(rows.cluster))
        return [_unmeasured("intercept", ones, "practice", "intercept")]
    if name == ARM:
        arm = batch.column("arm")
        return [_unmeasured("arm", _of_clusters(arm, rows).astype(np.float64), arm.level, "arm")]
    column = batch.column(name)
    if column.categories:
        return _contrasts(batch, name, rows)
    values = _of_clusters(column, rows)
    return [Regressor(term=name, values=values, level=column.level, measured=True, covariate=name)]


def _unmeasured(term: str, values: Floats, level: Level, covariate: str) -> Regressor:
    """A column of zeros and ones."""
    return Regressor(term=term, values=values, level=level, measured=False, covariate=covariate, binary=True)


def _of_clusters(column: Column, rows: AnalysisSet | None) -> NDArray[Any]:
    """Values of a column, those of the analysed clusters where it is of practices and there are any."""
    return column.values if rows is None or column.level == "participant" else column.values[rows.cluster]


def column_of(batch: ObservedBatch, name: str) -> Column | None:
    """Column behind one of the `sources`, None where there is none or not one alone."""
    return None if name in (INTERCEPT, PRODUCT) else batch.column("arm" if name == ARM else name)


def _contrasts(batch: ObservedBatch, name: str, rows: AnalysisSet | None) -> list[Regressor]:
    """Indicators of the categories but the first; 0 for the first that a trial has where it lacks some before it.

    So what a trial is compared with never depends on the categories that other trials have.
    """
    column, own = batch.column(name), range(1, len(batch.column(name).categories))
    codes = _of_clusters(column, rows)
    values = {code: (codes == code).astype(np.float64) for code in own}
    if rows is not None and (first := _first_code(rows, column.level, codes)).any():
        trial = rows.cluster_trial if column.level == "practice" else batch.index.participant_trial
        values = {code: indicator * (first[trial] != code) for code, indicator in values.items()}
    return [_unmeasured(f"{name}={column.categories[code]}", values[code], column.level, name) for code in own]


def first_category(batch: ObservedBatch, name: str, rows: AnalysisSet) -> Ints:
    """Code of the first category that the analysed rows of each trial have, 0 without any (trials,)."""
    column = batch.column(name)
    return _first_code(rows, column.level, _of_clusters(column, rows))


def _first_code(rows: AnalysisSet, level: Level, codes: NDArray[Any]) -> Ints:
    """The same from codes of the analysed clusters, or of all participants."""
    of_clusters = level == "practice"
    codes, first = (codes, rows.first_cluster) if of_clusters else (codes[rows.rows], rows.first_row)
    out = np.zeros(rows.index.trials, dtype=np.intp)
    if len(codes):
        out[rows.trials_there] = np.minimum.reduceat(codes, first)
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
    trial = batch.index.participant_trial
    if level == "practice":
        arm, values, trial = arm[rows.cluster], values[rows.cluster], rows.cluster_trial
    if column.categories:
        codes = range(1, len(column.categories))
        labels = [f"{PRODUCT}{name}={column.categories[code]}" for code in codes]
        own = [arm * (values == code) for code in codes]
        return [_unmeasured(label, product, level, PRODUCT) for label, product in zip(labels, own, strict=True)]
    mean = sum_by(batch.at(name)[rows.rows], rows.trial, batch.index.trials) / np.maximum(rows.counts, 1.0)
    product = arm * (values - mean[trial])
    return [Regressor(term=f"{PRODUCT}{name}", values=product, level=level, measured=False, covariate=PRODUCT)]


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
        if not there.all():  # most columns have all their values: then there is no one to leave out
            seen[column.level] = seen[column.level] & there if column.level in seen else there
    everyone = np.ones(batch.index.participants, dtype=bool)
    places = [(batch.index.rows(level, "participant"), there) for level, there in seen.items()]
    own = (there if rows is None else there[rows] for rows, there in places)
    return columns, reduce(operator.and_, own, everyone)


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
