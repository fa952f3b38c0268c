"""The product on trials laid out as a batch, together or alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from reference import method

from simtrial.batch import Column, Index, ObservedBatch
from simtrial.estimators import Estimates, Method
from simtrial.moments.build import moments
from twins.resampled import fixed_draws

SIZE = 1 << 20


def observed(trials: Sequence[Mapping[str, np.ndarray]]) -> ObservedBatch:
    """Stack trials as reading them from one file does: practices as they come, levels by what is seen."""
    practice_trial, participant_practice, orders = [], [], []
    for t, trial in enumerate(trials):
        labels = list(dict.fromkeys(trial["practice"].tolist()))
        place = {label: k for k, label in enumerate(labels)}
        codes = np.array([place[label] for label in trial["practice"].tolist()])
        order = np.argsort(codes, kind="stable")
        orders.append(order)
        participant_practice.append(len(practice_trial) + codes[order])
        practice_trial += [t] * len(labels)
    index = Index(len(trials), np.array(practice_trial), np.concatenate(participant_practice))
    starts = np.searchsorted(index.participant_practice, np.arange(index.practices))
    columns = {}
    for name in trials[0]:
        if name == "practice":
            continue
        values = np.concatenate([trial[name][order] for trial, order in zip(trials, orders, strict=True)])
        columns[name] = _column(values, index, starts)
    return ObservedBatch(index, columns)


def _column(values: np.ndarray, index: Index, starts: np.ndarray) -> Column:
    categories: tuple[str, ...] = ()
    if values.dtype.kind == "U":
        categories = tuple(sorted(set(values.tolist()) - {""}))
        codes = {label: code for code, label in enumerate(categories)} | {"": -1}
        values = np.array([codes[label] for label in values.tolist()])
    spread = values[starts][index.participant_practice]
    same = bool(np.array_equal(values, spread, equal_nan=not categories))
    values = values[starts] if same else values.copy()
    values.flags.writeable = False
    return Column(values, "practice" if same else "participant", categories)


def analysed(batch: ObservedBatch, chosen: Method, seed: int = 1) -> Estimates:
    """Analyse a batch by one method."""
    if not chosen.is_random():
        return chosen.fit(batch, moments(batch, chosen.spec()), None, False)
    with fixed_draws():
        return chosen.fit(batch, moments(batch, chosen.spec()), np.random.default_rng(seed), False)


def made(kind: str, adjust: Sequence[str], subset: str | None, options: Mapping[str, Any]) -> Method:
    """Build a method."""
    more = {} if subset is None else {"subset": subset}
    return method(kind, adjust=list(adjust), **more, **options)
