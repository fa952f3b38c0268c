"""Probabilities of being observed: logistic regression among everyone who might have been, with an outcome or not."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats, Ints
from simtrial.batch import ObservedBatch
from simtrial.flags import BIT
from simtrial.kernels import logistic
from simtrial.kernels.segments import sum_by
from simtrial.moments.analysis_set import AnalysisSet
from simtrial.moments.build import x_moments
from simtrial.moments.columns import in_range, less_mean
from simtrial.moments.moments import Moments
from simtrial.moments.rows import Spec, analysed, outcome, regressors


@dataclass(frozen=True, kw_only=True)
class BeingObserved:
    """Fitted probabilities of an outcome being there, each arm by its own coefficients or both by the same.

    Attributes
    ----------
    everyone
        People with arm and all covariates who meet the conditions.
    seen, probability
        Who of them has an outcome, and with what probability (rows,).
    columns
        Covariates of the model, centred and scaled within ``group`` (q, rows).
    group
        Trial, or arm of a trial: control of trial t is 2t, intervention 2t + 1 (rows,).
    inverse
        Inverse of the information (q, q, groups).
    score
        Columns times outcome less probability, 0 for those who are certain (q, rows).
    certain
        Who is certain to be observed or lost (rows,).
    separated, converged, out_of_range
        (trials,).
    """

    everyone: AnalysisSet
    seen: Bools
    probability: Floats
    columns: Floats
    group: Ints
    inverse: Floats
    score: Floats
    certain: Bools
    separated: Bools
    converged: Bools
    out_of_range: Bools

    @classmethod
    def of(cls, batch: ObservedBatch, spec: Spec, by_arm: bool) -> BeingObserved:
        """Fit the model to everyone with the covariates of ``spec`` who meets its conditions."""
        everyone = analysed(batch, spec, np.zeros(batch.index.participants))
        return cls.among(batch, spec, everyone, ~np.isnan(outcome(batch, spec)[everyone.rows]), by_arm)

    @classmethod
    def among(cls, batch: ObservedBatch, spec: Spec, everyone: AnalysisSet, seen: Bools, by_arm: bool) -> BeingObserved:
        """Fit the model of ``seen`` (rows,), having an outcome or anything else, among some people."""
        trials, arm = batch.index.trials, batch.at("arm")[everyone.rows] == 1
        group, groups = (2 * everyone.trial + arm, 2 * trials) if by_arm else (everyone.trial, trials)
        columns, beyond = _columns(batch, spec, everyone, group, groups, by_arm)
        found = logistic.fit(columns, seen, group, groups)
        residual = np.where(found.certain, 0.0, seen - found.probability)

        def by_trial(values: Bools) -> Bools:
            return np.asarray(values.reshape(trials, -1).any(axis=1))

        return cls(
            everyone=everyone, seen=seen, probability=found.probability, columns=columns, group=group,
            inverse=found.inverse, score=columns * residual, certain=found.certain, separated=by_trial(found.separated),
            converged=~by_trial(~found.converged), out_of_range=by_trial(beyond),
        )  # fmt: skip

    @property
    def place(self) -> Ints:
        """Places of the people with an outcome among everyone."""
        return np.flatnonzero(self.seen)

    def weights(self, smallest: float) -> tuple[Floats, Floats]:
        """Inverse probabilities of those with an outcome, none below ``smallest``, and -dw/d(linear predictor)."""
        probability = self.probability[self.seen]
        free = probability > smallest
        weight = 1.0 / np.maximum(probability, smallest)
        return weight, np.where(free, weight - 1.0, 0.0)

    def per_practice(self, values: Floats) -> Floats:
        """Sum values of everyone over the batch's practices: (..., rows) -> (..., practices)."""
        index = self.everyone.index
        return sum_by(values, index.participant_practice[self.everyone.rows], index.practices)


def missingness_spec(spec: Spec, auxiliary: list[str]) -> Spec:
    """Columns of the model of being observed: those of the analysis, and more."""
    return replace(spec, adjust=tuple(dict.fromkeys((*spec.adjust, *auxiliary))))


def both_models(
    batch: ObservedBatch, spec: Spec, wide: Spec, moments: Moments, by_arm: bool
) -> tuple[Moments, BeingObserved]:
    """Moments of an analysis, and the model of being observed; ``moments`` are of ``wide``, auxiliary columns included.

    Both are of the same rows: those with every column of either.
    """
    made = moments
    if wide != spec:
        rows = moments.analysed
        made = x_moments(batch, spec, rows).with_response(outcome(batch, spec), at=rows.rows)
    return made, BeingObserved.of(batch, wide, by_arm)


def missingness_flags(observed: BeingObserved) -> NDArray[np.int64]:
    """What is odd about the models of being observed (trials,)."""
    flags = np.where(observed.separated, BIT["separation"], 0) | np.where(observed.converged, 0, BIT["not_converged"])
    return np.where(observed.out_of_range, BIT["out_of_range"], flags)


def _columns(
    batch: ObservedBatch, spec: Spec, everyone: AnalysisSet, group: Ints, groups: int, by_arm: bool
) -> tuple[Floats, Bools]:
    """Intercept and covariates (q, rows), less their mean and over their SD by group; groups that are out of range."""
    order = np.argsort(group, kind="stable")
    sorted_group, counts = group[order], np.bincount(group, minlength=groups).astype(np.float64)
    practice = batch.index.participant_practice[everyone.rows]
    wanted = [r for r in regressors(batch, spec)[1:] if not (by_arm and r.term == "arm")]
    out, beyond = np.ones((1 + len(wanted), len(group))), np.zeros(groups, dtype=bool)
    for at, each in enumerate(wanted, start=1):
        values = each.values[everyone.rows if each.level == "participant" else practice].astype(np.float64)
        values, size, wrong = in_range(values[order], sorted_group, groups)
        centred, _ = less_mean(values, sorted_group, size, counts)
        length = np.sqrt(sum_by(centred**2, sorted_group, groups) / np.maximum(counts, 1.0))
        out[at, order] = centred / np.where(length > 0, length, 1.0)[sorted_group]
        beyond |= wrong
    return out, beyond
