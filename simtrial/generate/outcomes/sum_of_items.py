"""Instruments that are sums of item ratings, and their scores with unanswered items."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from simtrial.arrays import Floats
from simtrial.batch import TrialBatch
from simtrial.generate import Variable
from simtrial.generate.outcomes.instrument import Instrument

Counts = NDArray[np.int64]


class ItemScale(NamedTuple):
    """A score as ``points`` times the sum of ``items`` ratings from ``lowest`` to ``highest``."""

    items: int
    lowest: int
    highest: int
    points: float = 1.0

    @property
    def capacity(self) -> int:
        """Points of a rating above its lowest, at most."""
        return self.highest - self.lowest

    @property
    def bounds(self) -> tuple[float, float, float]:
        """Lowest and highest score, and the step between scores."""
        return self.points * self.items * self.lowest, self.points * self.items * self.highest, self.points

    def dealt(self, score: Floats) -> Counts:
        """Points of all items together above their lowest ratings (people,), in units of a rating."""
        return np.rint(score / self.points).astype(np.int64) - self.items * self.lowest


class Answers(NamedTuple):
    """Items answered and the points they hold above their lowest ratings (people,)."""

    number: Counts
    points: Counts


def answer(score: Floats, scale: ItemScale, missing: float, rng: np.random.Generator) -> Answers:
    """Remove items completely at random; points of the answered ones, given the complete score.

    The N points of a score above the lowest are dealt among k items of capacity c by the multivariate hypergeometric
    distribution: of the k c places for a point N are taken, all choices alike. Any m items then hold S points,
    hypergeometric: E S = N m/k, var S = N (m/k)(1 - m/k)(k c - N)/(k c - 1). Hence nothing but m and S is drawn.

    Parameters
    ----------
    score
        (people,), whole numbers of steps of the scale.
    missing
        Probability that an item is not answered.
    """
    number = rng.binomial(scale.items, 1.0 - missing, len(score))
    c = scale.capacity
    return Answers(number, rng.hypergeometric(c * number, c * (scale.items - number), scale.dealt(score)))


def prorate(answers: Answers, scale: ItemScale, complete: Floats, needed: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Score over the items answered, and whether enough were; the complete score where not (people,).

    k times the mean of the m ratings answered: its mean given the complete score is that score, its variance
    points^2 N (k c - N)/(k c - 1) (k - m)/m, that of k times a mean of m out of k drawn without replacement.
    """
    scored = answers.number >= needed
    # multiplied before it is divided: with all items answered the score is complete to the last digit
    total = scale.items * scale.lowest + scale.items * answers.points / np.maximum(answers.number, 1)
    return np.where(scored, scale.points * total, complete), scored


def implied_alpha(scale: ItemScale, mean: float, sd: float) -> float:
    """Cronbach's alpha of items that a score of this mean and SD is dealt to.

    alpha = 1 - (M (K - M) - V)/((K - 1) V), M and V mean and variance of the points above the lowest, K = k c: formula
    21 of Kuder and Richardson (1937, doi:10.1007/BF02288391) for K items that hold one point or none.
    """
    places, above = scale.items * scale.capacity, mean / scale.points - scale.items * scale.lowest
    variance = (sd / scale.points) ** 2
    return 1.0 - (above * (places - above) - variance) / ((places - 1) * variance)


class SumOfItems(Instrument):
    """An instrument whose score is a sum of ratings: with ``item_missing`` some of them are not answered."""

    # never drawn itself, like Instrument
    scale: ClassVar[ItemScale]

    item_missing: float = Field(0.0, ge=0, lt=1, description="probability that an item is not answered")
    items_needed: int = Field(1, ge=1, le=15, description="items that must be answered for a score")

    @model_validator(mode="after")
    def _of_items(self) -> SumOfItems:
        k, low, high = self.scale[:3]
        if self.items_needed > k:
            raise ValueError(f"items_needed must be at most {k}, the number of items; {self.items_needed} given")
        if self.item_missing and not np.allclose((self.lowest, self.highest, self.grid), self.scale.bounds, 0, 1e-9):
            wanted = "lowest = {:g}, highest = {:g}, grid = {:g}".format(*self.scale.bounds)
            raise ValueError(f"item_missing needs scores made of {k} ratings from {low} to {high}: {wanted}")
        return self

    def adds(self) -> dict[str, Variable]:
        """Columns that the stage adds."""
        return super().adds() | self._item_columns(self.instrument, self.label)

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw complete scores, then whose items are not answered at baseline and at follow-up."""
        values = self.complete(batch, rng)
        for when in ("baseline", "followup") if self.item_missing else ():
            values |= self.incomplete(values, when, rng)
        return values

    def complete(self, batch: TrialBatch, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Scores of all items, at baseline and at follow-up under either allocation."""
        return dict(super().draw(batch, rng))

    def incomplete(self, values: Mapping[str, Floats], when: str, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Score over the items answered, with the columns that say how many, from complete scores."""
        score = values[f"{self.instrument}_{when}"]
        answers = answer(score, self.scale, self.item_missing, rng)
        found = prorate(answers, self.scale, score, self.items_needed)
        return item_values(self.instrument, when, answers.number, *found)

    def _item_columns(self, name: str, label: str) -> dict[str, Variable]:
        """Columns that say how many items were answered, where some may not be."""
        found = {}
        for when, words in (("baseline", "baseline"), ("followup", "follow-up")) if self.item_missing else ():
            found[f"{name}_items_{when}"] = Variable("participant", f"{label}: items answered at {words}", "items")
            found[f"{name}_scored_{when}"] = Variable(
                "participant", f"{label}: enough items answered at {words}: 0 no, 1 yes", hides=(f"{name}_{when}",)
            )
        return found


def item_values(
    name: str, when: str, number: Counts, score: Floats, scored: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    """Values of the score and of those columns (participants,)."""
    return {
        f"{name}_{when}": score,
        f"{name}_items_{when}": number.astype(np.float64),
        f"{name}_scored_{when}": scored.astype(np.int64),
    }
