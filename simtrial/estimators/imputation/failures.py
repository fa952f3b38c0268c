"""Why a trial could not be imputed, in words: which column, which arm, which model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools
from simtrial.estimators.imputation.engine import FittedEngine
from simtrial.estimators.imputation.incomplete import Incomplete, present
from simtrial.expressions import truth
from simtrial.flags import text
from simtrial.moments.rows import PRODUCT

ARMS = ("control", "intervention")


@dataclass(frozen=True)
class BlankArms:
    """Columns without a single value in an arm: ``names`` and ``blank`` (names, 2, trials), ``failed`` (trials,).

    Failed are trials where somebody in such an arm needs an outcome: it would be left blank without a word.
    """

    names: tuple[str, ...]
    blank: Bools
    failed: Bools

    @classmethod
    def of(cls, incomplete: Incomplete) -> BlankArms:
        """Look at every column of the imputation model among those who meet the conditions of the analysis."""
        batch, spec = incomplete.batch, incomplete.spec
        trials = batch.index.trials
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
        sentences = []
        for name, blank in zip(self.names, self.blank[:, :, trial], strict=True):
            where = " and ".join(arm for arm, empty in zip(ARMS, blank, strict=True) if empty)
            if where:
                arms = "both arms" if blank.all() else f"the {where} arm"
                sentences.append(
                    f"{labels.get(name, 'covariate')} '{name.removeprefix(PRODUCT)}' is blank throughout {arms}"
                )
        return sentences


def labels(incomplete: Incomplete, auxiliary: Sequence[str]) -> dict[str, str]:
    """Role of every column of the imputation model, except covariates."""
    model = incomplete.model
    found = {name: "auxiliary" for name in auxiliary} | {model.spec.outcome: "outcome"}
    if model.baseline is not None:
        found[model.baseline] = "baseline"
    return found | {name: "receipt" for name in model.derived(incomplete.batch)[:1] if model.received is not None}


def messages(
    fitted: FittedEngine, blank: BlankArms, named: Mapping[str, str], failed: Bools, flags: NDArray[np.int64]
) -> NDArray[np.str_]:
    """Reason why a trial could not be imputed or analysed; empty for the others (trials,).

    ``named`` as by `labels`; ``flags`` (trials,) are those of the analyses of completed data.
    """
    sentences = [""] * len(failed)
    unfit = fitted.failed
    for trial in np.flatnonzero(failed).tolist():
        parts = blank.words(trial, named) or ([fitted.reason(trial)] if unfit[trial] else [])
        sentences[trial] = "; ".join(parts) or f"the analysis of completed data failed ({text(int(flags[trial]))})"
    return np.array(sentences)
