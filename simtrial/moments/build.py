"""From an observed batch to the moments that methods share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats, Ints
from simtrial.batch import Column as SourceColumn
from simtrial.batch import ObservedBatch
from simtrial.errors import SimtrialError
from simtrial.expressions import truth
from simtrial.flags import BIT
from simtrial.kernels.random_intercept_grid import XGrids
from simtrial.kernels.segments import count_by
from simtrial.kernels.small_matrices import DOUBTFUL, independent, independent_columns, remaining
from simtrial.moments.analysis_set import AnalysisSet, Regressor
from simtrial.moments.columns import Column, as_it_is, centred, within_with
from simtrial.moments.growing import Growing
from simtrial.moments.moments import CONSTANT, Moments, blanked, gram_of
from simtrial.moments.rows import (
    PRODUCT,
    Spec,
    analysed,
    coefficients_needed,
    column_of,
    outcome,
    regressors_of,
    sources,
)


def moments(batch: ObservedBatch, spec: Spec, like: Moments | None = None) -> Moments:
    """Reduce the analysed rows of every trial to means and cross-products by cluster.

    Analysed are participants with the outcome, arm and every covariate observed for whom all conditions hold.
    Measurements are centred at their trial mean first; means and deviations take two passes. ``like`` are moments
    whose analysis set and moments of X may be those here: trials completed many times differ in what is imputed.
    """
    values = outcome(batch, spec)
    rows = analysed(batch, spec, values, None if like is None else like.analysed)
    found = x_moments(batch, spec, rows, like).with_response(values, at=rows.rows)
    return found if spec.plain is spec else with_received(found, batch, spec)


def with_received(found: Moments, batch: ObservedBatch, spec: Spec) -> Moments:
    """Add receipt as a second response; rows whose receipt is unknown are left out, counted and flagged."""
    receipt, unknown = _receipt(batch, spec)
    rows = found.analysed
    if unknown.any() and (blank := unknown[rows.rows]).any():
        flag = np.where(count_by(rows.trial[blank], found.trials) > 0, BIT["blank_receipt"], 0)
        rows = rows.without(blank)
        found = x_moments(batch, spec, rows).with_response(outcome(batch, spec), at=rows.rows)
        found = replace(found, flags=found.flags | flag)
    elif rows.unknown is None:
        rows = rows.with_unknown(np.zeros(found.trials))
    made = found.with_response(receipt, measured=False, at=rows.rows)
    return replace(made, analysed=rows)


def _receipt(batch: ObservedBatch, spec: Spec) -> tuple[Floats, Bools]:
    """Receipt, 0 or 1 or a dose, and where it is unknown (participants,)."""
    if spec.dose is None:
        assert spec.received is not None
        said = truth(spec.received, batch)
        return said.holds.astype(np.float64), said.unknown
    if batch.column(spec.dose).categories:
        raise SimtrialError(f"dose = '{spec.dose}' has categories; a dose is a number, such as sessions")
    values = np.asarray(batch.at(spec.dose), dtype=np.float64)
    return np.nan_to_num(values), np.isnan(values)


def x_moments(batch: ObservedBatch, spec: Spec, rows: AnalysisSet, like: Moments | None = None) -> Moments:
    """Moments of the regressors alone: intercept, covariates, arm; aliased ones dropped.

    Those of ``like`` if they are made of the same columns of the same rows.
    """
    columns, made = _centred_columns(batch, spec, rows)
    if like is not None and like.root.of_columns(rows, made):
        like.root.again.append(True)
        return like.root
    trials, clusters = batch.index.trials, len(rows.cluster)
    varying = tuple(k for k, c in enumerate(columns) if c.level == "participant")
    within, inner = np.empty((0, 0, clusters)), tuple[Floats, ...]()
    for k in varying:
        within, inner = within_with(rows, within, inner, made[k]), (*inner, *made[k].inner)
    room = Growing.of([c.means for c in made], clusters), Growing.of(inner, len(rows.rows))
    level = np.ones((len(columns), trials), dtype=bool)
    every = room[0].values
    found = Moments(
        analysed=rows, terms=tuple(c.term for c in columns), means=every, varying=varying, inner=inner, within=within,
        gram=gram_of(rows, every, within, varying), center=np.stack([c.center for c in made]),
        kept=np.ones_like(level), cluster_level=level, cluster_rank=np.zeros(trials),
        failed=np.zeros(trials, dtype=bool), flags=np.zeros(trials, dtype=np.int64), columns=tuple(made), _room=room,
    )  # fmt: skip
    squares = np.einsum("iir->ir", found.gram)
    level &= _constant_in_clusters(columns, found, squares)
    kept = _independent(found, squares)
    rank = _cluster_rank(found, squares, kept)
    flags = _flags(batch, spec, rows, made[-1], kept)
    beyond = np.any([c.out_of_range for c in made], axis=0)
    flags = np.where(beyond, BIT["out_of_range"], flags)
    failed = (flags & (BIT["no_data"] | BIT["arm_aliased"] | BIT["out_of_range"])) != 0
    if kept.all() and not failed.any():
        return replace(found, cluster_rank=rank, flags=flags)  # nothing to drop: the sums stand
    return _dropped(replace(found, cluster_rank=rank), kept, flags, failed)


def _constant_in_clusters(columns: Sequence[Regressor], found: Moments, squares: Floats) -> Bools:
    """Columns (p, trials) of covariates none of whose columns varies within an analysed cluster."""
    level = np.ones((len(columns), found.trials), dtype=bool)
    for at, k in enumerate(found.varying):
        inside = found.analysed.by_trial(found.within[at, at])
        level[k] = inside <= CONSTANT * squares[k]
    names = [column.covariate for column in columns]
    for name in {name for name in names if names.count(name) > 1}:
        own = [k for k, other in enumerate(names) if other == name]
        level[own] = level[own].all(axis=0)
    return level


def _cluster_rank(found: Moments, squares: Floats, kept: Bools) -> Floats:
    """Rank of the cluster-level columns (trials,), whichever of them the order of covariates has dropped."""
    level = found.cluster_level
    if kept.all():
        return np.asarray(level.sum(axis=0), dtype=np.float64)
    return np.asarray(independent(found.gram * level * level[:, None], squares).sum(axis=0), dtype=np.float64)


def _independent(found: Moments, squares: Floats) -> Bools:
    """Which regressors are kept (p, trials), order deciding; products give way to arm, though they come before it.

    Where one is next to a combination of others, the rows decide what the cross-products cannot tell.
    """
    order = np.argsort([term.startswith(PRODUCT) for term in found.terms], kind="stable")
    gram = found.gram[np.ix_(order, order)] if found.products else found.gram
    left = remaining(gram, squares[order])
    kept = np.empty_like(found.kept)
    kept[order] = left > 0.0
    for trial in np.flatnonzero(((left > 0.0) & (left < DOUBTFUL)).any(axis=0)):
        kept[order, trial] = independent_columns(found.design[np.ix_(order, found.analysed.trial == trial)])
    return kept


def _centred_columns(batch: ObservedBatch, spec: Spec, rows: AnalysisSet) -> tuple[list[Regressor], list[Column]]:
    """Regressors, and these centred; a column that these rows were centred for before is not centred again.

    Of trials completed many times only what is imputed is another column each time.
    """
    columns, made = [], []
    for name in sources(spec):
        source, before = column_of(batch, name), rows.centred.get(name)
        if before is None or before[0] is not source or name == PRODUCT:
            own = regressors_of(batch, spec, name, rows)
            before = source, own, [_centred(rows, c) for c in own]
            rows.centred[name] = before
        columns += before[1]
        made += before[2]
    return columns, made


def _centred(rows: AnalysisSet, column: Regressor) -> Column:
    if column.level == "participant":
        return centred(rows, column.values, column.measured, column.level, at=rows.rows)
    if column.binary:
        return as_it_is(rows, column.values)
    return centred(rows, column.values, column.measured, column.level)


def _dropped(found: Moments, kept: Bools, flags: NDArray[np.int64], failed: Bools) -> Moments:
    """Blank the regressors that are not kept, trial by trial, in every sum."""
    rows, place = found.analysed, list(found.varying)
    by_cluster = kept[:, rows.cluster_trial]
    inner = tuple(values * kept[k, rows.trial] for k, values in zip(place, found.inner, strict=True))
    inside = by_cluster[place]
    means, within = found.means * by_cluster, found.within * inside * inside[:, None]
    total = gram_of(rows, means, within, place)
    at = np.arange(len(total))
    total[at, at] += ~kept
    return replace(
        found, means=means, inner=inner, within=within, gram=blanked(total, failed), kept=kept, flags=flags,
        failed=failed, _leverages={}, _grids=XGrids(), again=[], _room=None,
    )  # fmt: skip


def without_arm(found: Moments) -> Moments:
    """Take arm out of the regressors, so that both arms share one mean; the first response stays."""
    root, p = replace(found.root, columns=()), found.regressors
    kept = root.kept.copy()
    kept[-1] = False
    few = root.counts <= kept.sum(axis=0)
    root = replace(root, cluster_rank=root.cluster_rank - (root.kept & root.cluster_level)[-1])
    beyond = (root.flags & BIT["out_of_range"]) != 0
    flags = np.where(beyond, BIT["out_of_range"], np.where(few, BIT["no_data"], root.flags & BIT["aliased"]))
    rows = found.analysed
    values = found.means[p, rows.cluster_of_row] + found.inner[found.varying.index(p)] + found.center[p, rows.trial]
    return _dropped(root, kept, flags, few | beyond).with_response(values)


Known = dict[str, tuple[SourceColumn | None, Floats]]
"""By source, the column that predictors were last made of, and these (its regressors, rows); all of them together."""

WHOLE = ":whole"


def predictors(batch: ObservedBatch, spec: Spec, fitted: Moments, rows: Ints, known: Known | None = None) -> Floats:
    """X of other participants on the scale of the fitted moments: centred alike, dropped columns 0 (p, rows).

    ``known`` are those of the same participants before: of trials completed many times only what is imputed changes.
    """
    known = {} if known is None else known
    blocks, at, changed = [], 0, WHOLE not in known
    for name in sources(spec):
        source, before = column_of(batch, name), known.get(name)
        if before is None or before[0] is not source:
            columns = regressors_of(batch, spec, name, None)
            before = known[name] = source, _centred_alike(batch, fitted, rows, columns, at)
            changed = True
        blocks.append(before[1])
        at += len(before[1])
    if changed:
        known[WHOLE] = None, np.concatenate(blocks)
    return known[WHOLE][1]


def _centred_alike(
    batch: ObservedBatch, fitted: Moments, rows: Ints, columns: Sequence[Regressor], first: int
) -> Floats:
    """Values of some regressors, of which ``first`` is the number of the first (columns, rows)."""
    practice, trial = batch.index.participant_practice[rows], batch.index.participant_trial[rows]
    values = np.empty((len(columns), len(rows)))
    for at, column in enumerate(columns):
        values[at] = column.values[rows if column.level == "participant" else practice]
    own = slice(first, first + len(columns))
    with np.errstate(invalid="ignore"):  # an infinite value: its trial has failed
        return np.asarray((values - fitted.center[own, trial]) * fitted.kept[own, trial])


def _flags(batch: ObservedBatch, spec: Spec, rows: AnalysisSet, arm: Column, kept: Bools) -> NDArray[np.int64]:
    rank = kept.sum(axis=0)
    flags = np.where(rows.counts <= rank, BIT["no_data"], 0).astype(np.int64)
    flags |= np.where(~kept[-1] & (rows.counts > 0), BIT["arm_aliased"], 0)
    # practices with people on either side: where receipt stands for arm, one may be on both
    fewest = np.minimum(rows.by_trial(arm.means > 0.0), rows.by_trial(arm.means < 1.0))
    flags |= np.where(fewest < 2, BIT["too_few_clusters"], 0)
    flags |= np.where((fewest == 0) & (rows.clusters > 0), BIT["one_arm"], 0)
    if kept.all():
        return flags
    return flags | np.where(rank - 2 < coefficients_needed(batch, spec), BIT["aliased"], 0)
