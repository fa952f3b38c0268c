"""Constrained longitudinal data analysis: baseline and follow-up as outcomes, arms alike at baseline."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.batch import ObservedBatch
from simtrial.centred import in_range, less_mean
from simtrial.design_matrix import AnalysisSet, Spec, analysed, coefficients_needed, regressors
from simtrial.estimators import Estimates, Method, register, report
from simtrial.flags import BIT
from simtrial.kernels.segments import count_by, sum_by
from simtrial.kernels.symmetric import independent, sweep
from simtrial.kernels.two_visits import VisitSums
from simtrial.kernels.two_visits_fit import Fit, fit
from simtrial.moments import CONSTANT, PERFECT, Moments

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
SINGULAR = 1e-8  # smaller eigenvalue of the practice covariance, as a share of the variance of the outcomes

COLLINEAR = 1e-6  # the same of the residual covariance


@register("clda")
class ConstrainedLongitudinal(Method):
    """Baseline and follow-up as rows of one model whose baseline mean is the same in both arms.

    Liang and Zeger (2000, Sankhya B 62:134-148); Lu (2010, Biometrics 66:891-896). Covariates have coefficients of
    their own at each visit; residuals and practice effects have unstructured covariances over the visits. Everyone with
    a baseline or a follow-up is analysed.
    """

    kind: Literal["clda"] = "clda"
    estimation: Literal["reml", "ml"] = Field("reml", description="restricted or full maximum likelihood")
    df: Literal["clusters-p", "normal"] = Field("clusters-p", description="df of the t interval")

    def spec(self) -> Spec:
        """Follow-up and the covariates without the baseline, which is a row of its own here."""
        where = (self.subset,) if self.subset else ()
        others = tuple(name for name in self.adjust or () if name != self._baseline)
        return Spec(f"{self.response}_followup", None, others, where)

    def reads(self) -> frozenset[str]:
        """Names of the observed columns the method needs."""
        return super().reads() | {self._baseline}

    @property
    def _baseline(self) -> str:
        return f"{self.response}_baseline"

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Fit every trial from sums by practice and pattern; see `simtrial.kernels.two_visits`."""
        data = _prepare(batch, self.spec(), self._baseline)
        trials, usable = batch.index.trials, np.flatnonzero(~data.failed)
        flags, failed = data.flags.copy(), data.failed.copy()
        blank = np.full(trials, np.nan)
        estimate, variance, extras = blank, blank.copy(), {name: blank.copy() for name in EXTRAS}
        if len(usable):
            alone = data.unclustered[usable]
            found = fit(data.sums.take(usable), alone, self.estimation == "reml")
            scale = data.scale[:, usable]
            estimate[usable] = found.at.coefficients[-1] * scale[1]
            variance[usable] = found.at.inverse[-1, -1] * scale[1] ** 2
            for name, values in _extras(found, data, usable, self.estimation == "reml").items():
                extras[name][usable] = np.where(alone & (name in OF_PRACTICES), np.nan, values)
            edge = np.linalg.eigvalsh(found.u.transpose(2, 0, 1))[:, 0] < SINGULAR
            flags[usable] |= np.where(edge & ~alone, BIT["boundary"], 0)
            flags[usable] |= np.where(~found.converged, BIT["not_converged"], 0)
            # so few share a practice that the criterion falls without bound as residuals become collinear
            unbounded = np.linalg.eigvalsh(found.e.transpose(2, 0, 1))[:, 0] < COLLINEAR
            flags[usable] |= np.where(unbounded, BIT["tau2_not_identified"], 0)
            failed[usable] |= unbounded
        df = np.full(trials, np.inf) if self.df == "normal" else data.df
        return report(
            replace(moments, analysed=data.rows), ("arm",), estimate[None], variance[None], df[None], self.level,
            failed=failed, flags=flags, extras=extras, in_outcome_units=False,
        )  # fmt: skip


