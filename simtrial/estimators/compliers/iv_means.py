"""Reduced forms of practice means: differences of the arms in outcome and receipt, practices weighted or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats
from simtrial.estimators.cluster_means import Weights, residual_means, weighed
from simtrial.flags import BIT
from simtrial.kernels.segments import sum_by
from simtrial.moments.moments import Moments


@dataclass(frozen=True)
class ReducedForms:
    """Effects of arm on outcome and receipt (trials,), their joint variance (2, 2, trials), its df, and flags.

    ``singular``: one practice alone has determined an arm's mean.
    """

    outcome: Floats
    receipt: Floats
    joint: Floats
    df: Floats
    singular: Bools
    flags: NDArray[np.int64]
    extras: Mapping[str, Floats] = field(default_factory=dict)


def reduced_forms_of_means(moments: Moments, se: str, df: str, weights: Weights) -> ReducedForms:
    """Differences of weighted means over practices, and their sandwich: a practice is a row of weight w_j.

    With W the sum of weights of an arm and h_j = w_j/W, residual e_j of a practice counts w_j^2 e_j^2/W^2 (CR0), over
    1 - h_j (CR2) or its square (CR3). The working model, in which CR2 is unbiased, is Var = sigma^2/w_j.
    """
    assert moments.parent is not None
    weight, tau2, sigma2 = weighed(moments.parent, weights)
    arms = _Arms.of(moments, weight)
    means = [residual_means(moments, at) for at in (0, 1)]
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = [arms.total(weight * values) / arms.weight for values in means]
        apart = [values - mean[arms.side] for values, mean in zip(means, middle, strict=True)]
        counted, factor = arms.counted(se), arms.factor(se)
        joint = np.empty((2, 2, moments.trials))
        for a in (0, 1):
            for b in (0, 1):
                joint[a, b] = factor * arms.both(arms.total(counted * apart[a] * apart[b]))
    outcome, receipt = (mean.reshape(-1, 2)[:, 1] - mean.reshape(-1, 2)[:, 0] for mean in middle)
    flags, extras = np.zeros(moments.trials, dtype=np.int64), {}
    if weights == "inverse-variance":
        fitted = ~moments.failed
        flags |= np.where(np.isnan(sigma2) & fitted, BIT["tau2_not_identified"], 0)
        flags |= np.where((tau2 == 0.0) & fitted, BIT["boundary"], 0)
        extras = {"tau2": tau2, "sigma2": sigma2}
    return ReducedForms(
        outcome=outcome, receipt=receipt, joint=joint, df=arms.df(df, counted), flags=flags, extras=extras,
        singular=np.asarray((arms.practices.reshape(-1, 2) < 2).any(axis=1) & ~moments.failed),
    )  # fmt: skip


@dataclass(frozen=True)
class _Arms:
    """Practices by trial and arm: ``side`` (clusters,) numbers the arms of all trials; sums over it are (2 trials,)."""

    moments: Moments
    side: NDArray[np.intp]
    each: Floats
    weight: Floats
    practices: Floats

    @classmethod
    def of(cls, moments: Moments, weight: Floats) -> _Arms:
        """The practices of each arm of each trial, with these weights."""
        side = 2 * moments.cluster_trial + np.rint(moments.means[moments.regressors - 1]).astype(np.intp)
        groups = 2 * moments.trials
        return cls(
            moments=moments,
            side=side,
            each=weight,
            weight=sum_by(weight, side, groups),
            practices=sum_by(np.ones(len(side)), side, groups),
        )

    def total(self, values: Floats) -> Floats:
        """Sum by arm (2 trials,)."""
        return sum_by(values, self.side, 2 * self.moments.trials)

    def both(self, values: Floats) -> Floats:
        """Sum over the two arms (trials,)."""
        return np.asarray(values.reshape(-1, 2).sum(axis=1))

    def counted(self, se: str) -> Floats:
        """What the squared residual of every practice counts in the variance (clusters,)."""
        share = self.each / self.weight[self.side]
        if se == "classical":
            pooled = self.both(1.0 / self.weight) / (self.moments.clusters - 2.0)
            return np.asarray(self.each * pooled[self.moments.cluster_trial])
        left = np.where(self.practices[self.side] > 1.0, 1.0 - share, 0.0)
        return np.asarray({"CR2": share**2 / left, "CR3": share**2 / left**2}.get(se, share**2))

    def factor(self, se: str) -> Floats:
        """Small-sample factor of the whole variance (trials,)."""
        j = self.moments.clusters
        return {"CR1": j / (j - 1.0), "CR1S": j / (j - 2.0), "HC1": j / (j - 2.0)}.get(se, np.ones(len(j)))

    def df(self, df: str, counted: Floats) -> Floats:
        """Degrees of freedom (trials,); ``satterthwaite`` of a sum of chi-squares under the working model.

        With G = diag(1/w) - 11'/W the covariance of an arm's residuals and c what their squares count, it is
        (sum_j c_j G_jj)^2 / sum_jk c_j c_k G_jk^2, both added over the arms (Bell and McCaffrey 2002).
        """
        moments = self.moments
        if df != "satterthwaite":
            spent = {"residual": 2.0, "clusters-1": 1.0, "clusters-2": 2.0}.get(df, moments.cluster_rank)
            return np.full(moments.trials, np.inf) if df == "normal" else np.asarray(moments.clusters - spent)
        with np.errstate(divide="ignore", invalid="ignore"):
            own, joint = 1.0 / self.each, 1.0 / self.weight
            first = self.both(self.total(counted * own) - joint * self.total(counted))
            second = self.total(counted**2 * own**2) - 2.0 * joint * self.total(counted**2 * own)
            return first**2 / self.both(second + (joint * self.total(counted)) ** 2)
