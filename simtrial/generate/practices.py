"""Practices: region, size class, and how many people each recruits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from simtrial.batch import TrialBatch
from simtrial.errors import ScenarioError
from simtrial.generate import Step, Variable
from simtrial.generate.distributions import (
    categories,
    invert,
    truncated_negative_binomial,
    truncated_shape,
)

Weight = Annotated[float, Field(ge=0)]


class Practices(Step):
    """A fixed number of practices with zero-truncated negative binomial cluster sizes.

    ``counts`` fixed: every trial has the same number of practices per region and size class, in random order (shares
    are rounded by largest remainder); random: drawn independently with those shares.
    """

    stage: ClassVar[str] = "practices"

    number: int = Field(ge=2, le=100_000, description="practices randomised")
    cluster_size_mean: float = Field(gt=1, le=10_000, description="mean participants per practice")
    cluster_size_cv: float = Field(ge=0, le=10, description="coefficient of variation of cluster size; 0: equal sizes")
    regions: dict[str, Weight] = Field(
        default_factory=lambda: {"Birmingham": 1.0}, description="share of practices by region, in any unit"
    )
    small_share: float = Field(0.5, ge=0, le=1, description="share of small practices")
    counts: Literal["fixed", "random"] = Field("fixed", description="fixed numbers per region and size class, or drawn")

    @field_validator("regions")
    @classmethod
    def _some_region(cls, value: dict[str, float]) -> dict[str, float]:
        if sum(value.values()) <= 0:
            raise ValueError("the shares of the regions must add up to more than 0")
        return value

    @model_validator(mode="after")
    def _reachable(self) -> Practices:
        if self.number * self.cluster_size_mean > 100_000:
            people = self.number * self.cluster_size_mean
            raise ValueError(f"number times cluster_size_mean is {people:,.0f} people per trial; at most 100,000")
        if self.cluster_size_cv == 0:
            if self.cluster_size_mean != round(self.cluster_size_mean):
                raise ValueError("with cluster_size_cv = 0 the mean cluster size must be a whole number")
            return self
        try:
            truncated_shape(self.cluster_size_mean, self.cluster_size_cv)
        except ScenarioError as error:
            raise ValueError(str(error)) from None
        return self

    def adds(self) -> dict[str, Variable]:
        """Columns that will be there afterwards."""
        return {
            "practice": Variable("practice", "Practice, numbered in order of recruitment"),
            "region": Variable("practice", "Region", categories=tuple(self.regions)),
            "practice_size": Variable("practice", "Size class of the practice", categories=("small", "large")),
            "recruited": Variable("practice", "Participants recruited by the practice", "people"),
        }

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw the practices of every trial."""
        trials = batch.index.trials
        shape = (trials, self.number)
        regions = self._classes(tuple(self.regions.values()), rng, shape)
        sizes = self._classes((self.small_share, 1.0 - self.small_share), rng, shape)
        if self.cluster_size_cv == 0:
            recruited = np.full(trials * self.number, self.cluster_size_mean)
        else:
            table = truncated_negative_binomial(*truncated_shape(self.cluster_size_mean, self.cluster_size_cv))
            recruited = invert(table, rng.random(trials * self.number))
        practice = np.tile(np.arange(1.0, self.number + 1), trials)
        return {"practice": practice, "region": regions, "practice_size": sizes, "recruited": recruited}

    def _classes(
        self, shares: tuple[float, ...], rng: np.random.Generator, shape: tuple[int, int]
    ) -> NDArray[np.int64]:
        """Class of every practice (practices,)."""
        uniform = rng.random(shape)
        if self.counts == "random":
            return categories(shares, uniform.ravel())
        fixed = np.repeat(np.arange(len(shares)), apportion(shares, shape[1]))
        return np.asarray(fixed[np.argsort(uniform, axis=1, kind="stable")].ravel())


def apportion(shares: tuple[float, ...], total: int) -> NDArray[np.int64]:
    """Whole numbers that add up to ``total`` in proportion to shares, by largest remainder."""
    exact = np.asarray(shares) / np.sum(shares) * total
    whole: NDArray[np.int64] = np.floor(exact + 1e-9).astype(np.int64)
    order = np.argsort(-(exact - whole), kind="stable")
    whole[order[: total - whole.sum()]] += 1
    return whole
