"""Cross-products and cluster sums for one response, covariates and analysis set: made once, shared explicitly."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simtrial.batch import Index, ObservedBatch
from simtrial.design_matrix import Regressor, Spec, analysed, coefficients_needed, regressors, responses
from simtrial.flags import BIT
from simtrial.kernels import random_intercept, sandwich
from simtrial.kernels.criterion import SizeSums
from simtrial.kernels.segments import count_by, sum_by
from simtrial.kernels.symmetric import Floats, independent, pairs, sweep, unpack

Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]

PERFECT = 1e-13  # residual share of the outcome's sum of squares below which the fit is called perfect
CONSTANT = 1e-20  # within-cluster share of a covariate's sum of squares below which it is constant in clusters


@dataclass(frozen=True)
class Moments:
    """Sufficient statistics of every trial; p regressors (intercept first, arm last), then the responses.

    Attributes
    ----------
    index, terms
        Whose trials, and the names of the p regressors.
    rows
        Analysed participants (row numbers); ``design`` (q, rows) their centred values, ``trial`` their trials.
    cluster, cluster_trial, sizes
        Analysed clusters (row numbers of practices), their trials, and their analysed rows n_j (clusters,).
    cluster_of_row
        Place of each analysed participant's cluster in ``cluster``.
    means
        Cluster means z_j (q, clusters) of centred columns.
    varying, within
        Which of the q columns vary inside clusters, and their cross-products per cluster (V, V, clusters).
    center
        What was subtracted (q, trials): trial means of measurements, 0 for indicators.
    counts, clusters
        N and J per trial (trials,).
    kept
        (p, trials); columns that are aliased are dropped, order deciding.
    cluster_level
        (p, trials); constant within every analysed cluster.
    failed, flags
        Trials without a usable fit, and flag bits (trials,).
    """

    index: Index
    terms: tuple[str, ...]
    rows: Ints
    design: Floats
    trial: Ints
    cluster: Ints
    cluster_of_row: Ints
    cluster_trial: Ints
    sizes: Floats
    means: Floats
    varying: tuple[int, ...]
    within: Floats
    center: Floats
    counts: Floats
    clusters: Floats
    kept: Bools
    cluster_level: Bools
    failed: Bools
    flags: NDArray[np.int64]

    @property
    def regressors(self) -> int:
        """Number of columns of X, p."""
        return len(self.terms)

    @cached_property
    def rank(self) -> Floats:
        """Rank of X (trials,)."""
        return np.asarray(self.kept.sum(axis=0), dtype=np.float64)

    @cached_property
    def cluster_rank(self) -> Floats:
        """Cluster-level coefficients, intercept and arm included (trials,)."""
        return np.asarray((self.kept & self.cluster_level).sum(axis=0), dtype=np.float64)

    @cached_property
    def usable(self) -> Ints:
        """Trials that can be fitted."""
        return np.flatnonzero(~self.failed)

    def by_trial(self, values: Floats) -> Floats:
        """Sum values over the clusters of each trial: (..., clusters) -> (..., trials)."""
        return sum_by(values, self.cluster_trial, self.index.trials)

    @cached_property
    def _slots(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Sizes, counts, between and within sums of all q columns, by cluster size or by cluster if that is fewer."""
        trials = self.index.trials
        distinct, slot = np.unique(self.sizes, return_inverse=True)
        most = int(self.clusters.max()) if len(self.sizes) else 1
        if len(distinct) > most:
            first = np.concatenate([[0], np.cumsum(count_by(self.cluster_trial, trials))[:-1]])
            slot = np.arange(len(self.sizes)) - first[self.cluster_trial].astype(np.intp)
            sizes = np.ones((most, trials))
            sizes[slot, self.cluster_trial] = self.sizes
        else:
            sizes = distinct[:, None]
        slots = max(len(sizes), 1)
        key = slot * trials + self.cluster_trial

        def spread(values: Floats) -> Floats:
            return sum_by(values, key, slots * trials).reshape(slots, trials)

        upper = list(zip(*pairs(len(self.means)), strict=True))
        between = np.stack([spread(self.means[i] * self.means[j]) for i, j in upper], axis=1)
        counts = count_by(key, slots * trials).reshape(slots, trials)
        within = np.zeros((len(upper), trials))
        place = {column: at for at, column in enumerate(self.varying)}
        for k, (i, j) in enumerate(upper):
            if i in place and j in place:
                within[k] = self.by_trial(self.within[place[i], place[j]])
            if i == j and i < self.regressors:
                within[k] += ~self.kept[i]
        return sizes if len(sizes) else np.ones((1, 1)), counts, between, within

    def size_sums(self, response: int = 0) -> SizeSums:
        """Sums for the random-intercept model of one response, usable trials only."""
        sizes, counts, between, within = self._slots
        wanted = [*range(self.regressors), self.regressors + response]
        rows, cols = pairs(len(self.means))
        chosen = np.flatnonzero(np.isin(rows, wanted) & np.isin(cols, wanted))
        every = SizeSums(
            sizes, counts, between[:, chosen], within[chosen], self.regressors, self.counts, self.rank,
            (~self.kept).astype(np.float64),
        )  # fmt: skip
        return every if len(self.usable) == self.index.trials else every.take(self.usable)

    @cached_property
    def gram(self) -> Floats:
        """[X y]'[X y] (q, q, trials), identity in the place of dropped columns."""
        sizes, _, between, within = self._slots
        total = within + np.einsum("skr,sr->kr", between, np.broadcast_to(sizes, between.shape[::2]))
        return unpack(total, len(self.means))

    @cached_property
    def least_squares(self) -> LeastSquares:
        """OLS of every response on X."""
        inverse, coefficients, rest, _ = sweep(_harmless(self.gram, self.failed), self.regressors)
        return LeastSquares(inverse, coefficients, rest)

    @cached_property
    def reml(self) -> random_intercept.Fit:
        """Random-intercept fit of the first response by REML, usable trials only."""
        return random_intercept.fit(self.size_sums(), reml=True)

    @cached_property
    def ml(self) -> random_intercept.Fit:
        """Random-intercept fit of the first response by ML, usable trials only."""
        return random_intercept.fit(self.size_sums(), reml=False)

    @cached_property
    def basis(self) -> sandwich.Basis:
        """Every analysed cluster in an orthonormal basis of its own, for cluster-robust variances."""
        return sandwich.basis(self.sizes, self.means, self.within, list(self.varying), self.regressors)

    def contrast(self, term: str) -> Floats:
        """Coefficients (p, trials) that give a term in the user's units, centring undone."""
        chosen = np.zeros((self.regressors, self.index.trials))
        if term == "intercept":
            chosen[0] = 1.0
            chosen[1:] = -self.center[1 : self.regressors]
        else:
            chosen[self.terms.index(term)] = 1.0
        return chosen


