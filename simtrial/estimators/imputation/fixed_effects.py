"""Imputation from a regression with an indicator of every practice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats, Ints
from simtrial.batch import ObservedBatch
from simtrial.estimators.imputation.engine import ImputationEngine, register_imputation
from simtrial.estimators.imputation.incomplete import Incomplete
from simtrial.estimators.imputation.regressions import FittedRegressions, gaps, reason
from simtrial.kernels.posterior import TINY
from simtrial.kernels.segments import count_by, sum_by
from simtrial.kernels.small_matrices import apply, cholesky, independent, sweep
from simtrial.moments.build import predictors
from simtrial.moments.moments import PERFECT, Moments
from simtrial.moments.rows import Spec

IMPROPER = "no more people with everything observed than practices and coefficients, or no variation within practices"
APART = 1e-4  # share of a covariate's SD by which someone differs from a practice within which it does not vary


@register_imputation("fixed-effects")
class FixedEffects(ImputationEngine):
    """Normal regression with an indicator of every practice: the pooled standard error is too large, at low ICCs most.

    Flat in the coefficients and the practice means, p(sigma2) proportional to 1/sigma2. Arm and whatever else is
    constant in practices is part of the practice means. Nobody of a practice without anyone observed can be imputed.
    """

    arm_alone: ClassVar[bool] = True
    extrapolates: ClassVar[bool] = False

    def fit(self, incomplete: Incomplete) -> FittedRegressions:
        """Fit the regressions of whatever is missing, those of the baseline first."""
        batch = incomplete.batch
        return FittedRegressions(
            incomplete, tuple(WithinPractices.of(batch, spec, fitted, rows) for spec, fitted, rows in gaps(incomplete))
        )


@dataclass(frozen=True, kw_only=True)
class WithinPractices:
    """One column to fill, and its regression within practices; see `FilledColumn`.

    ``place`` (practices,) is the analysed cluster of each practice, -1 without one. ``columns`` are the regressors that
    vary within practices, ``kept`` (columns, trials) those that are told apart, ``inverse``, ``coefficients``, ``rest``
    and ``df`` the least-squares fit. ``empty`` and ``unlike`` (trials,) count practices with somebody to impute
    and nobody observed, and people whom a covariate sets apart that does not vary within practices among the observed.
    """

    column: str
    spec: Spec
    fitted: Moments
    rows: Ints
    failed: Bools
    place: Ints
    columns: tuple[int, ...]
    inverse: Floats
    coefficients: Floats
    rest: Floats
    df: Floats
    empty: Floats
    unlike: Floats

    @classmethod
    def of(cls, batch: ObservedBatch, spec: Spec, fitted: Moments, rows: Ints) -> WithinPractices:
        """Fit the model of a column; rows of trials where it cannot be fitted are left blank."""
        index, trials, p = batch.index, fitted.trials, fitted.regressors
        own, columns = fitted.analysed, tuple(k for k in fitted.varying if k < p)
        some = len(columns)
        within = fitted.within[: some + 1, : some + 1]
        total = np.array([[sum_by(x, own.cluster_trial, trials) for x in row] for row in within])
        squares = np.array([fitted.gram[k, k] for k in columns]).reshape(some, trials)
        kept = independent(total[:some, :some], np.maximum(squares, np.finfo(float).tiny))
        both = np.concatenate([kept, np.ones((1, trials), dtype=bool)])
        total = np.where(fitted.failed, np.eye(some + 1)[:, :, None], total * both * both[:, None])
        total[np.arange(some), np.arange(some)] += ~kept & ~fitted.failed
        inverse, coefficients, rest, _ = sweep(total, some)
        df = fitted.counts - fitted.clusters - kept.sum(axis=0)
        place = np.full(index.practices, -1, dtype=np.intp)
        place[own.cluster] = np.arange(len(own.cluster))
        practice, trial = index.participant_practice[rows], index.participant_trial[rows]
        alone = np.unique(practice[place[practice] < 0])
        empty = count_by(index.practice_trial[alone], trials)
        unlike = count_by(trial[_unlike(batch, spec, fitted, rows, place[practice], columns, kept)], trials)
        able = ~fitted.failed & (df >= 1) & (rest[0, 0] > np.maximum(TINY, PERFECT * fitted.gram[p, p]))
        able &= np.isfinite(rest[0, 0]) & (empty == 0) & (unlike == 0)
        wanted = np.bincount(trial, minlength=trials) > 0
        return cls(
            column=spec.outcome, spec=spec, fitted=fitted, rows=rows[able[trial]], failed=wanted & ~able, place=place,
            columns=columns, inverse=inverse, coefficients=coefficients[:, 0], rest=rest[0, 0], df=df, empty=empty,
            unlike=unlike,
        )  # fmt: skip

    @property
    def drawable(self) -> bool:
        """Whether there is a trial to draw for."""
        return len(self.rows) > 0

    @property
    def flags(self) -> NDArray[np.int64]:
        """None (trials,)."""
        return np.zeros(self.fitted.trials, dtype=np.int64)

    def reason(self, trial: int) -> str:
        """Say why the model of one trial cannot be fitted."""
        empty, unlike = int(self.empty[trial]), int(self.unlike[trial])
        if self.fitted.failed[trial] or not empty + unlike:
            return reason(self.column, int(self.fitted.flags[trial]), IMPROPER)
        if empty:
            where = "1 practice has" if empty == 1 else f"{empty} practices have"
            why = f"{where} nobody with everything observed, and so no mean"
        else:
            who = "1 person differs" if unlike == 1 else f"{unlike} people differ"
            why = f"{who} from their practice in a covariate that varies in none among those with everything observed"
        return f"the imputation model of '{self.column}' cannot be fitted: {why}"

    def drawn(self, batch: ObservedBatch, rng: np.random.Generator) -> Floats:
        """Draw sigma2, slopes, practice means and values; the column filled (participants,)."""
        fitted, index, p, trials = self.fitted, batch.index, self.fitted.regressors, self.fitted.trials
        used, some, own = np.unique(index.participant_trial[self.rows]), len(self.columns), self.fitted.analysed
        sigma2, beta = np.zeros(trials), np.zeros((some, trials))
        sigma2[used] = 0.5 * self.rest[used] / rng.standard_gamma(0.5 * self.df[used])
        noise = np.sqrt(sigma2[used]) * rng.standard_normal((some, len(used)))
        beta[:, used] = self.coefficients[:, used] + apply(cholesky(self.inverse[:, :, used]), noise)
        spread = np.sqrt(sigma2[own.cluster_trial] / own.sizes)
        means = fitted.means[p] + spread * rng.standard_normal(len(own.cluster))
        people, cluster = index.participant_trial[self.rows], self.place[index.participant_practice[self.rows]]
        chosen = list(self.columns)
        apart = predictors(batch, self.spec, fitted, self.rows)[chosen] - fitted.means[chosen][:, cluster]
        values = batch.at(self.column).copy()
        values[self.rows] = (
            means[cluster] + np.einsum("pn,pn->n", apart, beta[:, people]) + fitted.center[p, people]
            + np.sqrt(sigma2[people]) * rng.standard_normal(len(self.rows))
        )  # fmt: skip
        return values


def _unlike(
    batch: ObservedBatch, spec: Spec, fitted: Moments, rows: Ints, cluster: Ints, columns: tuple[int, ...], kept: Bools
) -> Bools:
    """Rows that differ from their cluster in a column that varies within none of the trial (rows,)."""
    odd = np.zeros(len(rows), dtype=bool)
    some = np.flatnonzero(cluster >= 0)
    trial, chosen = batch.index.participant_trial[rows[some]], list(columns)
    apart = np.abs(predictors(batch, spec, fitted, rows[some])[chosen] - fitted.means[chosen][:, cluster[some]])
    squares = np.array([fitted.gram[k, k] for k in columns]).reshape(len(columns), fitted.trials)
    scale = np.sqrt(squares / np.maximum(fitted.counts, 1.0))
    odd[some] = ((apart > APART * scale[:, trial]) & ~kept[:, trial]).any(axis=0)
    return odd
