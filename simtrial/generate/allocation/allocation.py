"""Allocation of practices to arms: simple, complete, permuted blocks, minimisation, constrained randomisation."""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from simtrial.batch import TrialBatch
from simtrial.errors import ScenarioError, unknown
from simtrial.generate import Step, Variable
from simtrial.generate.allocation.constrained import arm_totals, complete, constrained, standardised
from simtrial.generate.allocation.minimisation import Imbalance, minimise
from simtrial.generate.allocation.permuted_blocks import permuted_blocks, strata

Share = Annotated[int, Field(ge=1, le=100)]
Size = Annotated[int, Field(ge=2, le=1000)]
Weight = Annotated[float, Field(gt=0, le=1000)]


class Allocation(Step):
    """Which arm each practice enters (0 control, 1 intervention).

    simple: a coin each. complete: fixed numbers per arm. blocks: permuted blocks within strata. minimisation: Pocock
    and Simon (1975, doi:10.2307/2529712). constrained: one of the best-balanced schemes with fixed numbers per arm.
    """

    stage: ClassVar[str] = "allocation"

    method: Literal["minimisation", "simple", "complete", "blocks", "constrained"] = Field(
        description="how practices are allocated"
    )
    factors: list[str] = Field(default_factory=list, description="practice-level factors that are balanced")
    best_arm_probability: float = Field(0.8, ge=0.5, le=1, description="probability of the arm that balances better")
    imbalance: Imbalance = Field("range", description="minimisation: imbalance of a factor's level")
    weights: dict[str, Weight] = Field(
        default_factory=dict, description="minimisation, constrained: weights of factors and numeric; default: 1"
    )
    order: Literal["recruitment", "random"] = Field(
        "recruitment", description="minimisation, blocks: order in which practices are allocated"
    )
    ratio: list[Share] = Field(
        default_factory=lambda: [1, 1], min_length=2, max_length=2, description="practices in control and intervention"
    )
    intervention_practices: int = Field(
        0, ge=0, le=100_000, description="complete, constrained: practices in intervention; 0: by ratio"
    )
    strata: list[str] = Field(default_factory=list, description="blocks: practice-level factors; default: factors")
    block_sizes: list[Size] = Field(
        default_factory=lambda: [2, 4], min_length=1, max_length=100, description="blocks: sizes, drawn at random"
    )
    numeric: list[str] = Field(
        default_factory=list, description="constrained: practice-level numbers that are balanced"
    )
    candidates: int = Field(1000, ge=2, le=20_000, description="constrained: schemes drawn for each trial")
    share: float = Field(0.1, gt=0, le=1, description="constrained: share of the schemes, the best, that may be taken")

    @model_validator(mode="after")
    def _factors_named(self) -> Allocation:
        if self.method == "minimisation" and not self.factors:
            raise ValueError("minimisation needs factors, e.g. factors = ['region', 'practice_size']")
        if self.method == "constrained" and not self.factors + self.numeric:
            raise ValueError("constrained randomisation needs factors or numeric columns to balance")
        if any(len(set(names)) < len(names) for names in (self.factors, self.strata, self.numeric)):
            raise ValueError("a factor is named twice")
        for name in self.weights:
            if name not in self.factors + self.numeric:
                raise ValueError("weights: " + unknown("factor", name, self.factors + self.numeric))
        return self

    @model_validator(mode="after")
    def _numbers_fit(self) -> Allocation:
        together = sum(self.ratio) // gcd(*self.ratio)
        wrong = [size for size in self.block_sizes if size % together]
        if self.method == "blocks" and wrong:
            raise ValueError(f"block_sizes must be multiples of {together} for ratio {self.ratio}; {wrong[0]} given")
        if self.intervention_practices and self.method not in ("complete", "constrained"):
            raise ValueError(
                f"intervention_practices is for 'complete' and 'constrained'; {self.method} cannot hold it"
            )
        if self.intervention_practices and self.ratio[0] != self.ratio[1]:
            raise ValueError("intervention_practices and ratio both fix the numbers per arm: leave one out")
        if self.share * self.candidates < 1:
            raise ValueError(f"no scheme is among the best {self.share:g} of {self.candidates} candidates")
        return self

    def reads(self) -> frozenset[str]:
        """Columns of earlier stages that are needed with these options."""
        more = {"blocks": self.strata, "constrained": self.numeric}.get(self.method, [])
        return frozenset(self.factors + more)

    def problems(self, available: Mapping[str, Variable]) -> list[tuple[str, str]]:
        """Refuse factors that are not factors of practices, and numbers that are not numbers of practices."""
        found = []
        for key, names in (("factors", self.factors), ("strata", self.strata), ("numeric", self.numeric)):
            for name in names:
                variable = available.get(name)
                kind = "number" if key == "numeric" else "factor"
                if variable and (variable.level != "practice" or bool(variable.categories) == (key == "numeric")):
                    found.append((key, f"'{name}' is not a practice-level {kind}"))
        return found

    def adds(self) -> dict[str, Variable]:
        """Columns that the stage adds."""
        return {"arm": Variable("practice", "Arm: 0 control, 1 intervention")}

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Allocate the practices of every trial."""
        columns = {name: batch.at(name, "practice") for name in self.reads()}
        return {"arm": allocate(self, columns, batch.index.practice_trial, rng)}


def allocate(
    options: Allocation,
    columns: Mapping[str, NDArray[Any]],
    practice_trial: NDArray[np.intp],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Allocate the practices of many trials, which need not have equal numbers.

    Parameters
    ----------
    options
        How. To allocate one trial many times, repeat its practices.
    columns
        What ``options.reads()`` names (practices,): codes of factors, values of numbers.
    practice_trial
        (practices,): trial of each practice, from 0, sorted, every trial with a practice.

    Returns
    -------
    arm
        (practices,): 0 control, 1 intervention.
    """
    coins = rng.random(len(practice_trial))
    if options.method == "simple":
        return (coins < options.ratio[1] / sum(options.ratio)).astype(np.int64)
    if options.method == "complete":
        return _complete(options, coins, practice_trial, rng)
    if options.method == "constrained":
        return _constrained(options, columns, practice_trial, rng)
    if options.method == "blocks":
        which = np.floor(rng.random(len(practice_trial)) * len(options.block_sizes)).astype(np.intp)
        stratum = strata([columns[f] for f in options.strata or options.factors], len(practice_trial))
        order = _order(options, len(practice_trial), rng)
        sizes = np.asarray(options.block_sizes)[which]
        return permuted_blocks(stratum, coins, sizes, practice_trial, ratio=options.ratio, order=order)
    return minimise(
        np.stack([columns[f] for f in options.factors]), coins, practice_trial, best=options.best_arm_probability,
        imbalance=options.imbalance, weights=[options.weights.get(f, 1.0) for f in options.factors],
        ratio=options.ratio, order=_order(options, len(practice_trial), rng),
    )  # fmt: skip