OF_PRACTICES = ("icc", "tau2", "tau2_baseline", "tau2_both")
EXTRAS = (*OF_PRACTICES, "sigma2", "sigma2_baseline", "correlation", "loglik")


def _extras(found: Fit, data: _Data, usable: NDArray[np.intp], reml: bool) -> dict[str, Floats]:
    """Variances in units of the data (follow-up unless named otherwise), correlations over visits, log-likelihood."""
    first, second = data.scale[:, usable]
    e, u = found.e, found.u
    at, rows = found.at, data.visits[:, usable]
    constant = 2.0 * (rows[0] * np.log(first) + rows[1] * np.log(second))
    degrees = rows.sum(axis=0)
    if reml:
        constant += data.design_scale[usable]
        degrees = degrees - data.sums.dropped.shape[1] + data.sums.dropped[usable].sum(axis=1)
    return {
        "icc": u[1, 1] / (u[1, 1] + e[1, 1]),
        "tau2": u[1, 1] * second**2,
        "sigma2": e[1, 1] * second**2,
        "tau2_baseline": u[0, 0] * first**2,
        "sigma2_baseline": e[0, 0] * first**2,
        "correlation": e[0, 1] / np.sqrt(e[0, 0] * e[1, 1]),
        "tau2_both": u[0, 1] * first * second,
        "loglik": -0.5 * (at.value + constant + degrees * np.log(2.0 * np.pi)),
    }


@dataclass(frozen=True)
class _Data:
    """Standardised sums and what is known before the fit.

    ``scale`` (2, trials) units of baseline and follow-up, ``visits`` (2, trials) rows observed, ``design_scale`` what
    units add to log |X'V^-1 X|, ``df`` practices with a follow-up less its practice-level coefficients (trials,).
    """

    rows: AnalysisSet
    sums: VisitSums
    scale: Floats
    visits: Floats
    design_scale: Floats
    df: Floats
    unclustered: Bools
    failed: Bools
    flags: NDArray[np.int64]


@dataclass(frozen=True)
class _Columns:
    """Standardised columns of the analysed rows: covariates from the intercept on, arm, baseline, follow-up (k, rows).

    A missing outcome is 0. ``units`` (k, trials); ``seen`` (2, rows) which visits were observed; ``practice`` (k,)
    whether a column is constant in practices by its nature; ``out_of_range`` trials that cannot be computed with.
    """

    values: Floats
    units: Floats
    seen: Bools
    practice: tuple[bool, ...]
    out_of_range: Bools


def _columns(batch: ObservedBatch, spec: Spec, baseline: str) -> tuple[AnalysisSet, _Columns]:
    """Rows with a baseline or a follow-up, every covariate observed, and their columns in standard units."""
    outcomes = np.stack([batch.at(baseline), batch.at(spec.outcome)])
    either = np.where(np.isnan(outcomes[1]), outcomes[0], outcomes[1])
    rows = analysed(batch, spec, either)
    values, units, practice = [], [], []
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
    seen = ~np.isnan(outcomes[:, rows.rows])
    for visit in (0, 1):
        moved, unit, outside = _standard(outcomes[visit, rows.rows], seen[visit], rows.trial, trials)
        beyond |= outside
        values.append(moved)
        units.append(unit)
    return rows, _Columns(np.stack(values), np.stack(units), seen, tuple(practice), beyond)


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


