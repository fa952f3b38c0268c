"""Baseline and follow-up of a batch as rows of one model: standard units, sums by practice and pattern, failures."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats
from simtrial.batch import ObservedBatch
from simtrial.flags import BIT
from simtrial.kernels.segments import count_by, sum_by
from simtrial.kernels.small_matrices import independent, sweep
from simtrial.kernels.two_visits_criterion import VisitSums
from simtrial.moments.analysis_set import AnalysisSet
from simtrial.moments.columns import in_range, less_mean
from simtrial.moments.moments import CONSTANT, PERFECT
from simtrial.moments.rows import Spec, analysed, coefficients_needed, regressors


@dataclass(frozen=True, kw_only=True)
class VisitData:
    """Standardised sums and failures before the fit.

    ``scale`` (2, trials) units of baseline and follow-up, ``fitted`` (trials,) coefficient of arm by least squares,
    which the outcomes are less already, ``visits`` (2, trials) rows observed, ``design_scale`` what units add to
    log |X'V^-1 X|, ``df`` practices with a follow-up less its practice-level coefficients (trials,).
    """

    rows: AnalysisSet
    sums: VisitSums
    scale: Floats
    fitted: Floats
    visits: Floats
    design_scale: Floats
    df: Floats
    unclustered: Bools
    failed: Bools
    flags: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class _Columns:
    """Standardised columns of the analysed rows: covariates from the intercept on, arm, baseline, follow-up (k, rows).

    A missing outcome is 0. ``units`` (k, trials); ``seen`` (2, rows) which visits were observed; ``practice`` (k,)
    whether a column is constant in practices by its nature, ``covariates`` (k,) whose it is; ``out_of_range`` trials
    that cannot be computed with.
    """

    values: Floats
    units: Floats
    seen: Bools
    practice: tuple[bool, ...]
    covariates: tuple[str, ...]
    out_of_range: Bools


def _columns(batch: ObservedBatch, spec: Spec, baseline: str) -> tuple[AnalysisSet, _Columns]:
    """Rows with a baseline or a follow-up, every covariate observed, and their columns in standard units."""
    outcomes = np.stack([batch.at(baseline), batch.at(spec.outcome)])
    either = np.where(np.isnan(outcomes[1]), outcomes[0], outcomes[1])
    rows = analysed(batch, spec, either)
    values, units, practice, covariates = [], [], [], []
    trials = batch.index.trials
    beyond = np.zeros(trials, dtype=bool)
    for column in regressors(batch, spec):
        own = column.values if column.level == "participant" else column.values[batch.index.participant_practice]
        moved, unit = own[rows.rows], np.ones(trials)
        if column.measured:
            moved, unit, outside = _standard(moved, np.ones(len(moved), dtype=bool), rows.trial, trials)
            beyond |= outside
        values.append(moved)
        units.append(unit)
        practice.append(column.level == "practice")
        covariates.append(column.covariate)
    seen = ~np.isnan(outcomes[:, rows.rows])
    for visit in (0, 1):
        moved, unit, outside = _standard(outcomes[visit, rows.rows], seen[visit], rows.trial, trials)
        beyond |= outside
        values.append(moved)
        units.append(unit)
    return rows, _Columns(
        values=np.stack(values), units=np.stack(units), seen=seen, practice=tuple(practice),
        covariates=tuple(covariates), out_of_range=beyond,
    )  # fmt: skip


def _standard(values: Floats, seen: Bools, trial: NDArray[np.intp], trials: int) -> tuple[Floats, Floats, Bools]:
    """Deviations from the trial mean over their root mean square, 0 where not seen.

    Returns
    -------
    deviations, unit, out_of_range
        (rows,); that root, 1 where there is no variation (trials,); trials whose values cannot be computed with.
    """
    there, own = np.flatnonzero(seen), trial[seen]
    count = count_by(own, trials)
    usable, size, beyond = in_range(values[there], own, trials)
    usable, _ = less_mean(usable, own, size, count)
    unit = np.sqrt(sum_by(usable**2, own, trials) / np.maximum(count, 1.0))
    unit = np.where(unit > 0.0, unit, 1.0)
    out = np.zeros(len(values))
    out[there] = usable / unit[own]
    return out, unit, beyond


def prepare(batch: ObservedBatch, spec: Spec, baseline: str) -> VisitData:
    """Reduce the rows to sums by practice and pattern, and mark trials that cannot be fitted."""
    rows, columns = _columns(batch, spec, baseline)
    trials, z = batch.index.trials, len(columns.values) - 3
    first, second = [*range(z), z + 1], [*range(z + 1), z + 2]
    places = ([*range(z), 2 * z + 1], [*range(z, 2 * z + 1), 2 * z + 1])
    both = columns.seen[0] & columns.seen[1]
    patterns = (both, columns.seen[0] & ~both, columns.seen[1] & ~both)
    grams = [_products(columns.values[:, p], rows.trial[p], trials) for p in patterns]
    early = (grams[0] + grams[1])[np.ix_(first, first)]
    late = (grams[0] + grams[2])[np.ix_(second, second)]
    columns, fitted = _less_fitted(rows, columns, (early, late))
    grams = [_with_outcomes(g, columns.values[:, p], rows.trial[p]) for g, p in zip(grams, patterns, strict=True)]
    joined = grams[0][np.ix_([*range(z + 1), z + 1, z + 2], [*range(z + 1), z + 1, z + 2])]
    (kept0, rest0, _), (kept1, rest1, _), (kept_both, rest_both, _) = map(_residual, (early, late, joined))
    kept = np.concatenate([kept0, kept1])
    sums = _dropped(_sums(rows, columns.values, patterns, grams, (first, second), places), kept)
    counted = [sum_by(p, rows.trial, trials) for p in patterns]
    visits = np.stack([counted[0] + counted[1], counted[0] + counted[2]])
    thin = (visits[0] <= kept0.sum(axis=0)) | (visits[1] <= kept1.sum(axis=0)) | (counted[0] <= kept_both.sum(axis=0))
    flags = np.where(thin, BIT["no_data"], 0).astype(np.int64)
    flags |= np.where(~kept1[-1] & (visits[1] > 0), BIT["arm_aliased"], 0)
    exact = (rest0 <= PERFECT * early[-1, -1]) | (rest1 <= PERFECT * late[-1, -1])
    exact |= rest_both <= PERFECT * joined[-1, -1]
    flags |= np.where(exact & (flags == 0), BIT["constant_outcome"], 0)
    df, fewest = _cluster_df(rows, columns, late[:-1, :-1])
    saturated = (flags == 0) & (df <= 0)
    unclustered = rows.counts == rows.clusters
    flags |= np.where(saturated | (unclustered & (flags == 0)), BIT["tau2_not_identified"], 0)
    flags = np.where(columns.out_of_range, BIT["out_of_range"], flags)
    failed = flags & (BIT["no_data"] | BIT["arm_aliased"] | BIT["constant_outcome"] | BIT["out_of_range"]) != 0
    failed |= saturated
    needed = coefficients_needed(batch, spec)
    aliased = (kept0.sum(axis=0) - 1 < needed) | (kept1.sum(axis=0) - 2 < needed)
    flags |= np.where(fewest < 2, BIT["too_few_clusters"], 0) | np.where(aliased, BIT["aliased"], 0)
    flags |= np.where((fewest == 0) & (visits[1] > 0), BIT["one_arm"], 0)
    units = columns.units
    design_scale = 2.0 * (
        (kept0 * (np.log(units[:z]) - np.log(units[z + 1]))).sum(axis=0)
        + (kept1 * (np.log(units[: z + 1]) - np.log(units[z + 2]))).sum(axis=0)
    )
    return VisitData(
        rows=rows, sums=sums, scale=units[z + 1 :], fitted=fitted, visits=visits, design_scale=design_scale, df=df,
        unclustered=unclustered, failed=failed, flags=flags,
    )  # fmt: skip


def _products(values: Floats, trial: NDArray[np.intp], trials: int) -> Floats:
    """Cross-products per trial (k, k, trials)."""
    k = len(values)
    out = np.zeros((k, k, trials))
    for i in range(k):
        for j in range(i, k):
            out[i, j] = out[j, i] = sum_by(values[i] * values[j], trial, trials)
    return out


def _less_fitted(rows: AnalysisSet, columns: _Columns, grams: tuple[Floats, Floats]) -> tuple[_Columns, Floats]:
    """Take least squares from the outcomes of either visit, in units of what is left; and the coefficient of arm.

    The residuals of a nearly perfect fit would otherwise be differences of large sums. ``grams`` as by `_residual`.
    """
    z = len(columns.values) - 3
    values, units = columns.values.copy(), columns.units.copy()
    arm = np.zeros(rows.index.trials)
    for visit, (gram, count) in enumerate(zip(grams, (z, z + 1), strict=True)):
        beta, seen, at = _residual(gram)[2], columns.seen[visit], z + 1 + visit
        fitted = np.einsum("kr,kr->r", beta[:, rows.trial], values[:count])
        rest = np.where(seen, values[at] - fitted, 0.0)
        values[at], unit, _ = _standard(rest, seen, rows.trial, rows.index.trials)
        if visit == 1:
            arm = beta[-1] * units[at]
        units[at] = units[at] * unit
    return replace(columns, values=values, units=units), arm


def _with_outcomes(gram: Floats, values: Floats, trial: NDArray[np.intp]) -> Floats:
    """Cross-products with the last two columns, the outcomes, recomputed."""
    k, out = len(gram), gram.copy()
    for j in (k - 2, k - 1):
        for i in range(j + 1):
            out[i, j] = out[j, i] = sum_by(values[i] * values[j], trial, gram.shape[-1])
    return out


def _residual(gram: Floats) -> tuple[Bools, Floats, Floats]:
    """Regressors that are kept (k - 1, trials), residual sum of squares (trials,) and coefficients of the last one."""
    p = len(gram) - 1
    kept = independent(gram[:p, :p], np.einsum("iit->it", gram[:p, :p]))
    gram = gram.copy()
    gram[:p] *= kept[:, None]
    gram[:, :p] *= kept[None]
    gram[np.arange(p), np.arange(p)] += ~kept
    _, beta, rest, _ = sweep(gram, p)
    return kept, rest[0, 0], beta[:, 0]


def _sums(
    rows: AnalysisSet, values: Floats, patterns: tuple[Bools, ...], grams: list[Floats],
    columns: tuple[list[int], list[int]], places: tuple[list[int], list[int]],
) -> VisitSums:  # fmt: skip
    """Counts, sums and cross-products with the columns of either visit where the model has them."""
    trials, q, clusters = rows.index.trials, places[0][-1] + 1, len(rows.cluster)
    counts, sums = np.zeros((trials, 3, rows.most)), np.zeros((trials, 4, rows.most, q))
    for m, pattern in enumerate(patterns):
        group = rows.cluster_of_row[pattern]
        counts[rows.cluster_trial, m, rows.position] = count_by(group, clusters)
        total = sum_by(values[:, pattern], group, clusters)
        for visit in ((0, 1), (0,), (1,))[m]:
            at = visit if m == 0 else m + 1
            for column, place in zip(columns[visit], places[visit], strict=True):
                sums[rows.cluster_trial, at, rows.position, place] = total[column]
    products = np.zeros((trials, 5, q, q))
    for at, (gram, one, other) in enumerate(
        ((grams[0], 0, 0), (grams[0], 0, 1), (grams[0], 1, 1), (grams[1], 0, 0), (grams[2], 1, 1))
    ):
        block = gram[np.ix_(columns[one], columns[other])].transpose(2, 0, 1)
        products[:, at, np.array(places[one])[:, None], np.array(places[other])] += block
        if one != other:
            products[:, at] += products[:, at].transpose(0, 2, 1)
    return VisitSums(counts, sums, products, np.zeros((trials, q - 1)))


def _dropped(sums: VisitSums, kept: Bools) -> VisitSums:
    """Blank the regressors that are not kept (p, trials)."""
    if kept.all():
        return sums
    here = np.concatenate([kept, np.ones_like(kept[:1])]).T.astype(np.float64)
    products = sums.products * here[:, None, :, None] * here[:, None, None, :]
    return VisitSums(sums.counts, sums.sums * here[:, None, None, :], products, (~kept).T.astype(np.float64))


def _cluster_df(rows: AnalysisSet, columns: _Columns, gram: Floats) -> tuple[Floats, Floats]:
    """Practices with a follow-up less its practice-level coefficients, and how many are in the arm with fewer.

    ``gram`` (p, p, trials) of the regressors in rows with a follow-up: these coefficients count by the rank of their
    columns, those of a factor together.
    """
    trials, seen = rows.index.trials, columns.seen[1]
    group, trial = rows.cluster_of_row[seen], rows.trial[seen]
    sizes = count_by(group, len(rows.cluster))
    there = sizes > 0
    level, squares = np.ones((len(gram), trials), dtype=bool), np.einsum("iir->ir", gram)
    for k, own in enumerate(columns.practice):
        if not own:
            values = columns.values[k, seen]
            means = sum_by(values, group, len(sizes)) / np.maximum(sizes, 1.0)
            inside = sum_by((values - means[group]) ** 2, trial, trials)
            alike = [other == columns.covariates[k] for other in columns.covariates]
            level[alike] &= inside <= CONSTANT * squares[k]
    spent = independent(gram * level * level[:, None], squares).sum(axis=0)
    clusters = sum_by(there, rows.cluster_trial, trials)
    arm = np.zeros(len(sizes))
    arm[rows.cluster_of_row] = columns.values[-3]
    treated = sum_by(there & (arm > 0.5), rows.cluster_trial, trials)
    return clusters - spent, np.minimum(treated, clusters - treated)
