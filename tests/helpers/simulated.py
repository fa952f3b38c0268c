"""Trials drawn for a test, and assertions whose tolerance is the Monte Carlo error of what was drawn."""

from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simtrial.batch import Column, Index, TrialBatch
from simtrial.generate import STAGES, Mechanism, drawn_for, simulate, steps, variables
from simtrial.scenario import load

Options = Mapping[str, Any]

Z = 4.5
"""Standard errors allowed. A true statement fails with probability 7e-6 per check, under 1e-3 for a hundred checks; the
seeds are fixed, so a check that passes once passes always."""

MANY = 200
"""Trials from which on only what is asked for is drawn: of fewer, all stages take a fraction of a second."""

CONTINUOUS = {"items": 0, "lowest": -1e9, "highest": 1e9}
"""Options of a score that is neither rounded nor clipped."""


def mechanism(tables: Mapping[str, Options]) -> Mechanism:
    """Stages with their options, in the order of a trial's life."""
    return {stage: steps()[stage].model_validate(dict(tables[stage])) for stage in STAGES if stage in tables}


@cache
def published() -> dict[str, Options]:
    """Options of every stage in the scenario partners."""
    raw = load("partners")[0].raw["mechanism"]
    outcomes = {f"outcomes.{name}": options for name, options in raw["outcomes"].items()}
    return {**{k: v for k, v in raw.items() if k != "outcomes"}, **outcomes}


def partners(changes: Mapping[str, Options] | None = None) -> Mechanism:
    """Stages of the scenario partners, some options changed."""
    changes = changes or {}
    return mechanism({stage: {**options, **changes.get(stage, {})} for stage, options in published().items()})


def draw(changes: Mapping[str, Options] | None = None, trials: int = 1000, seed: int = 1) -> TrialBatch:
    """Draw trials of the scenario partners with some options changed."""
    return draw_when_asked(partners(changes), trials, seed)


def draw_when_asked(whole: Mechanism, trials: int, seed: int) -> TrialBatch:
    """Draw trials; of many, those stages alone whose columns are asked for, and what these need.

    A stage draws the same whether others are there or not (`tests/generate/test_stages_independent.py`).
    """
    if trials < MANY:
        return simulate(whole, trials, seed, "", 0)
    columns = Asked(whole, trials, seed)
    return TrialBatch(columns.index, columns)


class Asked(Mapping[str, Column]):
    """Columns of many trials by name, drawn when asked for; all of them, once they are asked for one by one."""

    def __init__(self, whole: Mechanism, trials: int, seed: int) -> None:
        self.whole, self.address = whole, (trials, seed, "", 0)
        self.drawn: dict[str, Column] = {}
        self.index = self._simulated(drawn_for(whole, frozenset(), masks=False)).index

    def _simulated(self, stages: Mechanism) -> TrialBatch:
        batch = simulate({name: step for name, step in self.whole.items() if name in stages}, *self.address)
        self.drawn = {**batch.columns, **self.drawn}
        return batch

    def __getitem__(self, name: str) -> Column:
        if name not in self.drawn and name in variables(self.whole):
            index = self._simulated(drawn_for(self.whole, frozenset({name}), masks=False)).index
            assert np.array_equal(index.participant_practice, self.index.participant_practice)
        return self.drawn[name]

    def __iter__(self) -> Iterator[str]:
        return iter(variables(self.whole))

    def __len__(self) -> int:
        return len(variables(self.whole))

    def _all(self) -> dict[str, Column]:
        if len(self.drawn) < len(self):
            self._simulated(self.whole)
        return {name: self.drawn[name] for name in self}

    def items(self) -> ItemsView[str, Column]:
        return self._all().items()

    def values(self) -> ValuesView[Column]:
        return self._all().values()


def drawn_by(step: Any, batch: TrialBatch, seed: int = 1) -> Mapping[str, NDArray[Any]]:
    """What one stage adds, from a generator of its own."""
    return step.draw(batch, np.random.default_rng(seed))  # type: ignore[no-any-return]


def practices_only(trials: int, number: int) -> TrialBatch:
    """Trials that have practices and nothing else yet."""
    return TrialBatch(Index(trials, np.repeat(np.arange(trials), number), np.zeros(0, dtype=np.intp)))


def assert_mean(values: ArrayLike, expected: float, sharp: float) -> None:
    """Check that independent values have the expected mean, to Z standard errors.

    ``sharp`` is the error the check must be able to see: it fails when the tolerance is wider.
    """
    array = np.asarray(values, dtype=np.float64)
    tolerance = Z * array.std(ddof=1) / np.sqrt(len(array))
    assert tolerance <= sharp, f"the tolerance {tolerance:.2g} is too wide to see {sharp:g}"
    assert abs(array.mean() - expected) <= tolerance + 1e-12 * abs(expected), f"{array.mean()} is not {expected}"


def assert_ratio(numerator: ArrayLike, denominator: ArrayLike, expected: float, sharp: float) -> None:
    """Check a ratio of means: E numerator = expected E denominator, rows independent."""
    below = np.asarray(denominator, dtype=np.float64)
    assert_mean((np.asarray(numerator) - expected * below) / below.mean(), 0.0, sharp)


def by_practice(values: NDArray[Any], index: Index) -> NDArray[np.float64]:
    """Sum of a participant-level variable in every practice (practices,)."""
    return np.bincount(index.participant_practice, weights=values, minlength=index.practices)


def assert_person_mean(values: NDArray[Any], index: Index, expected: float, sharp: float) -> None:
    """Check a mean over people; practices are independent, people within them need not be."""
    assert_ratio(by_practice(values, index), by_practice(np.ones(index.participants), index), expected, sharp)


def assert_pair_mean(values: NDArray[Any], index: Index, expected: float, sharp: float) -> None:
    """Check the mean product of two different people of one practice, over all ordered pairs."""
    total, squares = by_practice(values, index), by_practice(values**2, index)
    people = by_practice(np.ones(index.participants), index)
    assert_ratio(total**2 - squares, people * (people - 1), expected, sharp)
