"""Trials made by hand or drawn from a seed, laid out as an observed batch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simtrial.batch import Column, Index, ObservedBatch
from simtrial.estimators import Estimates, Method
from simtrial.moments.build import moments

Array = NDArray[Any]


def batch(columns: Mapping[str, ArrayLike]) -> ObservedBatch:
    """Lay out participants as a batch.

    ``columns`` holds one value per participant: practice, arm, anything else, and trial where there are several. Texts
    become factors, first category in alphabetical order. A column constant in every practice is practice-level, as in
    data that are read. Every array is read-only.
    """
    data = {name: np.asarray(values) for name, values in columns.items()}
    trial = _codes(data.pop("trial", np.zeros(len(data["practice"]), dtype=int)))
    practice = _codes(data.pop("practice"))
    order = np.lexsort((practice, trial))
    keys, place = np.unique(np.stack([trial, practice])[:, order], axis=1, return_inverse=True)
    starts = np.searchsorted(place, np.arange(keys.shape[1]))
    index = Index(int(keys[0].max()) + 1, keys[0], place)
    return ObservedBatch(index, {name: _column(values[order], place, starts) for name, values in data.items()})


def _codes(values: Array) -> NDArray[np.intp]:
    return np.unique(values, return_inverse=True)[1].astype(np.intp)


def _column(values: Array, place: Array, starts: Array) -> Column:
    categories: tuple[str, ...] = ()
    if values.dtype.kind == "U":
        labels, values = np.unique(values, return_inverse=True)
        categories = tuple(labels.tolist())
    else:
        values = values.astype(np.float64)
    same = np.array_equal(values, values[starts][place], equal_nan=not categories)
    values = values[starts] if same else values.copy()
    values.flags.writeable = False
    return Column(values, "practice" if same else "participant", categories)


def fit(observed: ObservedBatch, method: Method, every_term: bool = False, seed: int = 1) -> Estimates:
    """Analyse a batch by one method."""
    rng = np.random.default_rng(seed) if method.is_random() else None
    return method.fit(observed, moments(observed, method.spec()), rng, every_term)


def ragged(seed: int, practices: int = 12, most: int = 7, icc: float = 0.2) -> dict[str, Array]:
    """Draw one trial of unequal practices with two individual and two practice-level covariates, and receipt."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, most + 1, practices)
    sizes[:2] = most  # so that there is variation within practices
    practice = np.repeat(np.arange(practices), sizes)
    people = len(practice)
    arm = rng.permutation(np.arange(practices) % 2)[practice].astype(float)
    size = rng.permutation(np.where(np.arange(practices) % 3 == 0, "large", "small"))[practice]
    list_size = rng.normal(size=practices)[practice]
    baseline, age = rng.normal(4.5, 0.9, people), rng.normal(40, 12, people)
    received = arm * (rng.random(people) < 0.7)
    effect = rng.normal(0, np.sqrt(icc), practices)[practice] + rng.normal(0, np.sqrt(1 - icc), people)
    return {
        "practice": practice,
        "arm": arm,
        "size": size,
        "list_size": list_size,
        "mansa_baseline": baseline,
        "age": age,
        "received": received,
        "mansa_followup": 1 + 0.6 * baseline + 0.01 * age + 0.2 * list_size + 0.3 * received + effect,
    }


def published_fixture() -> dict[str, Array]:
    """Return the trial of 14 practices and 60 people whose results in R are known to ten digits (no random numbers)."""
    sizes = [1, 2, 3, 4, 5, 6, 7, 8, 2, 3, 5, 9, 4, 1]
    arm = np.array([0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 0, 1, 1, 0])
    region = np.array([0, 0, 1, 1, 0, 1, 0, 1, 0, 1, 1, 0, 0, 1])
    j, t = np.repeat(np.arange(14), sizes), np.arange(60)
    x = 4.3 + 0.9 * np.sin(1.7 * t + 0.3 * j)
    e = 0.7 * np.sin(3.1 * t + 0.5) + 0.35 * np.cos(7.7 * t)
    u = 0.5 * np.cos(2.3 * j + 0.4)
    y = 1.5 + 0.2 * arm[j] + 0.15 * region[j] + 0.6 * x + u + e
    d = arm[j] * (np.sin(5.3 * t + j) > -0.3)
    return {"practice": j, "arm": arm[j], "reg": region[j], "x": x, "d": d, "mansa_followup": y, "u": u}
