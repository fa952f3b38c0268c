"""Why a trial could not be imputed, in words: which column, which arm, which model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simtrial.batch import ObservedBatch
from simtrial.estimators.imputation.imputer import Gap, Imputer, present
from simtrial.expressions import truth
from simtrial.flags import BIT, text
from simtrial.moments.rows import PRODUCT

Bools = NDArray[np.bool_]

ARMS = ("control", "intervention")
REASONS = {
    "one_arm": "all people with everything observed are in one arm",
    "no_data": "no more people with everything observed than coefficients",
    "arm_aliased": "arm is collinear with the covariates among the people with everything observed",
    "out_of_range": "its values are too large or too small to be computed with",
    "constant_outcome": "it is constant given the covariates",
}
IMPROPER = "it does not vary within practices, so the intracluster correlation has no posterior"


@dataclass(frozen=True)
class BlankArms:
    """Columns without a single value in an arm: ``names`` and ``blank`` (names, 2, trials), ``failed`` (trials,).

    Failed are trials where somebody in such an arm needs an outcome: it would be left blank without a word.
    """

    names: tuple[str, ...]
    blank: Bools
    failed: Bools

    @classmethod
    def of(cls, imputer: Imputer) -> BlankArms:
        """Look at every column of the imputation model among those who meet the conditions of the analysis."""
        batch, outcome_model = imputer.batch, imputer.gaps[-1]
        spec, trials = outcome_model.spec, batch.index.trials
        arm = batch.at("arm")
        people = ~np.isnan(arm)
        for condition in spec.where:
            people &= truth(condition, batch).holds
        place = (2 * batch.index.participant_trial + (arm == 1))[people]
        everyone = np.bincount(place, minlength=2 * trials)
        names = (*spec.adjust, spec.outcome)
        blank = np.zeros((len(names), 2 * trials), dtype=bool)
        for at, name in enumerate(names):
            seen = present(batch, name)[people]
            if not seen.all():
                blank[at] = (everyone > 0) & (np.bincount(place[seen], minlength=2 * trials) == 0)
        short = np.bincount(place[~present(batch, spec.outcome)[people]], minlength=2 * trials) > 0
        failed = np.asarray((blank.any(axis=0) & short).reshape(trials, 2).any(axis=1))
        return cls(names, blank.reshape(len(names), trials, 2).transpose(0, 2, 1), failed)

    def words(self, trial: int, labels: Mapping[str, str]) -> list[str]:
        """Say of one trial which columns are blank in which arm."""
        said = []
        for name, blank in zip(self.names, self.blank[:, :, trial], strict=True):
            where = " and ".join(arm for arm, empty in zip(ARMS, blank, strict=True) if empty)
            if where:
                arms = "both arms" if blank.all() else f"the {where} arm"
                said.append(
                    f"{labels.get(name, 'covariate')} '{name.removeprefix(PRODUCT)}' is blank throughout {arms}"
                )
        return said


def labels(batch: ObservedBatch, imputer: Imputer, auxiliary: Sequence[str]) -> dict[str, str]:
    """What every column of the imputation model is to it; covariates are left out."""
    model = imputer.model
    found = {name: "auxiliary" for name in auxiliary} | {model.spec.outcome: "outcome"}
    if model.baseline is not None:
        found[model.baseline] = "baseline"
    return found | {name: "receipt" for name in model.derived(batch)[:1] if model.received is not None}


def messages(
    imputer: Imputer, blank: BlankArms, auxiliary: Sequence[str], failed: Bools, flags: NDArray[np.int64]
) -> NDArray[np.str_]:
    """Say for each failed trial what could not be imputed or analysed; empty for the others (trials,).

    ``flags`` (trials,) are those of the analyses of completed data.
    """
    named = labels(imputer.batch, imputer, auxiliary)
    said = [""] * len(failed)
    for trial in np.flatnonzero(failed).tolist():
        parts = blank.words(trial, named) or [_of_model(gap, trial) for gap in imputer.gaps if gap.failed[trial]][:1]
        said[trial] = "; ".join(parts) or f"the analysis of completed data failed ({text(int(flags[trial]))})"
    return np.array(said)


def _of_model(gap: Gap, trial: int) -> str:
    flags = int(gap.fitted.flags[trial])
    reason = next((words for flag, words in REASONS.items() if flags & BIT[flag]), IMPROPER)
    return f"the imputation model of '{gap.column}' cannot be fitted: {reason}"
