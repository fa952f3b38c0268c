"""Practices: region, size class, register, rurality, deprivation, and how many people each recruits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr, field_validator, model_validator

from simtrial.arrays import Floats
from simtrial.batch import TrialBatch
from simtrial.errors import OptionError, ScenarioError, unknown
from simtrial.generate import Step, Variable
from simtrial.generate.distributions.tables import categories, in_random_order
from simtrial.generate.practices import cluster_sizes, log_sizes
from simtrial.generate.practices.practice_profile import (
    apportion,
    fixed_classes,
    fixed_codes,
    random_classes,
    register_scores,
    register_sizes,
    shares_by_region,
)

Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]

DEPRIVATION = ("high", "medium", "low")


PROFILE = {
    "register_size": Variable("practice", "People on the practice's register", "people"),
    "rurality": Variable("practice", "Rurality", categories=("urban", "rural")),
    "deprivation": Variable("practice", "Deprivation", categories=DEPRIVATION),
}
"""What is known of practices beside region, size class and people recruited."""


class Practices(Step):
    """Practices with cluster sizes of a family, opened up to a number, or until enough people are recruited.

    ``counts`` fixed: every trial has the same number of practices per region and class, in random order (shares are
    rounded by largest remainder); random: drawn independently with those shares. With ``until_participants`` practices
    open one after another until the people recruited reach it; ``number`` is then the most that can open.
    """

    stage: ClassVar[str] = "practices"
    _profiled: bool = PrivateAttr(True)

    number: int = Field(ge=2, le=100_000, description="practices randomised, or the most with until_participants")
    cluster_size_mean: float = Field(
        gt=0, le=10_000, description="mean participants per practice, above 1 where the family of sizes uses it"
    )
    cluster_size_cv: float = Field(ge=0, le=10, description="coefficient of variation of cluster size; 0: equal sizes")
    sizes: Literal[
        "truncated-negative-binomial", "one-plus-gamma-poisson", "lognormal", "dirichlet-multinomial", "fixed",
        "empirical",
    ] = Field("truncated-negative-binomial", description="family of cluster sizes")  # fmt: skip
    size_list: list[Annotated[int, Field(ge=1, le=10_000)]] = Field(
        default_factory=list, max_length=100_000, description="people per practice, for sizes fixed and empirical"
    )
    size_order: Literal["random", "listed"] = Field("random", description="order of the practices of size_list")
    total: int = Field(
        0, ge=0, le=100_000, description="people per trial with dirichlet-multinomial sizes; 0: number times mean"
    )
    until_participants: int = Field(
        0, ge=0, le=100_000, description="open practices until this many people are recruited; 0: open all"
    )
    regions: dict[str, Weight] = Field(
        default_factory=lambda: {"Birmingham": 1.0}, description="share of practices by region, in any unit"
    )
    small_share: float = Field(0.5, ge=0, le=1, description="share of small practices")
    counts: Literal["fixed", "random"] = Field("fixed", description="fixed numbers per region and class, or drawn")
    register_median: float = Field(
        60.0, gt=0, le=100_000, description="median people on the register, before the lowest size is imposed"
    )
    register_sigma: float = Field(0.6, gt=0, le=3, description="SD of the logarithm of register size")
    register_lowest: int = Field(16, ge=1, le=10_000, description="people on the register of the smallest practice")
    register_correlation: float = Field(
        0.0, ge=-1, le=1, description="correlation of register size with people recruited, normal scores"
    )
    urban_share: float = Field(0.5, ge=0, le=1, description="share of urban practices")
    rurality_by_region: dict[str, Share] = Field(
        default_factory=dict, description="share of urban practices by region, where it differs from urban_share"
    )
    deprivation: dict[str, Weight] = Field(
        default_factory=lambda: dict.fromkeys(DEPRIVATION, 1.0),
        description="share of practices by deprivation (high, medium, low), in any unit",
    )
    deprivation_by_region: dict[str, dict[str, Weight]] = Field(
        default_factory=dict, description="shares by deprivation in some regions, in any unit"
    )

    @field_validator("regions")
    @classmethod
    def _some_region(cls, value: dict[str, float]) -> dict[str, float]:
        if sum(value.values()) <= 0:
            raise ValueError("the shares of the regions must add up to more than 0")
        return value

    @field_validator("deprivation", "deprivation_by_region")
    @classmethod
    def _known_deprivation(cls, value: dict[str, Any]) -> dict[str, Any]:
        tables = value.values() if value and isinstance(next(iter(value.values())), dict) else [value]
        for table in tables:
            strange = [name for name in table if name not in DEPRIVATION]
            if strange:
                raise ValueError(unknown("deprivation", strange[0], DEPRIVATION))
            if sum(table.values()) <= 0 and (table or value):
                raise ValueError("the shares by deprivation must add up to more than 0")
        return value

    @model_validator(mode="after")
    def _reachable(self) -> Practices:
        if self.cluster_size_mean <= 1 and cluster_sizes.uses_mean(self.sizes, self._size_request()):
            message = f"a mean cluster size must exceed 1 with sizes = '{self.sizes}'; {self.cluster_size_mean:g} given"
            raise OptionError(message, "cluster_size_mean")
        people = self.number * cluster_sizes.expected(self.sizes, self._size_request())
        if people > 100_000:
            raise ValueError(f"number times the mean cluster size is {people:,.0f} people per trial; at most 100,000")
        if self.size_list and self.sizes not in cluster_sizes.LISTED:
            raise ValueError(f"size_list is for sizes = 'fixed' or 'empirical'; sizes are '{self.sizes}'")
        try:
            cluster_sizes.check(self.sizes, self._size_request())
        except ScenarioError as error:
            raise OptionError(str(error), getattr(error, "key", "")) from None
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Practices:
        for key in ("rurality_by_region", "deprivation_by_region"):
            strange = [name for name in getattr(self, key) if name not in self.regions]
            if strange:
                raise ValueError(f"{key}: {unknown('region', strange[0], self.regions)}")
        if sum(self.deprivation.values()) <= 0:
            raise ValueError("the shares by deprivation must add up to more than 0")
        # beyond 2.33 SDs more than 99% of the distribution lies below the lowest register
        lowest_median = (self.register_lowest - 0.5) * np.exp(-2.33 * self.register_sigma)
        if self.register_median < lowest_median:
            raise ValueError(
                f"register_median must be at least {lowest_median:.3g} with register_lowest = {self.register_lowest} "
                f"and register_sigma = {self.register_sigma:g}; {self.register_median:g} given"
            )
        return self

    def _size_request(self) -> cluster_sizes.SizeRequest:
        shuffled = self.size_order == "random"
        mean, cv = self.cluster_size_mean, self.cluster_size_cv
        return cluster_sizes.SizeRequest(self.number, mean, cv, self.total, tuple(self.size_list), shuffled)

    def log_recruited(self) -> tuple[float, float]:
        """Mean and SD over practices of log people recruited."""
        return log_sizes.of_recruited(self.sizes, self._size_request())

    def log_register(self) -> tuple[float, float]:
        """Mean and SD over practices of log register size."""
        law = (self.register_median, self.register_sigma, self.register_lowest)
        return log_sizes.of_register(*law, self._small_share())

    def trimmed(self, wanted: frozenset[str]) -> Practices:
        """Return these options without the profile of practices where nobody asks for it; the draws are kept."""
        if wanted & set(PROFILE):
            return self
        made = self.model_copy()
        made._profiled = False
        return made

    def adds(self) -> dict[str, Variable]:
        """Columns that the stage adds."""
        opened = {"opened": Variable("practice", "Opened before recruitment ended: 0 no, 1 yes", latent=True)}
        return {
            "practice": Variable("practice", "Practice, numbered in order of recruitment"),
            "region": Variable("practice", "Region", categories=tuple(self.regions)),
            "practice_size": Variable("practice", "Size class of the practice", categories=("small", "large")),
            "recruited": Variable("practice", "Participants recruited by the practice", "people"),
            **(PROFILE if self._profiled else {}),
            **(opened if self.until_participants else {}),
        }

    def enrols(self) -> str | None:
        """Practices that were not needed never open."""
        return "opened" if self.until_participants else None

    def draw(self, batch: TrialBatch, rng: np.random.Generator) -> Mapping[str, NDArray[Any]]:
        """Draw the practices of every trial."""
        trials = batch.index.trials
        shape = (trials, self.number)
        regions = self._classes(tuple(self.regions.values()), rng, shape)
        sizes = self._classes((self.small_share, 1.0 - self.small_share), rng, shape)
        small, share = sizes == 0, self._small_share()
        uniform = rng.random(shape)
        profiled = self._profiled
        if profiled or self.register_correlation or self.sizes in cluster_sizes.DRAWN_LAST:
            register, rurality, deprivation = (rng.random(shape) for _ in range(3))
            rank = register_scores(small, share, register)
            uniform = _correlated(uniform, rank, self.register_correlation)
        recruited = cluster_sizes.draw(self.sizes, self._size_request(), uniform, rng)
        values: dict[str, NDArray[Any]] = {
            "practice": np.broadcast_to(np.arange(1.0, self.number + 1), shape),
            "region": regions,
            "practice_size": sizes,
        }
        if profiled:
            urban = {region: (u, 1.0 - u) for region, u in self.rurality_by_region.items()}
            deprived = {region: _shares(table) for region, table in self.deprivation_by_region.items()}
            law = (self.register_median, self.register_sigma, self.register_lowest)
            values["register_size"] = register_sizes(rank, small, share, law)
            values["rurality"] = self._within(urban, (self.urban_share, 1.0 - self.urban_share), regions, rurality)
            values["deprivation"] = self._within(deprived, _shares(self.deprivation), regions, deprivation)
        if self.until_participants:
            values["opened"] = needed(recruited, self.until_participants)
            recruited = recruited * values["opened"]
        return {name: v.ravel() for name, v in {**values, "recruited": recruited}.items()}

    def _classes(
        self, shares: tuple[float, ...], rng: np.random.Generator, shape: tuple[int, int]
    ) -> NDArray[np.int64]:
        """Class of every practice (trials, practices)."""
        uniform = rng.random(shape)
        if self.counts == "random":
            return categories(shares, uniform)
        return in_random_order(fixed_codes(shares, shape[1]), uniform)

    def _within(
        self, given: Mapping[str, tuple[float, ...]], other: tuple[float, ...], region: NDArray[np.int64],
        uniform: Floats,
    ) -> NDArray[np.int64]:  # fmt: skip
        """Class of every practice, with shares by region (trials, practices)."""
        shares = shares_by_region(given, tuple(self.regions), other)
        stratum = region if given else np.zeros_like(region)
        if self.counts == "random":
            return random_classes(shares, stratum, uniform)
        sizes = apportion(tuple(self.regions.values()) if given else (1.0,), self.number)
        return fixed_classes(shares, stratum, sizes, uniform)

    def _small_share(self) -> float:
        """Share of small practices as drawn: fixed counts are whole numbers."""
        if self.counts == "random":
            return self.small_share
        return float(apportion((self.small_share, 1.0 - self.small_share), self.number)[0] / self.number)


def _shares(table: Mapping[str, float]) -> tuple[float, ...]:
    return tuple(table.get(name, 0.0) for name in DEPRIVATION)


def _correlated(uniform: Floats, rank: Floats, correlation: float) -> Floats:
    """Uniforms whose normal scores have a correlation with those of ``rank`` (Gaussian copula)."""
    if not correlation:
        return uniform
    from scipy.special import ndtr, ndtri

    own = ndtri(np.clip(uniform, 1e-16, 1.0 - 1e-16))
    score = correlation * ndtri(rank) + np.sqrt(1.0 - correlation**2) * own
    return np.asarray(np.clip(ndtr(score), 0.0, np.nextafter(1.0, 0.0)))


def needed(recruited: Floats, people: int) -> NDArray[np.int64]:
    """1 for practices that open because those before have not recruited ``people`` yet (trials, practices)."""
    before = np.cumsum(recruited, axis=1) - recruited
    return np.asarray(before < people, dtype=np.int64)
