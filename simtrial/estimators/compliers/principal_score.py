"""Complier effect by principal scores: controls weighted by their chance to take up the intervention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.arrays import Bools, Floats
from simtrial.batch import ObservedBatch
from simtrial.estimators import Estimates, Method, practice_df, register, report
from simtrial.estimators.compliers.one_sided import Receipt, columns_of, kept_of, with_receipt
from simtrial.flags import BIT
from simtrial.kernels import logistic, logistic_sets
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec

TOGETHER = 50  # trials in one pass


@register("principal-score")
class PrincipalScore(Method):
    """Those who received against controls weighted by their estimated chance to receive, standard error by jackknife.

    Jo and Stuart (2009, doi:10.1002/sim.3669); Ding and Lu (2017, doi:10.1111/rssb.12191). The chance is a logistic
    model of receipt in the intervention arm on ``predictors``. The effect is the coefficient of arm in weighted least
    squares on arm and covariates among those who received (weight 1) and controls (their chance). It is causal only if
    the predictors explain whatever makes compliers differ from never-takers in their untreated outcome. The jackknife
    leaves out practices in turn and refits both models.
    """

    t_interval: ClassVar[bool] = False  # the imputation model would have to hold the chance to receive as well

    kind: Literal["principal-score"] = "principal-score"
    target = "received"
    received: str = Field(description="expression that defines receipt, e.g. sessions >= 6")
    predictors: list[str] | None = Field(None, description="covariates that predict receipt; default: those of adjust")
    df: Literal["clusters-p", "clusters-2", "normal"] = Field("clusters-p", description="df of the t interval")

    @property
    def _predictors(self) -> list[str]:
        return list(self.adjust or ()) if self.predictors is None else self.predictors

    def spec(self) -> Spec:
        """Rows whose receipt is known or who are in control."""
        return with_receipt(super().spec(), self.received, self._predictors)

    def expressions(self) -> tuple[str, ...]:
        """Expressions among the options."""
        return (*super().expressions(), self.received)

    def fit(
        self, batch: ObservedBatch, moments: Moments, rng: np.random.Generator | None, every_term: bool = False
    ) -> Estimates:
        """Fit every trial, and every trial without each of its practices."""
        receipt = Receipt.of(batch, moments, super().spec(), self.received)
        usable = np.flatnonzero(~receipt.failed)
        trials = moments.trials
        estimate, variance = np.full((2, 1, trials), np.nan)
        separated, alone = np.zeros((2, trials), dtype=bool)
        for first in range(0, len(usable), TOGETHER):
            chosen = usable[first : first + TOGETHER]
            sets = _Sets.of(moments, receipt, self.adjust or (), self._predictors, chosen)
            effects, separated[chosen], alone[chosen] = sets.effects()
            estimate[0, chosen], variance[0, chosen] = effects[:, 0], sets.jackknife(effects)
        few = (moments.flags & BIT["too_few_clusters"]) != 0
        left = practice_df(self.df, moments.clusters, moments.cluster_rank)
        variance[0] = np.where(few | alone | (left <= 0), np.nan, variance[0])
        flags = receipt.flags | np.where(separated & ~alone, BIT["separation"], 0)
        flags |= np.where(alone, BIT["one_compliant_practice"], 0)
        flags |= np.where((left <= 0) & ~receipt.failed, BIT["tau2_not_identified"], 0)
        lost = np.isnan(variance[0]) & ~receipt.failed & ~few & ~alone & (left > 0)
        flags |= np.where(lost, BIT["no_data"], 0)
        scale = np.where(receipt.failed, np.nan, receipt.share)
        return report(
            moments, ("received",), estimate, variance, left[None], self.level, failed=receipt.failed, flags=flags,
            extras={"complier_share": scale},
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Sets:
    """Rows of some trials side by side (trials, N, ...), and the subsets: everybody, then without each practice.

    ``inside`` (trials, sets, N) says who is in a subset; ``there`` (trials, sets) which subsets exist.
    """

    outcome: Floats
    design: Floats
    predictors: Floats
    offered: Bools
    received: Bools
    inside: Bools
    there: Bools
    clusters: Floats

    @classmethod
    def of(
        cls, moments: Moments, receipt: Receipt, adjust: list[str] | tuple[()], predictors: list[str],
        chosen: NDArray[np.intp],
    ) -> _Sets:  # fmt: skip
        """Lay out the rows of the trials ``chosen``."""
        rows = moments.analysed
        mine = np.flatnonzero(np.isin(rows.trial, chosen))
        trial = np.searchsorted(chosen, rows.trial[mine])
        count = np.bincount(trial, minlength=len(chosen))
        place = np.arange(len(mine)) - (np.cumsum(count) - count)[trial]
        shape = (len(chosen), int(count.max()))

        def beside(values: NDArray[np.generic]) -> Floats:
            out = np.zeros((*shape, *values.shape[1:]))
            out[trial, place] = values[mine]
            return out

        arm = receipt.offered.astype(np.float64)
        x = columns_of(moments, adjust) * kept_of(moments, adjust)[rows.trial]
        z = columns_of(moments, predictors) * kept_of(moments, predictors)[rows.trial]
        real, practice = beside(np.ones(len(rows.trial))) > 0, beside(rows.position[rows.cluster_of_row])
        sets = np.arange(int(moments.clusters[chosen].max()) + 1)
        return cls(
            outcome=beside(moments.design[moments.regressors]),
            design=beside(np.column_stack([np.ones(len(arm)), arm, x])),
            predictors=beside(np.column_stack([np.ones(len(arm)), z])),
            offered=beside(receipt.offered) > 0, received=beside(receipt.received) > 0,
            inside=real[:, None] & (practice[:, None] != (sets - 1)[None, :, None]),
            there=sets[None] <= moments.clusters[chosen][:, None], clusters=moments.clusters[chosen],
        )  # fmt: skip

    def effects(self) -> tuple[Floats, Bools, Bools]:
        """Effect in every subset (trials, sets); trials with separated classes; with a class in one practice alone."""
        takers = (self.inside & self.received[:, None]).sum(axis=2)
        others = (self.inside & (self.offered & ~self.received)[:, None]).sum(axis=2)
        alone = (((takers == 0) | (others == 0)) & self.there).any(axis=1)
        q, scored = self.predictors.shape[2], (self.inside & self.offered[:, None]).astype(np.float64)
        start = np.zeros((len(self.outcome), 1, q))
        share = takers[:, 0] / np.maximum(takers[:, 0] + others[:, 0], 1)
        start[:, 0, 0] = np.log(share / (1.0 - share))
        taken = np.asarray(self.received, dtype=np.float64)
        trial, place = np.nonzero(scored[:, 0])
        whole = logistic.fit(self.predictors[trial, place].T, self.received[trial, place], trial, len(start))
        settled = np.asarray(whole.converged & ~whole.separated)[:, None, None]
        fair = ~alone[:, None] & self.there & (takers > 0) & (others > 0)
        begin = np.where(settled, whole.coefficients.T[:, None], start) * np.ones((1, self.inside.shape[1], 1))
        each = np.where(fair[..., None], scored, scored[:, :1])  # subsets without a model repeat the whole
        at = logistic_sets.fit(self.predictors, taken, np.asarray(each, dtype=np.float64), begin)
        chance = logistic_sets.probability(at, self.predictors)
        weight = np.asarray(self.inside * np.where(self.offered[:, None], taken[:, None], chance), dtype=np.float64)
        found = _weighted(self.design, self.outcome, weight)
        return np.where(self.there, found, np.nan), whole.separated, np.asarray(alone)

    def jackknife(self, effects: Floats) -> Floats:
        """Variance (J - 1)/J sum_j (theta_(j) - mean)^2 (trials,)."""
        without, there = effects[:, 1:], self.there[:, 1:]
        centre = np.where(there, without, 0.0).sum(axis=1) / self.clusters
        squares = np.where(there, without - centre[:, None], 0.0) ** 2
        return np.asarray((self.clusters - 1.0) / self.clusters * squares.sum(axis=1))


def _weighted(design: Floats, outcome: Floats, weight: Floats) -> Floats:
    """Coefficient of arm, the second column, in weighted least squares by subset (trials, sets).

    A covariate that does not vary in a subset has no coefficient there.
    """
    trials, n, k = design.shape
    squares = (design[:, :, :, None] * design[:, :, None]).reshape(trials, n, k * k)
    gram = (weight @ squares).reshape(*weight.shape[:2], k, k)
    right = weight @ (design * outcome[:, :, None])
    inverse = np.linalg.pinv(gram, rcond=1e-11, hermitian=True)
    return np.asarray((inverse[:, :, 1] * right).sum(axis=2))
