"""Wellbeing: the 14-item scale (WEMWBS), and the 7 of its items that make the short one (SWEMWBS)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from math import sqrt
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from simtrial.arrays import Floats
from simtrial.batch import TrialBatch
from simtrial.generate import Variable
from simtrial.generate.outcomes.sum_of_items import Answers, ItemScale, SumOfItems, answer, item_values, prorate

METRIC = np.array([
    7.00, 9.51, 11.25, 12.40, 13.33, 14.08, 14.75, 15.32, 15.84, 16.36, 16.88, 17.43, 17.98, 18.59, 19.25, 19.98,
    20.73, 21.54, 22.35, 23.21, 24.11, 25.03, 26.02, 27.03, 28.13, 29.31, 30.70, 32.55, 35.00,
])  # fmt: skip
"""Metric SWEMWBS score of raw sums 7 to 35 (Stewart-Brown et al. 2009, doi:10.1186/1477-7525-7-15, Rasch model)."""

SHORT = ItemScale(7, 1, 5)
"""The 7 items of the short scale, and the 7 others."""


class Wemwbs(SumOfItems):
    """Warwick-Edinburgh Mental Wellbeing Scale: 14 items rated 1 to 5, summed; and the short scale from 7 of them.

    The sum of the 7 items is half of the total plus d, d normal with mean ``short_shift`` and SD ``short_sd``, its
    baseline and follow-up values correlated by ``short_stability``; it is rounded, and kept where both it and the sum
    of the other 7 items lie between 7 and 35. The short score is its metric value.

    With ``item_missing`` the points of either half are dealt among its own 7 items, and both scales lose the same ones:
    the long one is prorated from all 14, the short one from its 7, its sum rounded for the metric score.
    """

    stage: ClassVar[str] = "outcomes.wemwbs"
    instrument: ClassVar[str] = "wemwbs"
    label: ClassVar[str] = "Wellbeing (WEMWBS)"
    scale: ClassVar[ItemScale] = ItemScale(14, 1, 5)

    short_shift: float = Field(
        0.0, ge=-14, le=14, description="mean of the 7-item sum minus half the total, raw points"
    )
    short_sd: float = Field(1.5, ge=0, le=14, description="SD of that difference between people, raw points")
    short_stability: float = Field(0.5, ge=-1, le=1, description="correlation of that difference over time")

    short_items_needed: int = Field(7, ge=1, le=7, description="of the 7 items, those needed for a short score")

    def adds(self) -> dict[str, Variable]:
        """Columns that the stage adds."""
        label = "Short wellbeing scale (SWEMWBS)"
        return super().adds() | self._columns("swemwbs", label, self.unit) | self._item_columns("swemwbs", label)

    def complete(self, batch: TrialBatch, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Draw the total of 14 items, then how it divides."""
        values = super().complete(batch, rng)
        short = [
            metric(seven_items(values[f"wemwbs_{when}"], d))
            for when, d in self._differences(batch.index.participants, rng)
        ]
        return values | self._values("swemwbs", batch, *short)

    def cut(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[np.bool_]]:
        """Whose scores the ends of either scale cut (participants,): of the short one, those of its two halves."""
        found = dict(super().cut(batch, copy.deepcopy(rng)))
        values = super().complete(batch, rng)
        for when, d in self._differences(batch.index.participants, rng):
            total = values[f"wemwbs_{when}"]
            found[f"swemwbs_{when}"] = wanted(total, d) != seven_items(total, d)
        return found

    def _differences(self, people: int, rng: np.random.Generator) -> Iterator[tuple[str, Floats]]:
        """The 7-item sum minus half the total, raw points (people,), at baseline and under either allocation."""
        r = self.short_stability
        before = rng.standard_normal(people)
        after = r * before + sqrt(1.0 - r * r) * rng.standard_normal(people)
        for when, d in (("baseline", before), ("if_control", after), ("if_intervention", after)):
            yield when, self.short_shift + self.short_sd * d

    def incomplete(self, values: Mapping[str, Floats], when: str, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Both scores over the items answered, with the columns that say how many."""
        long, score = (values[f"{name}_{when}"] for name in ("wemwbs", "swemwbs"))
        seven = raw(score)
        short, other = (answer(half, SHORT, self.item_missing, rng) for half in (seven, long - seven))
        both = Answers(short.number + other.number, short.points + other.points)
        total, scored = prorate(both, self.scale, long, self.items_needed)
        part, short_scored = prorate(short, SHORT, seven, self.short_items_needed)
        return {
            **item_values("wemwbs", when, both.number, total, scored),
            **item_values("swemwbs", when, short.number, metric(np.floor(part + 0.5)), short_scored),
        }


def seven_items(total: Floats, difference: Floats) -> Floats:
    """Sum of the 7 short-scale items (rows,) given the total of all 14 and its difference from half of that.

    Both halves lie between 7 and 35, so the sum lies between max(7, total - 35) and min(35, total - 7).
    """
    return np.clip(wanted(total, difference), np.maximum(7.0, total - 35.0), np.minimum(35.0, total - 7.0))


def wanted(total: Floats, difference: Floats) -> Floats:
    """Sum of the 7 items, rounded, before it is kept within the bounds of either half (rows,)."""
    return np.asarray(np.floor(0.5 * total + difference + 0.5))


def metric(total: Floats) -> Floats:
    """Metric SWEMWBS score of raw sums (rows,)."""
    return METRIC[np.clip(total, 7, 35).astype(np.intp) - 7]


def raw(score: Floats) -> Floats:
    """Raw sum of metric SWEMWBS scores that stand in the table (rows,)."""
    return (np.searchsorted(METRIC, score) + 7).astype(np.float64)
