"""Which category every contrast of an analysis is with."""

from __future__ import annotations

import numpy as np

from simtrial.batch import ObservedBatch
from simtrial.moments.rows import Spec, analysed, first_category, outcome


def references(batch: ObservedBatch, spec: Spec, imputed: bool = False) -> list[dict[str, str]]:
    """Reference category of each covariate with categories, trial by trial: the first that its analysed people have.

    Parameters
    ----------
    batch, spec
        Observed trials, and what is analysed of them.
    imputed
        Whether people without an outcome are analysed as well.

    Returns
    -------
    by_trial
        Column -> category, empty where a method adjusts for no categories.
    """
    found: list[dict[str, str]] = [{} for _ in range(batch.index.trials)]
    names = [name for name in dict.fromkeys(spec.adjust) if name in batch.columns and batch.columns[name].categories]
    if not names:
        return found
    people = analysed(batch, spec, np.zeros(batch.index.participants) if imputed else outcome(batch, spec))
    for name in names:
        labels = batch.columns[name].categories
        for at, code in enumerate(first_category(batch, name, people).tolist()):
            found[at][name] = labels[code]
    return found