@dataclass(frozen=True)
class LeastSquares:
    """OLS per trial: (X'X)^-1 (p, p, trials), coefficients (p, responses, trials), residual products."""

    inverse: Floats
    coefficients: Floats
    residual: Floats


def _harmless(gram: Floats, failed: Bools) -> Floats:
    """Replace the cross-products of failed trials by the identity, so that nothing divides by zero."""
    return np.where(failed, np.eye(len(gram))[:, :, None], gram)


def moments(batch: ObservedBatch, spec: Spec) -> Moments:
    """Reduce the analysed rows of every trial to means and cross-products by cluster.

    Analysed are participants with the outcome, arm and every covariate observed for whom all conditions hold.
    Measurements are centred at their trial mean first; means and deviations take two passes.
    """
    columns_of_x = regressors(batch, spec)
    outcomes = responses(batch, spec)
    rows = np.flatnonzero(analysed(batch, spec, outcomes))
    practice, trial = batch.index.participant_practice[rows], batch.index.participant_trial[rows]
    columns = [*columns_of_x, *outcomes]
    design, center = _centred(batch.index, columns, rows, practice, trial)
    per_practice = count_by(practice, batch.index.practices)
    cluster = np.flatnonzero(per_practice)
    place = np.zeros(batch.index.practices, dtype=np.intp)
    place[cluster] = np.arange(len(cluster))
    of_row, sizes = place[practice], per_practice[cluster]
    varying = tuple(k for k, column in enumerate(columns) if column.level == "participant")
    means = sum_by(design, of_row, len(cluster)) / sizes if len(cluster) else np.zeros((len(columns), 0))
    steady = [k for k in range(len(columns)) if k not in varying]
    first = np.zeros(len(cluster), dtype=np.intp)
    first[of_row[::-1]] = np.arange(len(rows))[::-1]
    means[steady] = design[steady][:, first]  # exactly, where nothing varies
    within = _within(design, means, varying, of_row, len(cluster))
    parts = (rows, design, trial, cluster, of_row, batch.index.practice_trial[cluster], sizes, means)
    return _judged(batch, spec, columns_of_x, parts, varying, within, center)


def predictors(batch: ObservedBatch, spec: Spec, fitted: Moments, rows: Ints) -> Floats:
    """X of other participants on the scale of the fitted moments: centred alike, dropped columns 0 (p, rows)."""
    columns = regressors(batch, spec)
    practice, trial = batch.index.participant_practice[rows], batch.index.participant_trial[rows]
    values = np.stack([c.values[rows if c.level == "participant" else practice] for c in columns])
    return np.asarray((values - fitted.center[: len(columns), trial]) * fitted.kept[:, trial])