def _prepare(batch: ObservedBatch, spec: Spec, baseline: str) -> _Data:
    """Reduce the rows to sums by practice and pattern, and judge what can be fitted."""
    rows, columns = _columns(batch, spec, baseline)
    trials, z = batch.index.trials, len(columns.values) - 3
    first, second = [*range(z), z + 1], [*range(z + 1), z + 2]
    places = ([*range(z), 2 * z + 1], [*range(z, 2 * z + 1), 2 * z + 1])
    both = columns.seen[0] & columns.seen[1]
    patterns = (both, columns.seen[0] & ~both, columns.seen[1] & ~both)
    grams = [_products(columns.values[:, p], rows.trial[p], trials) for p in patterns]
    early = (grams[0] + grams[1])[np.ix_(first, first)]
    late = (grams[0] + grams[2])[np.ix_(second, second)]
    joined = grams[0][np.ix_([*range(z + 1), z + 1, z + 2], [*range(z + 1), z + 1, z + 2])]
    kept0, rest0 = _residual(early)
    kept1, rest1 = _residual(late)
    kept_both, rest_both = _residual(joined)
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
    df, few = _cluster_df(rows, columns, kept1)
    saturated = (flags == 0) & (df <= 0)
    unclustered = rows.counts == rows.clusters
    flags |= np.where(saturated | (unclustered & (flags == 0)), BIT["tau2_not_identified"], 0)
    flags = np.where(columns.out_of_range, BIT["out_of_range"], flags)
    failed = flags & (BIT["no_data"] | BIT["arm_aliased"] | BIT["constant_outcome"] | BIT["out_of_range"]) != 0
    failed |= saturated
    needed = coefficients_needed(batch, spec)
    aliased = (kept0.sum(axis=0) - 1 < needed) | (kept1.sum(axis=0) - 2 < needed)
    flags |= np.where(few, BIT["too_few_clusters"], 0) | np.where(aliased, BIT["aliased"], 0)
    units = columns.units
    design_scale = 2.0 * (
        (kept0 * (np.log(units[:z]) - np.log(units[z + 1]))).sum(axis=0)
        + (kept1 * (np.log(units[: z + 1]) - np.log(units[z + 2]))).sum(axis=0)
    )
    return _Data(rows, sums, units[z + 1 :], visits, design_scale, df, unclustered, failed, flags)


def _products(values: Floats, trial: NDArray[np.intp], trials: int) -> Floats:
    """Cross-products per trial (k, k, trials)."""
    k = len(values)
    out = np.zeros((k, k, trials))
    for i in range(k):
        for j in range(i, k):
            out[i, j] = out[j, i] = sum_by(values[i] * values[j], trial, trials)
    return out


def _residual(gram: Floats) -> tuple[Bools, Floats]:
    """Regressors that are kept (k - 1, trials), and the residual sum of squares of the last variable (trials,)."""
    p = len(gram) - 1
    kept = independent(gram[:p, :p], np.einsum("iit->it", gram[:p, :p]))
    gram = gram.copy()
    gram[:p] *= kept[:, None]
    gram[:, :p] *= kept[None]
    gram[np.arange(p), np.arange(p)] += ~kept
    return kept, sweep(gram, p)[2][0, 0]


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


def _cluster_df(rows: AnalysisSet, columns: _Columns, kept: Bools) -> tuple[Floats, Bools]:
    """Practices with a follow-up less its practice-level coefficients, and where an arm has fewer than two of them."""
    trials, seen = rows.index.trials, columns.seen[1]
    group, trial = rows.cluster_of_row[seen], rows.trial[seen]
    sizes = count_by(group, len(rows.cluster))
    there = sizes > 0
    spent = np.zeros(trials)
    for k, own in enumerate(columns.practice):
        level = np.ones(trials, dtype=bool)
        if not own:
            values = columns.values[k, seen]
            means = sum_by(values, group, len(sizes)) / np.maximum(sizes, 1.0)
            inside = sum_by((values - means[group]) ** 2, trial, trials)
            level = inside <= CONSTANT * sum_by(values**2, trial, trials)
        spent += kept[k] & level
    clusters = sum_by(there, rows.cluster_trial, trials)
    arm = np.zeros(len(sizes))
    arm[rows.cluster_of_row] = columns.values[-3]
    treated = sum_by(there & (arm > 0.5), rows.cluster_trial, trials)
    return clusters - spent, np.minimum(treated, clusters - treated) < 2
