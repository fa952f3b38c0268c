"""Allocation of practices to arms: minimisation, simple randomisation, or fixed numbers per arm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from simtrial.batch import TrialBatch
from simtrial.generate import Step, Variable


class Allocation(Step):
    """Which arm each practice enters (0 control, 1 intervention).

    minimisation: Pocock and Simon (1975, doi:10.2307/2529712) with range imbalance summed over the factors; the arm
    with the smaller total is chosen with ``best_arm_probability``, a fair coin decides ties. simple: a fair coin each.
    complete: half of the practices in each arm (with an odd number the arm of the last is a coin).
    """

    stage: ClassVar[str] = "allocation"

    method: Literal["minimisation", "simple", "complete"] = Field(description="how practices are allocated")
    factors: list[str] = Field(default_factory=list, description="practice-level factors balanced by minimisation")
    best_arm_probability: float = Field(0.8, ge=0.5, le=1, description="probability of the arm that balances better")

    @model_validator(mode="after")
    def _factors_for_minimisation(self) -> Allocation:
        if self.method == "minimisation" and not self.factors:
            raise ValueError("minimisation needs factors, e.g. factors = ['region', 'practice_size']")
        if len(set(self.factors)) < len(self.factors):
            raise ValueError("a factor is named twice")
        return self

    def reads(self) -> frozenset[str]:
        """Columns of earlier stages that are needed with these options."""
        return frozenset(self.factors)

    def problems(self, available: Mapping[str, Variable]) -> list[tuple[str, str]]:
        """Refuse factors that are not factors of practices."""
        return [
            ("factors", f"'{f}' is not a practice-level factor")
            for f in self.factors
            if f in available and not (available[f].categories and available[f].level == "practice")
        ]

    def adds(self) -> dict[str, Variable]:
        """Columns that will be there afterwards."""
        return {"arm": Variable("practice", "Arm: 0 control, 1 intervention")}

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Allocate the practices of every trial in their order of recruitment."""
        trials = batch.index.trials
        number = batch.index.practices // trials
        coins = rng.random((trials, number))
        if self.method == "simple":
            arm = (coins < 0.5).astype(np.int64)
        elif self.method == "complete":
            arm = _complete(coins, rng.random(trials))
        else:
            levels = np.stack([batch.at(f, "practice").reshape(trials, number) for f in self.factors])
            arm = minimise(levels, coins, self.best_arm_probability)
        return {"arm": arm.ravel()}


def _complete(coins: NDArray[np.float64], last: NDArray[np.float64]) -> NDArray[np.int64]:
    rank = np.argsort(np.argsort(coins, axis=1), axis=1)
    number = coins.shape[1]
    treated = number // 2 + (number % 2) * (last < 0.5)
    return np.asarray(rank < treated[:, None], dtype=np.int64)


def minimise(levels: NDArray[np.int64], coins: NDArray[np.float64], best: float) -> NDArray[np.int64]:
    """Allocate practices one after the other, all trials at once.

    Parameters
    ----------
    levels
        (factors, trials, practices): level codes in order of arrival.
    coins
        (trials, practices): uniforms that decide.
    best
        Probability of the better-balancing arm.

    Returns
    -------
    arm
        (trials, practices).
    """
    factors, trials, number = levels.shape
    excess = np.zeros((factors, trials, int(levels.max(initial=0)) + 1), dtype=np.int64)  # intervention - control
    arm = np.zeros((trials, number), dtype=np.int64)
    rows = np.arange(trials)
    for k in range(number):
        here = [excess[f, rows, levels[f, :, k]] for f in range(factors)]
        score = np.sum([np.abs(e + 1) - np.abs(e - 1) for e in here], axis=0)
        probability = np.where(score < 0, best, np.where(score > 0, 1.0 - best, 0.5))
        arm[:, k] = coins[:, k] < probability
        for f in range(factors):
            excess[f, rows, levels[f, :, k]] += 2 * arm[:, k] - 1
    return arm
