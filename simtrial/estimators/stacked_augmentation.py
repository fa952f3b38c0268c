"""Augmented weighting in its efficient form: correlated outcomes, allocation modelled, one stack of equations.

mu(a) = sum_j w_j / w_+ {mean_i m(x_ij, a) + 1(A_j = a) / pi_j(a) mean_i R_ij (y_ij - m(x_ij, a)) / p_ij}, where m is
fitted by the estimating equations of `gee` with an exchangeable correlation, and pi_j is a logistic regression of arm
on the practice means of the covariates (Wang, Li and Wang 2024, arXiv:2401.11278). Both leave the estimand as it is:
neither model has to be right, because arm is randomised.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simtrial.arrays import Bools, Floats, Ints
from simtrial.batch import ObservedBatch
from simtrial.estimators.being_observed import BeingObserved
from simtrial.estimators.g_computation import OutcomeModel
from simtrial.estimators.weighted_equations import Equations, Solution
from simtrial.kernels import logistic
from simtrial.kernels.segments import count_by, sum_by
from simtrial.kernels.small_matrices import ALIASED, apply
from simtrial.moments.build import predictors
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec


@dataclass(frozen=True, kw_only=True)
class Solved:
    """Means under control and intervention (2, trials), variance of their difference, and what the models were.

    ``alpha`` is the correlation of the outcomes and ``settled`` whether it stands still, ``covariates`` the number of
    those of allocation, ``separated`` whether they tell the arm of some practices, ``truncated`` whether a probability
    was raised to the smallest (trials,).
    """

    means: Floats
    variance: Floats
    alpha: Floats
    covariates: Floats
    settled: Bools
    separated: Bools
    truncated: Bools


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """Model of the arm of every practice of everybody, given the means of its covariates.

    ``weight`` is 1/pi in intervention and -1/(1 - pi) in control, ``slope`` its derivative by the linear predictor,
    ``moved`` (q, practices) what each practice adds to the coefficients, ``columns`` (q, practices).
    """

    weight: Floats
    slope: Floats
    columns: Floats
    moved: Floats
    covariates: Floats
    separated: Bools
    truncated: Bools

    @classmethod
    def of(cls, means: Floats, spread: Floats, arm: Bools, trial: Ints, trials: int, smallest: float) -> Allocation:
        """Fit to means (covariates, practices), whose spread in the trial is the unit.

        Means that vary by no more than rounding of people's values, whose mean squares are ``spread`` (covariates,
        trials), say nothing. Where the others tell the arm of some practices no finite coefficients fit: then everybody
        has the share of the arm.
        """
        count = np.maximum(count_by(trial, trials), 1.0)
        away = means - (sum_by(means, trial, trials) / count)[:, trial]
        squares = sum_by(away**2, trial, trials) / count
        length = np.where(squares > ALIASED * spread, np.sqrt(squares), np.inf)
        columns = np.ones((1 + len(means), len(trial)))
        columns[1:] = away / length[:, trial]
        found = logistic.fit(columns, arm, trial, trials)
        separated = sum_by(found.certain, trial, trials) > 0
        if separated.any():
            columns[1:] *= ~separated[trial]
            found = logistic.fit(columns, arm, trial, trials)
        own = np.where(arm, found.probability, 1.0 - found.probability)
        free, sign = own > smallest, np.where(arm, 1.0, -1.0)
        size = 1.0 / np.maximum(own, smallest)
        kept = np.einsum("iig->ig", found.inverse) > 0
        score = columns * np.where(found.certain, 0.0, arm - found.probability)
        return cls(
            weight=sign * size, slope=np.where(free, 1.0 - size, 0.0), columns=columns,
            moved=apply(found.inverse[:, :, trial], score), covariates=kept[1:].sum(axis=0).astype(np.float64),
            separated=separated, truncated=sum_by(~free, trial, trials) > 0,
        )  # fmt: skip


def efficient(
    batch: ObservedBatch, spec: Spec, made: Moments, model: OutcomeModel, observed: BeingObserved, *, equal: bool,
    smallest: float,
) -> Solved:  # fmt: skip
    """Solve the stack of equations of every trial; ``equal`` gives every practice the same weight."""
    everyone, p, trials = observed.everyone, made.regressors, made.trials
    cluster, clusters, trial = everyone.cluster_of_row, len(everyone.cluster), everyone.cluster_trial
    covariates = predictors(batch, spec, made, everyone.rows)[: p - 1]
    arm = batch.at("arm", "practice")[everyone.cluster] == 1
    solution, settled = _outcome(made, model)
    beta = solution.coefficients[:, trial]

    def mean(values: Floats) -> Floats:
        return sum_by(values, cluster, clusters) / everyone.sizes

    averages = mean(covariates)
    counts = np.maximum(everyone.counts, 1.0)
    away = covariates[1:] - (sum_by(covariates[1:], everyone.trial, trials) / counts)[:, everyone.trial]
    spread = sum_by(away**2, everyone.trial, trials) / counts
    allocation = Allocation.of(averages[1:], spread, arm, trial, trials, smallest)
    seen, place = observed.place, cluster[observed.place]
    weight, slope = observed.weights(smallest)
    residual = sum_by(weight * solution.residual, place, clusters) / everyone.sizes
    products = model.kept.shape[0] - p
    of_arm = [np.concatenate([averages, np.full((1, clusters), a), a * averages[1 : 1 + products]]) for a in (0.0, 1.0)]
    share = np.ones(clusters) if equal else everyone.sizes
    share = share / sum_by(share, trial, trials)[trial]
    own = np.stack([~arm, arm]) * np.abs(allocation.weight) * residual
    practice = np.stack([(columns * beta).sum(axis=0) for columns in of_arm]) + own
    means = sum_by(share * practice, trial, trials)

    turned = sum_by(solution.equations.x * weight, place, clusters) / everyone.sizes
    by_outcome = sum_by(share * (of_arm[1] - of_arm[0] - allocation.weight * turned), trial, trials)
    by_loss = sum_by(
        observed.columns[:, seen] * (slope * solution.residual * (share * allocation.weight / everyone.sizes)[place]),
        observed.group[seen], observed.inverse.shape[-1],
    )  # fmt: skip
    by_allocation = sum_by(share * residual * allocation.slope * allocation.columns, trial, trials)

    influence = share * (practice[1] - practice[0] - (means[1] - means[0])[trial])
    scores = solution.equations.by_practice(solution.turned * solution.residual)[:, everyone.cluster]
    inverse = solution.inverse * solution.equations.kept * solution.equations.kept[:, None]
    influence += (apply(inverse, by_outcome)[:, trial] * scores).sum(axis=0)
    lost = apply(observed.inverse, by_loss)[:, observed.group]
    influence -= sum_by((lost * observed.score).sum(axis=0), cluster, clusters)
    influence += (by_allocation[:, trial] * allocation.moved).sum(axis=0)
    practices = count_by(trial, trials)
    with np.errstate(divide="ignore", invalid="ignore"):
        fewer = practices / (practices - 1.0) * practices / (practices - allocation.covariates)
        variance = fewer * sum_by(influence**2, trial, trials)
    return Solved(
        means=means, variance=variance, alpha=solution.alpha, covariates=allocation.covariates, settled=settled,
        separated=allocation.separated, truncated=allocation.truncated,
    )  # fmt: skip


def _outcome(made: Moments, model: OutcomeModel) -> tuple[Solution, Bools]:
    """Estimating equations of those observed, products of arm with covariates included; whether alpha has settled."""
    p = made.regressors
    x = made.design[:p]
    columns = np.concatenate([x, x[model.arm] * x[1 : 1 + len(model.kept) - p]])
    equations = Equations.plain(made, columns * model.kept[:, made.analysed.trial], model.kept)
    alpha, settled, _ = equations.correlation()
    return equations.solved(alpha), settled
