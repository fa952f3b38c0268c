"""A score as the mean of item ratings: rounded to what ratings can give, or made of ratings item by item."""

from __future__ import annotations

from functools import lru_cache
from math import inf
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from simtrial.arrays import Floats
from simtrial.errors import ScenarioError
from simtrial.generate import Variable
from simtrial.generate.distributions.tables import record
from simtrial.generate.missing.dropout_model import SEEN
from simtrial.generate.parts import Part


class Items(NamedTuple):
    """Psychometrics of a scale: SD of one rating, correlation of two, Cronbach's alpha of their mean."""

    sd: float
    correlation: float
    alpha: float


def item_statistics(sd: float, deviation_sd: float, items: int) -> Items:
    """What a score SD and an SD of ratings about the person's own score imply for the items.

    Score variance = T + D/k and rating variance = T + D, with D = deviation_sd^2: correlation T/(T + D), alpha
    k r/(1 + (k - 1) r) = T/(T + D/k). SD 0.93, deviation 1.34 and 11 items: 1.58, 0.28 and 0.81.
    """
    between = sd**2 - deviation_sd**2 / items
    rating = between + deviation_sd**2
    return Items(float(np.sqrt(rating)), between / rating, between / sd**2)


@lru_cache(maxsize=256)
def rating_curve(spread: float, lowest: float, highest: float) -> tuple[Floats, Floats, Floats]:
    """Mean and variance of clip(round(location + spread z)) on a grid of locations.

    From P(rating >= c) = Phi((location - c + 1/2)/spread): the mean is lowest plus the sum over c above it, the second
    moment about lowest the sum of (2 (c - lowest) - 1) P. Returns locations, means (increasing), variances.
    """
    from scipy.special import ndtr

    location = np.linspace(lowest - 8.0 * spread, highest + 8.0 * spread, 4001)
    steps = np.arange(1, round(highest - lowest) + 1)
    reached = ndtr((location[:, None] - (lowest + steps - 0.5)) / spread)
    mean = reached.sum(axis=1)
    return location, lowest + mean, reached @ (2.0 * steps - 1.0) - mean**2


def rating_sd(spread: float, lowest: float, highest: float, mean: float, sd: float) -> float:
    """SD of a rating about the person's own score, averaged over scores that are N(mean, sd^2) kept on the scale."""
    z = np.linspace(-6.0, 6.0, 601)
    weight = np.exp(-0.5 * z**2)
    location, means, variances = rating_curve(spread, lowest, highest)
    at = np.interp(np.clip(mean + sd * z, lowest, highest), means, location)
    return float(np.sqrt(weight @ np.maximum(np.interp(at, location, variances), 0.0) / weight.sum()))


@lru_cache(maxsize=256)
def rating_spread(deviation_sd: float, lowest: float, highest: float, mean: float, sd: float) -> float:
    """Spread z is multiplied by so that ratings, rounded and clipped, have ``deviation_sd`` about the person's score.

    Raises
    ------
    ScenarioError
        When rounding alone gives more, or the ends of the scale allow less, with the range that can be reached.
    """
    bottom, top = 0.2, 20.0 * (highest - lowest)
    low, high = (rating_sd(spread, lowest, highest, mean, sd) for spread in (bottom, top))
    if not low <= deviation_sd <= high:
        raise ScenarioError(
            f"ratings from {lowest:g} to {highest:g} about scores of mean {mean:g} have an SD between {low:.2f} and "
            f"{high:.2f}; item_deviation_sd = {deviation_sd:g} given"
        )
    for _ in range(60):
        middle = np.sqrt(bottom * top)
        if rating_sd(middle, lowest, highest, mean, sd) < deviation_sd:
            bottom = middle
        else:
            top = middle
    return float(np.sqrt(bottom * top))


def rate(score: Floats, deviations: Floats, spread: float, lowest: float, highest: float) -> Floats:
    """Ratings of every item whose expectation is the score, kept on its scale.

    Parameters
    ----------
    score, deviations
        (people,) and standard normals (people, items).

    Returns
    -------
    ratings
        (people, items), whole numbers. The location is where the mean of rounded and clipped ratings is the score, so
        that means, slopes and effects are those of the score.
    """
    location, means, _ = rating_curve(spread, lowest, highest)
    at = np.interp(np.clip(score, lowest, highest), means, location)
    return np.clip(np.rint(at[:, None] + spread * deviations), lowest, highest)