def _order(options: Allocation, practices: int, rng: np.random.Generator) -> NDArray[np.float64] | None:
    return rng.random(practices) if options.order == "random" else None


def _complete(
    options: Allocation, coins: NDArray[np.float64], practice_trial: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.int64]:
    sizes = _sizes(options, practice_trial)
    treated = arm_totals(sizes, options.ratio, rng.random(len(sizes)))
    if options.intervention_practices:
        treated = np.full(len(sizes), options.intervention_practices)
    return complete(coins, treated, practice_trial)


def _constrained(
    options: Allocation,
    columns: Mapping[str, NDArray[Any]],
    practice_trial: NDArray[np.intp],
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    _sizes(options, practice_trial)
    factors = [(columns[f], options.weights.get(f, 1.0)) for f in options.factors]
    numbers = [(columns[n], options.weights.get(n, 1.0)) for n in options.numeric]
    covariates, weights = standardised(factors, numbers, practice_trial)
    return constrained(
        covariates, weights, practice_trial, rng, candidates=options.candidates, share=options.share,
        ratio=options.ratio, treated=options.intervention_practices or None,
    )  # fmt: skip


def _sizes(options: Allocation, practice_trial: NDArray[np.intp]) -> NDArray[np.intp]:
    """Practices of every trial (trials,); refuse trials too small for the number in intervention."""
    sizes = np.bincount(practice_trial)
    fewest = int(sizes.min(initial=options.intervention_practices + 1))
    if fewest <= options.intervention_practices:
        given = options.intervention_practices
        raise ScenarioError(f"intervention_practices must be below the {fewest} practices of a trial; {given} given")
    return sizes
