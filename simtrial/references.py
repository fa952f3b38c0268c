"""Which category every contrast of an analysis is with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simtrial.batch import ObservedBatch
from simtrial.design_matrix import Spec, analysed, outcome
from simtrial.moments import Moments


def references(
    batch: ObservedBatch, spec: Spec, moments: Callable[[], Moments | None], imputed: bool = False
) -> list[dict[str, str]]:
    """Reference category of each covariate with categories, trial by trial.

    It is the first category; in a trial that analyses nobody of that one, the category whose indicator is left out
    because the others add up to one.

    Parameters
    ----------
    batch, spec
        Observed trials, and what is analysed of them.
    moments
        Makes the moments of the specification, called only for trials without the first category.
    imputed
        Whether people without an outcome are analysed as well.

    Returns
    -------
    by_trial
        Column -> category, empty where a method adjusts for no categories.
    """
    index = batch.index
    found: list[dict[str, str]] = [{} for _ in range(index.trials)]
    names = [name for name in dict.fromkeys(spec.adjust) if name in batch.columns and batch.columns[name].categories]
    if not names:
        return found
    seen = np.zeros(index.participants) if imputed else outcome(batch, spec)
    people = analysed(batch, spec, seen)
    for name in names:
        labels = batch.columns[name].categories
        present = np.zeros((index.trials, len(labels)), dtype=bool)
        present[people.trial, batch.at(name)[people.rows]] = True
        first = np.zeros(index.trials, dtype=np.intp)
        without = np.flatnonzero(~present[:, 0] & present.any(axis=1))
        made = moments() if len(without) else None
        if made is not None:
            kept = np.stack([made.kept[made.terms.index(f"{name}={label}")] for label in labels[1:]])[:, without]
            dropped = present[without, 1:] & ~kept.T
            first[without] = np.where(dropped.any(axis=1), 1 + dropped.argmax(axis=1), 0)
        for at, code in enumerate(first.tolist()):
            found[at][name] = labels[code]
    return found