def prorate(ratings: Floats, answered: NDArray[np.bool_], needed: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Mean of the ratings answered, and whether enough were; of all of them where not (people,)."""
    number = answered.sum(axis=1)
    scored = number >= needed
    some = np.where(answered, ratings, 0.0).sum(axis=1) / np.maximum(number, 1)
    return np.where(scored, some, ratings.mean(axis=1)), scored


class Ratings(Part):
    """Options: how a score is recorded.

    direct rounds the score to what a mean of ``items`` ratings can be. items makes the ratings: each is the score plus
    a deviation, rounded and kept on the scale; the score recorded is their mean. The noise of the ratings is part of
    the SDs stated elsewhere: variance item_deviation_sd^2/items is taken from that between people within practices.
    """

    items: int = Field(11, ge=0, le=100, description="items averaged; 0 keeps the score continuous")
    lowest: float | None = Field(
        None, description="lowest possible score; default: 1, or none where the score is continuous (items = 0)"
    )
    highest: float | None = Field(
        None, description="highest possible score; default: 7, or none where the score is continuous (items = 0)"
    )
    form: Literal["direct", "items"] = Field("direct", description="rounded score, or from item ratings")
    item_deviation_sd: float = Field(
        1.34, gt=0, le=50, description="SD of a rating about the person's own score, points; for form items"
    )
    item_missing: float = Field(0.0, ge=0, lt=1, description="probability that an item is not answered; for form items")
    items_needed: int = Field(1, ge=1, le=100, description="items that must be answered for a score; for form items")

    @model_validator(mode="after")
    def _ends(self) -> Ratings:
        """A mean of ratings has ends, 1 and 7 unless stated; a continuous score has none but those stated."""
        for name, end in (("lowest", 1.0), ("highest", 7.0)):
            if self.items and getattr(self, name) is None:
                object.__setattr__(self, name, end)  # frozen for everybody else
        lowest, highest = self.ends
        if lowest >= highest:
            raise ValueError(f"highest = {highest:g} must exceed lowest = {lowest:g}")
        return self

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest possible score; infinite where there is none."""
        return (-inf if self.lowest is None else self.lowest), (inf if self.highest is None else self.highest)

    @model_validator(mode="after")
    def _ratable(self) -> Ratings:
        if self.form == "direct":
            if self.item_missing:
                raise ValueError("item_missing needs form = 'items'")
            return self
        if self.items < 2:
            raise ValueError(f"form = 'items' needs items of at least 2; {self.items} given")
        if self.items_needed > self.items:
            raise ValueError(f"items_needed must be at most items = {self.items}; {self.items_needed} given")
        lowest, highest = self.ends
        whole = lowest == round(lowest) and highest == round(highest)
        if not (whole and 1 <= highest - lowest <= 100):
            raise ValueError("form = 'items' needs whole numbers as lowest and highest, 1 to 100 apart")
        return self

    @model_validator(mode="after")
    def _some_scored(self) -> Ratings:
        """P(Bin(items, p) >= needed) = I_p(needed, items - needed + 1) must be one in a million."""
        from scipy.special import betaincinv

        if self.item_missing:
            most = 1.0 - float(betaincinv(self.items_needed, self.items - self.items_needed + 1, SEEN))
            if self.item_missing > most:
                raise ValueError(
                    f"item_missing = {self.item_missing!r} leaves fewer than one score in a million where "
                    f"{self.items_needed} of {self.items} items are needed; it must lie in [0, {most:.10g}]"
                )
        return self

    @property
    def noise(self) -> float:
        """Variance of a score that the ratings make, points squared."""
        return self.item_deviation_sd**2 / self.items if self.form == "items" else 0.0

    def check_noise(self, within: float, mean: float, sd: float) -> None:
        """Refuse more noise than the variance within practices (``within``, an SD), or than the scale has room for."""
        if self.form == "direct":
            return
        if self.noise > within**2:
            raise ValueError(
                f"item_deviation_sd must be at most {within * np.sqrt(self.items):.3f} with {self.items} items and an "
                f"SD within practices of {within:.3f}, part of which it is; {self.item_deviation_sd:g} given"
            )
        try:
            self.spread_of_ratings(mean, sd)
        except ScenarioError as error:
            raise ValueError(str(error)) from None

    def spread_of_ratings(self, mean: float, sd: float) -> float:
        """Calibrated spread of ratings about scores that are N(mean, sd^2) with their noise (sd includes it)."""
        own = np.sqrt(max(sd**2 - self.noise, 0.0))
        return rating_spread(self.item_deviation_sd, *self.ends, mean, float(own))

    def recorded(self, score: Floats, out: Floats | None = None) -> Floats:
        """Score of the direct form (people,); ``out`` is filled with it, and may be the score before."""
        return record(score, self.items, *self.ends, out=out)

    def beyond(self, score: Floats) -> NDArray[np.bool_]:
        """Whose score is cut at an end of the scale, having been rounded in the direct form (people,)."""
        lowest, highest = self.ends
        rounded = np.round(score * self.items) / self.items if self.items and self.form == "direct" else score
        return np.asarray((rounded < lowest) | (rounded > highest))

    def rated(self, score: Floats, deviations: Floats, mean: float, sd: float) -> Floats:
        """Ratings of the item form (people, items); scores are about N(mean, sd^2)."""
        return rate(score, deviations, self.spread_of_ratings(mean, sd), *self.ends)

    def columns(self, when: str) -> dict[str, Variable]:
        """Columns that say how many items were answered, where some may not be."""
        if not self.item_missing:
            return {}
        name, title = self.outcome.name, self.outcome.title
        return {
            f"{name}_items_{when}": Variable("participant", f"{title} items answered at {when}", "items"),
            f"{name}_scored_{when}": Variable(
                "participant", f"Enough {title} items answered at {when}: 0 no, 1 yes", hides=(f"{name}_{when}",)
            ),
        }

    def prorated(self, ratings: Floats, when: str, rng: np.random.Generator) -> dict[str, Floats | NDArray[np.int64]]:
        """Score over the items answered completely at random, with the columns that say how many."""
        name = self.outcome.name
        if not self.item_missing:
            return {f"{name}_{when}": ratings.mean(axis=1)}
        answered = rng.random(ratings.shape) >= self.item_missing
        score, scored = prorate(ratings, answered, self.items_needed)
        number = answered.sum(axis=1).astype(np.float64)
        return {
            f"{name}_{when}": score, f"{name}_items_{when}": number, f"{name}_scored_{when}": scored.astype(np.int64),
        }  # fmt: skip