def _centred(index: Index, columns: list[Regressor], rows: Ints, practice: Ints, trial: Ints) -> tuple[Floats, Floats]:
    design, center = np.empty((len(columns), len(rows))), np.zeros((len(columns), index.trials))
    counts = np.maximum(count_by(trial, index.trials), 1.0)
    for k, column in enumerate(columns):
        design[k] = column.values[rows if column.level == "participant" else practice]
        if column.measured:
            center[k] = sum_by(design[k], trial, index.trials) / counts
            design[k] -= center[k][trial]
    return design, center


def _within(design: Floats, means: Floats, varying: tuple[int, ...], of_row: Ints, clusters: int) -> Floats:
    """Cross-products of deviations from cluster means, per cluster (V, V, clusters)."""
    chosen = list(varying)
    deviation = design[chosen] - means[chosen][:, of_row]
    within = np.empty((len(chosen), len(chosen), clusters))
    for i in range(len(chosen)):
        for j in range(i, len(chosen)):
            within[i, j] = sum_by(deviation[i] * deviation[j], of_row, clusters)
            within[j, i] = within[i, j]
    return within


def _judged(
    batch: ObservedBatch,
    spec: Spec,
    columns_of_x: list[Regressor],
    parts: tuple[Ints, Floats, Ints, Ints, Ints, Ints, Floats, Floats],
    varying: tuple[int, ...],
    within: Floats,
    center: Floats,
) -> Moments:
    """Drop aliased columns, tell cluster-level from individual ones, and flag what is thin."""
    rows, design, trial, cluster, of_row, cluster_trial, sizes, means = parts
    trials, p = batch.index.trials, len(columns_of_x)
    squares = sum_by(design**2, trial, trials)
    draft = Moments(
        batch.index, tuple(r.term for r in columns_of_x), rows, design, trial, cluster, of_row, cluster_trial, sizes,
        means, varying, within, center,
        count_by(trial, trials),
        count_by(cluster_trial, trials),
        np.ones((p, trials), dtype=bool), np.ones((p, trials), dtype=bool),
        np.zeros(trials, dtype=bool), np.zeros(trials, dtype=np.int64),
    )  # fmt: skip
    kept = independent(draft.gram[:p, :p], squares[:p])
    level = np.ones((p, trials), dtype=bool)
    for at, column in enumerate(varying):
        if column < p:
            inside = sum_by(within[at, at], cluster_trial, trials)
            level[column] = inside <= CONSTANT * squares[column]
    flags = _flags(batch, spec, draft, kept)
    rest = _residual(draft.gram, kept, p)
    constant = rest <= PERFECT * squares[p]
    flags |= np.where(constant & kept[-1] & (draft.counts > kept.sum(axis=0)), BIT["constant_outcome"], 0)
    failed = (flags & (BIT["no_data"] | BIT["arm_aliased"] | BIT["constant_outcome"])) != 0
    kept_rows = kept[:, trial] if not kept.all() else None
    if kept_rows is not None:
        design, means, within = design.copy(), means.copy(), within.copy()
        design[:p] *= kept_rows
        means[:p] *= kept[:, cluster_trial]
        for at, column in enumerate(varying):
            if column < p:
                within[at] *= kept[column, cluster_trial]
                within[:, at] *= kept[column, cluster_trial]
    return Moments(
        batch.index, draft.terms, rows, design, trial, cluster, of_row, cluster_trial, sizes, means, varying, within,
        center, draft.counts, draft.clusters, kept, level, failed, flags,
    )  # fmt: skip


def _residual(gram: Floats, kept: Bools, p: int) -> Floats:
    """Residual sum of squares of the first response on the kept columns (trials,)."""
    mask = np.concatenate([kept, np.ones((1, kept.shape[1]), dtype=bool)])
    part = gram[: p + 1, : p + 1] * mask[:, None] * mask[None, :]
    part[np.arange(p), np.arange(p)] += ~kept
    return np.asarray(sweep(part, p)[2][0, 0])


def _flags(batch: ObservedBatch, spec: Spec, draft: Moments, kept: Bools) -> NDArray[np.int64]:
    trials = batch.index.trials
    flags = np.zeros(trials, dtype=np.int64)
    arm = draft.design[len(kept) - 1]
    rank = kept.sum(axis=0)
    flags |= np.where(draft.counts <= rank, BIT["no_data"], 0)
    flags |= np.where(~kept[-1] & (draft.counts > 0), BIT["arm_aliased"], 0)
    first = np.zeros(len(draft.cluster), dtype=np.intp)
    first[draft.cluster_of_row] = np.arange(len(draft.rows))
    treated = sum_by((arm[first] > 0.5).astype(np.float64), draft.cluster_trial, trials)
    thin = np.minimum(treated, draft.clusters - treated) < 2
    flags |= np.where(thin, BIT["too_few_clusters"], 0)
    flags |= np.where(rank - 2 < coefficients_needed(batch, spec), BIT["aliased"], 0)
    return flags
