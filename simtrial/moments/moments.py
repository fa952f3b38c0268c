"""Cross-products and cluster sums for one response, covariates and analysis set: made once, shared explicitly."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats, Ints
from simtrial.core import compiled
from simtrial.flags import BIT
from simtrial.kernels import random_intercept_fit, sandwich
from simtrial.kernels.by_arm_criterion import ArmSums, arm_sums
from simtrial.kernels.cluster_basis import Direction, InBases, directions, products_along
from simtrial.kernels.random_intercept_criterion import SizeSums
from simtrial.kernels.random_intercept_grid import XGrids
from simtrial.kernels.slot_sums import gram, slot_products
from simtrial.kernels.small_matrices import sweep
from simtrial.moments.analysis_set import AnalysisSet
from simtrial.moments.columns import Column, centred, within_with
from simtrial.moments.growing import Growing
from simtrial.moments.rows import PRODUCT

PERFECT = 1e-13  # residual share of the outcome's sum of squares below which the fit is called perfect
CONSTANT = 1e-20  # within-cluster share of a covariate's sum of squares below which it is constant in clusters


@dataclass(frozen=True)
class LeastSquares:
    """OLS per trial: (X'X)^-1 (p, p, trials), coefficients (p, responses, trials), residual products."""

    inverse: Floats
    coefficients: Floats
    residual: Floats


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Sufficient statistics of every trial: p regressors (intercept first, arm last), then responses, q in all.

    Products with arm stand just before it.

    Attributes
    ----------
    analysed, terms
        Whose rows, and the names of the p regressors.
    means
        Cluster means z_j (q, clusters) of centred columns.
    varying, inner, within
        Which columns vary inside clusters (V of them), their deviations from cluster means (rows,) each, and the
        cross-products of these per cluster (V, V, clusters).
    gram
        [X Y]'[X Y] (q, q, trials), a 1 on the diagonal of dropped columns; the identity for failed trials.
    center
        What was subtracted (q, trials): trial means of measurements, 0 for indicators.
    kept
        (p, trials); regressors that are aliased are dropped (0 everywhere), order deciding.
    cluster_level
        (p, trials); columns of covariates that are constant within every analysed cluster.
    cluster_rank
        Cluster-level coefficients, intercept and arm included: rank of the columns above (trials,).
    failed, flags
        Trials without a usable fit, and flag bits (trials,).
    parent
        The same moments without the last response.
    columns
        What centring made of the regressors; none where these were changed since.
    again
        An entry for each time that X was that of other moments as well: what it alone decides is then worth keeping.
    """

    analysed: AnalysisSet
    terms: tuple[str, ...]
    means: Floats
    varying: tuple[int, ...]
    inner: tuple[Floats, ...]
    within: Floats
    gram: Floats
    center: Floats
    kept: Bools
    cluster_level: Bools
    cluster_rank: Floats
    failed: Bools
    flags: NDArray[np.int64]
    parent: Moments | None = None
    columns: tuple[Column, ...] = field(default=(), repr=False)
    again: list[bool] = field(default_factory=list, repr=False)
    _leverages: dict[str, sandwich.Leverage] = field(default_factory=dict, repr=False)
    _grids: XGrids = field(default_factory=XGrids, repr=False)
    _room: tuple[Growing, Growing] | None = field(default=None, repr=False)  # means and deviations, as they stand there

    @property
    def trials(self) -> int:
        """Number of trials."""
        return self.analysed.index.trials

    @property
    def regressors(self) -> int:
        """Number of columns of X, p."""
        return len(self.terms)

    @property
    def products(self) -> tuple[str, ...]:
        """Names of the products of arm with a covariate."""
        return tuple(term for term in self.terms if term.startswith(PRODUCT))

    @property
    def counts(self) -> Floats:
        """Analysed participants N (trials,)."""
        return self.analysed.counts

    @property
    def clusters(self) -> Floats:
        """Analysed clusters J (trials,)."""
        return self.analysed.clusters

    @property
    def cluster_trial(self) -> Ints:
        """Trial of each analysed cluster (clusters,)."""
        return self.analysed.cluster_trial

    @property
    def sizes(self) -> Floats:
        """Analysed participants n_j of each cluster (clusters,)."""
        return self.analysed.sizes

    @cached_property
    def rank(self) -> Floats:
        """Rank of X (trials,)."""
        return np.asarray(self.kept.sum(axis=0), dtype=np.float64)

    @cached_property
    def usable(self) -> Ints:
        """Trials that can be fitted."""
        return np.flatnonzero(~self.failed)

    @cached_property
    def fitted(self) -> Ints | slice:
        """The same as an index, all of them at once where that is so."""
        return slice(None) if len(self.usable) == self.trials else self.usable

    def spread(self, values: Floats) -> Floats:
        """Give every trial what is known of the usable ones, NaN to the others: (..., usable) -> (..., trials)."""
        if len(self.usable) == self.trials:
            return values
        out = np.full((*values.shape[:-1], self.trials), np.nan)
        out[..., self.usable] = values
        return out

    @cached_property
    def slot_sums(self) -> tuple[Floats, Floats]:
        """Packed sums of z_j z_j' over the clusters of a slot (slots, K, trials), and pooled within (K, trials).

        A 1 stands where a dropped column would be.
        """
        slot, sizes = self.analysed.slots
        shared = compiled() is None or self.root.again  # compiled, all at once is quicker than copying once
        before = self.parent.slot_sums if self.parent is not None and shared else None
        between, pooled = slot_products(
            self.means, self.within, self.varying, slot, self.cluster_trial, len(sizes), self.trials, before
        )
        if before is None and not self.kept.all():
            diagonal = np.arange(self.regressors)
            pooled[diagonal * (diagonal + 3) // 2] += ~self.kept
        return between, pooled

    def size_sums(self) -> SizeSums:
        """Sums for the random-intercept model of the first response, usable trials only."""
        (_, sizes), (between, pooled) = self.analysed.slots, self.slot_sums
        q = self.regressors + 1
        packed = q * (q + 1) // 2
        every = SizeSums(
            sizes=sizes, counts=self.analysed.slot_counts, between=between[:, :packed],
            within=pooled[:packed], regressors=self.regressors, rows=self.counts, rank=self.rank,
            dropped=(~self.kept).astype(np.float64),
        )  # fmt: skip
        return every if len(self.usable) == self.trials else every.take(self.usable)

    @cached_property
    def by_arm(self) -> ArmSums:
        """Sums by arm for the model of the first response with variances by arm, usable trials only."""
        p, rows = self.regressors, self.analysed
        place = [(at, column) for at, column in enumerate(self.varying) if column <= p]
        within = {(i, j): self.within[a, b] for a, i in place for b, j in place if i <= j}
        every = arm_sums(
            self.means[: p + 1], within, self.means[p - 1] > 0.5, self.sizes, self.cluster_trial, rows.slots[0],
            self.kept,
        )  # fmt: skip
        return every if len(self.usable) == self.trials else every.take(self.usable)

    @property
    def basis(self) -> Floats:
        """X of clusters in orthonormal bases of their own, trials first (trials, positions, k, p)."""
        return self.root.x_in_bases.laid_out

    @property
    def responses(self) -> Floats:
        """The responses in the bases of X (trials, positions, k, responses)."""
        return self.responses_in_bases.laid_out

    @cached_property
    def x_in_bases(self) -> InBases:
        """X in bases of its own."""
        if self.parent is not None:
            return self.root.x_in_bases
        along = directions(self.inner, [self.within[k, k] for k in range(len(self.inner))], self.analysed)
        return self._in_bases(self.means, self.inner, np.array(self.varying, dtype=np.int64), self.within, along)

    @cached_property
    def responses_in_bases(self) -> InBases:
        """The responses in the bases of X."""
        p, x = self.regressors, self.root.x_in_bases
        old, every = len(x.found), np.arange(len(self.means) - p)
        return self._in_bases(self.means[p:], self.inner[old:], every, self.within[:1, old:], x.found)

    def _in_bases(
        self, means: Floats, inner: Sequence[Floats], varies: Ints, within: Floats, along: tuple[Direction, ...]
    ) -> InBases:
        """Columns in the bases of X; ``within`` begins with products with the first that varies."""
        products = products_along(inner, along, self.analysed, within[0] if along else None)
        return InBases(
            rows=self.analysed, trials=self.trials, means=means, products=products, varies=varies, found=along
        )

    @cached_property
    def least_squares(self) -> LeastSquares:
        """OLS of every response on X."""
        inverse, coefficients, rest, _ = sweep(self.gram, self.regressors)
        return LeastSquares(inverse, coefficients, rest)

    @cached_property
    def reml(self) -> random_intercept_fit.Fit:
        """Random-intercept fit of the first response by REML, usable trials only."""
        one = self.counts - self.rank <= 1
        return self._by_reml(flat_too=True) if one[self.usable].any() else self.reml_where_told

    @cached_property
    def reml_where_told(self) -> random_intercept_fit.Fit:
        """The same for who fails trials with one contrast left, which tells no ratio of variances: none is sought."""
        return self._by_reml(flat_too=False)

    def _by_reml(self, flat_too: bool) -> random_intercept_fit.Fit:
        shared = self.root.again and len(self.usable) == self.trials
        known = self.root._grids if shared else None
        return random_intercept_fit.fit(self.size_sums(), reml=True, known=known, flat_too=flat_too)

    @cached_property
    def ml(self) -> random_intercept_fit.Fit:
        """Random-intercept fit of the first response by ML, usable trials only."""
        return random_intercept_fit.fit(self.size_sums(), reml=False)

    @property
    def root(self) -> Moments:
        """The moments of X alone."""
        return self if self.parent is None else self.parent.root

    def of_columns(self, rows: AnalysisSet, columns: Sequence[Column]) -> bool:
        """Whether these are moments of the very same columns of the same rows."""
        same = rows is self.analysed and len(columns) == len(self.columns)
        return same and all(map(operator.is_, columns, self.columns))

    def leverage(self, correction: sandwich.Correction, contrast: Floats | None = None) -> sandwich.Leverage:
        """Leverage-adjusted weights of a contrast; those of the arm are kept for all methods that ask."""
        root = self.root
        inverse = self.least_squares.inverse
        if contrast is not None:
            return sandwich.leverage_in_bases(root.x_in_bases, inverse, contrast, correction)
        if correction not in root._leverages:
            of_arm = self.contrast("arm")
            root._leverages[correction] = sandwich.leverage_in_bases(root.x_in_bases, inverse, of_arm, correction)
        return root._leverages[correction]

    @cached_property
    def design(self) -> Floats:
        """Centred columns of the analysed rows (q, rows), dropped ones 0."""
        out = self.means[:, self.analysed.cluster_of_row]
        for column, values in zip(self.varying, self.inner, strict=True):
            out[column] += values
        return out

    def contrast(self, term: str) -> Floats:
        """Coefficients (p, trials) that give a term in the user's units, centring undone."""
        chosen = np.zeros((self.regressors, self.trials))
        if term == "intercept":
            chosen[0] = 1.0
            chosen[1:] = -self.center[1 : self.regressors]
        else:
            chosen[self.terms.index(term)] = 1.0
        return chosen

    def with_response(self, values: Floats, measured: bool = True, at: Ints | None = None) -> Moments:
        """Add a response given for the analysed rows (rows,); what X alone decides is shared, not made again.

        ``at`` are the places of the rows among the values, where these are of more people.
        """
        rows, p = self.analysed, self.regressors
        before = self._room or (Growing.of(self.means, len(rows.cluster)), Growing.of(self.inner, len(rows.rows)))
        means, inner = (room.grown() for room in before)
        into = means.values[-1], inner.values[-1]
        added = centred(rows, values, measured, "participant", before[1].values, at, into)
        within = within_with(rows, self.within, self.inner, added)
        varying = *self.varying, len(self.means)
        total = gram_of(rows, means.values, within, varying, self.gram)
        made = replace(
            self, means=means.values, varying=varying, inner=(*self.inner, *added.inner), within=within,
            gram=blanked(total, self.failed), center=np.concatenate([self.center, added.center[None]]), parent=self,
            _leverages={}, _room=(means, inner),
        )  # fmt: skip
        made = made._fail(added.out_of_range, "out_of_range")
        return made if len(means.values) > p + 1 else made._judged()

    def _judged(self) -> Moments:
        """Fail trials whose outcome leaves no residual."""
        squares = self.gram[-1, -1]
        return self._fail(self.least_squares.residual[0, 0] <= PERFECT * squares, "constant_outcome")

    def _fail(self, which: Bools, flag: str) -> Moments:
        """Mark trials that have not failed before as failed, with the flag that says why."""
        which = which & ~self.failed
        if not which.any():
            return self
        failed, flags = self.failed | which, self.flags | np.where(which, BIT[flag], 0)
        return replace(self, failed=failed, flags=flags, gram=blanked(self.gram, failed))


def gram_of(
    rows: AnalysisSet, means: Floats, within: Floats, varying: Sequence[int], before: Floats | None = None
) -> Floats:
    """Cross-products of columns (q, q, trials); ``before`` are those without the last."""
    return gram(
        means, within, varying, rows.sizes, rows.cluster_trial, rows.place, rows.most, rows.index.trials, before
    )


def blanked(total: Floats, failed: Bools) -> Floats:
    """Cross-products with the identity in failed trials."""
    return np.where(failed, np.eye(len(total))[:, :, None], total) if failed.any() else total
