"""People and practices that `mi` leaves out: counted, and said why, trial by trial."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats
from simtrial.estimators import Estimates
from simtrial.estimators.imputation.incomplete import Incomplete, present
from simtrial.expressions import truth
from simtrial.flags import BIT
from simtrial.kernels.segments import count_by
from simtrial.moments.analysis_set import AnalysisSet
from simtrial.moments.rows import PRODUCT


@dataclass(frozen=True)
class LeftOut:
    """People who meet the conditions of the analysis and are not in it, and practices with such people alone (trials,).

    ``reasons`` are, by column, those of them who lack it (columns, trials): who lacks two is counted in both.
    """

    people: Floats
    practices: Floats
    names: tuple[str, ...]
    reasons: Floats

    @classmethod
    def of(cls, incomplete: Incomplete, analysed: AnalysisSet) -> LeftOut:
        """Compare everybody who meets the conditions with those who were analysed."""
        batch, index = incomplete.batch, incomplete.batch.index
        meant = ~np.isnan(batch.at("arm"))
        for condition in incomplete.model.spec.where:
            meant &= truth(condition, batch).holds
        without = np.zeros(index.practices, dtype=bool)
        without[index.participant_practice[meant]] = True
        without[analysed.cluster] = False
        meant[analysed.rows] = False
        trial, rows = index.participant_trial, np.flatnonzero(meant)
        names = tuple(name for name in incomplete.covariates if name not in incomplete.fillable)
        lacking = [count_by(trial[rows[~present(batch, name)[rows]]], index.trials) for name in names]
        return cls(
            people=count_by(trial[rows], index.trials),
            practices=count_by(index.practice_trial[without], index.trials),
            names=names,
            reasons=np.array(lacking).reshape(len(names), index.trials),
        )

    def added_to(self, found: Estimates) -> Estimates:
        """Estimates with the counts, the flag and the words, where a fit stands."""
        extras = {name: np.where(found.failed, np.nan, values) for name, values in self.extras.items()}
        flags, notes = found.flags | np.where(found.failed, 0, self.flags), dict(found.notes)
        if (words := np.where(found.failed, "", self.words)).any():
            notes["left_out"] = words
        return replace(found, flags=flags, extras={**found.extras, **extras}, notes=notes)

    @property
    def flags(self) -> NDArray[np.int64]:
        """Trials in which somebody is left out (trials,)."""
        return np.where(self.people > 0, BIT["people_left_out"], 0)

    @property
    def extras(self) -> dict[str, Floats]:
        """Both counts (trials,)."""
        return {"n_left_out": self.people, "practices_left_out": self.practices}

    @property
    def words(self) -> NDArray[np.str_]:
        """How many, and what they lack; empty where nobody is left out (trials,)."""
        sentences = [""] * len(self.people)
        for trial in np.flatnonzero(self.people).tolist():
            lacking = [
                f"{int(count)} without '{name.removeprefix(PRODUCT)}'"
                for name, count in zip(self.names, self.reasons[:, trial], strict=True) if count
            ]  # fmt: skip
            whole = f"{int(self.people[trial])} people"
            if self.practices[trial]:
                whole += f", all of {int(self.practices[trial])} practices among them"
            sentences[trial] = f"{whole}, left out: {', '.join(lacking) or 'without an outcome that could be imputed'}"
        return np.array(sentences)
