"""Families of cluster size: how many people each practice recruits, from one uniform per practice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from simtrial.arrays import Floats
from simtrial.errors import OptionError, ScenarioError
from simtrial.generate.distributions.tables import (
    invert,
    out_of_reach,
    reach_in_words,
    truncated_negative_binomial,
    truncated_reach,
    truncated_shape,
)


@dataclass(frozen=True)
class SizeRequest:
    """Requested properties of the sizes of one trial.

    ``number`` practices with ``mean`` people and coefficient of variation ``cv``; ``total`` people in all where that is
    fixed; ``listed`` sizes where they are given, in their order unless ``shuffled``.
    """

    number: int
    mean: float
    cv: float
    total: int = 0
    listed: tuple[int, ...] = ()
    shuffled: bool = True

    @property
    def people(self) -> int:
        """People in all where the total is fixed (0: number times mean, rounded)."""
        return self.total or round(self.number * self.mean)


def uses_mean(family: str, request: SizeRequest) -> bool:
    """Whether the sizes depend on the mean: not where they are listed, or vary around their share of a fixed total."""
    return family not in LISTED and not (family == "dirichlet-multinomial" and request.total > 0 and request.cv > 0)


def _check_equal(family: str, request: SizeRequest) -> bool:
    if request.cv == 0 and request.mean != round(request.mean):
        whole = max(round(request.mean), 2)
        reach = f"; {reach_in_words(family, request.mean, *REACH[family](request.mean))}" if request.mean > 1 else ""
        message = f"with cluster_size_cv = 0 the mean cluster size must be a whole number, e.g. {whole}{reach}"
        raise OptionError(message, "cluster_size_cv")
    return request.cv == 0


def _truncated_sizes(request: SizeRequest, uniform: Floats, rng: np.random.Generator) -> Floats:
    table = truncated_negative_binomial(*truncated_shape(request.mean, request.cv))
    return invert(table, uniform)


def one_plus_shape(mean: float, cv: float) -> tuple[float, float]:
    """Mu and k of the Poisson-gamma variable that is added to 1, by matching moments.

    E N = 1 + mu and Var N = mu + mu^2/k; k = inf is Poisson.
    """
    if mean <= 1.0:
        raise ScenarioError(f"a mean cluster size must exceed 1; {mean:g} given")
    mu = mean - 1.0
    excess = (cv * mean) ** 2 - mu
    if excess < -1e-12 * mu or mu**2 < 1e-3 * excess:
        raise out_of_reach("one-plus-gamma-poisson", mean, *one_plus_reach(mean), cv)
    return mu, float(mu**2 / excess) if excess > 1e-12 * mu else np.inf


def one_plus_reach(mean: float) -> tuple[float, float]:
    """Smallest CV of 1 + Poisson-gamma with a mean, that of 1 + Poisson, and largest, at k = 0.001."""
    mu = mean - 1.0
    return float(np.sqrt(mu) / mean), float(np.sqrt(mu + 1e3 * mu**2) / mean)


@lru_cache(maxsize=256)
def one_plus_table(mean: float, cv: float) -> Floats:
    """Cumulative probabilities of 1, 2, ...: those of the truncated family with its zero put back."""
    mu, k = one_plus_shape(mean, cv)
    zero = np.exp(-mu if np.isinf(k) else -k * np.log1p(mu / k))
    table = np.concatenate([[zero], zero + (1.0 - zero) * truncated_negative_binomial(mu, k)])
    table[-1] = 1.0
    return table


def _one_plus_sizes(request: SizeRequest, uniform: Floats, rng: np.random.Generator) -> Floats:
    return invert(one_plus_table(request.mean, request.cv), uniform)


def rounded_lognormal_moments(mu: float, sigma: float) -> tuple[float, float]:
    """Mean and CV of max(1, round(X)), log X ~ N(mu, sigma^2).

    Sizes up to 2,000 are summed; above, rounding adds 1/12 to the mean square and nothing to the mean.
    """
    from scipy.special import ndtr

    size = np.arange(1.0, 2001.0)
    below = ndtr((np.log(size + 0.5) - mu) / sigma)
    probability = np.diff(below, prepend=0.0)
    cut = (mu - np.log(2000.5)) / sigma
    first = size @ probability + np.exp(mu + sigma**2 / 2) * ndtr(cut + sigma)
    second = size**2 @ probability + np.exp(2 * mu + 2 * sigma**2) * ndtr(cut + 2 * sigma) + ndtr(cut) / 12
    return float(first), float(np.sqrt(max(second / first**2 - 1.0, 0.0)))


def _lognormal_location(mean: float, sigma: float) -> float:
    """Mu whose rounded mean is ``mean`` at this sigma, by bisection."""
    bottom, top = np.log(mean) - sigma**2 - 8 * sigma - 2.0, np.log(mean) + 1.0
    for _ in range(60):
        middle = 0.5 * (bottom + top)
        if rounded_lognormal_moments(middle, sigma)[0] > mean:
            top = middle
        else:
            bottom = middle
    return float(0.5 * (bottom + top))


SIGMAS = (1e-3, 3.0)
"""Smallest and largest sigma of the lognormal."""


def lognormal_reach(mean: float) -> tuple[float, float]:
    """Smallest and largest CV of the rounded lognormal with a mean, at either end of `SIGMAS`."""
    low, high = (rounded_lognormal_moments(_lognormal_location(mean, s), s)[1] for s in SIGMAS)
    return low, high


@lru_cache(maxsize=256)
def lognormal_parameters(mean: float, cv: float) -> tuple[float, float]:
    """Mu and sigma of the lognormal whose rounded values, at least 1, have a given mean and CV."""
    if mean <= 1.0:
        raise ScenarioError(f"a mean cluster size must exceed 1; {mean:g} given")
    bottom, top = np.log(SIGMAS[0]), np.log(SIGMAS[1])
    low, high = lognormal_reach(mean)
    if not low <= cv <= high:
        raise out_of_reach("lognormal", mean, low, high, cv)
    for _ in range(50):
        sigma = float(np.exp(0.5 * (bottom + top)))
        if rounded_lognormal_moments(_lognormal_location(mean, sigma), sigma)[1] > cv:
            top = np.log(sigma)
        else:
            bottom = np.log(sigma)
    return _lognormal_location(mean, sigma), sigma


def _lognormal_sizes(request: SizeRequest, uniform: Floats, rng: np.random.Generator) -> Floats:
    from scipy.special import ndtri

    mu, sigma = lognormal_parameters(request.mean, request.cv)
    return np.asarray(np.maximum(np.rint(np.exp(mu + sigma * ndtri(uniform))), 1.0))


def dirichlet_concentration(request: SizeRequest) -> float:
    """Concentration alpha of each practice in 1 + Dirichlet-multinomial(people - number).

    With n = people - number and p = 1/number, Var = n p (1 - p) (1 + (n - 1) rho), rho = 1 / (number alpha + 1).
    rho = 0 is the multinomial (alpha = inf).
    """
    spare, p = request.people - request.number, 1.0 / request.number
    if spare < 2:
        raise ScenarioError(
            f"a total of {request.people} people leaves no variation between {request.number} practices with one each; "
            f"at least {request.number + 2} are needed"
        )
    mean, even = request.people * p, spare * p * (1.0 - p)
    rho = ((request.cv * mean) ** 2 / even - 1.0) / (spare - 1)
    if rho < -1e-12 or rho > 0.99:
        low, high = (float(np.sqrt(even * (1 + r * (spare - 1))) / mean) for r in (0.0, 0.99))
        raise out_of_reach("dirichlet-multinomial", mean, low, high, request.cv)
    return float((1.0 / rho - 1.0) * p) if rho > 1e-12 else np.inf


def _dirichlet_sizes(request: SizeRequest, uniform: Floats, rng: np.random.Generator) -> Floats:
    from scipy.special import gammaincinv, gammaln

    alpha = dirichlet_concentration(request)
    if np.isinf(alpha):
        share = np.full(uniform.shape, 1.0 / request.number)
    else:
        # logarithms, because the gamma quantile underflows when alpha is small: there u = x^alpha / Gamma(alpha + 1)
        quantile = gammaincinv(alpha, uniform)
        small = (np.log(np.maximum(uniform, 1e-300)) + gammaln(alpha + 1.0)) / alpha
        log = np.where(quantile > 1e-200, np.log(np.maximum(quantile, 1e-300)), small)
        share = np.exp(log - log.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
    return np.asarray(1.0 + rng.multinomial(request.people - request.number, share), dtype=np.float64)


def _fixed_sizes(request: SizeRequest, uniform: Floats, rng: np.random.Generator) -> Floats:
    cycled = np.resize(np.asarray(request.listed, dtype=np.float64), request.number)
    if not request.shuffled:
        return np.broadcast_to(cycled, uniform.shape).copy()
    # in order of size, so that a higher uniform is a larger practice, as in the other families
    rank = np.argsort(np.argsort(uniform, axis=1, kind="stable"), axis=1, kind="stable")
    return np.asarray(np.sort(cycled)[rank])


def _empirical_sizes(request: SizeRequest, uniform: Floats, rng: np.random.Generator) -> Floats:
    listed = np.sort(np.asarray(request.listed, dtype=np.float64))
    return np.asarray(listed[(uniform * len(listed)).astype(np.intp)])


def _some_listed(request: SizeRequest) -> None:
    if not request.listed:
        raise ScenarioError("these sizes are taken from size_list, which is empty, e.g. size_list = [3, 5, 8]")


LISTED = ("fixed", "empirical")
"""Families whose sizes are given, so that they have no use for a mean and CV."""

DRAWS: dict[str, Callable[[SizeRequest, Floats, np.random.Generator], Floats]] = {
    "truncated-negative-binomial": _truncated_sizes,
    "one-plus-gamma-poisson": _one_plus_sizes,
    "lognormal": _lognormal_sizes,
    "dirichlet-multinomial": _dirichlet_sizes,
    "fixed": _fixed_sizes,
    "empirical": _empirical_sizes,
}
DRAWN_LAST = ("dirichlet-multinomial",)
"""Families that draw numbers of their own, after all others of the stage."""

CHECKS: dict[str, Callable[[SizeRequest], object]] = {
    "truncated-negative-binomial": lambda a: truncated_shape(a.mean, a.cv),
    "one-plus-gamma-poisson": lambda a: one_plus_shape(a.mean, a.cv),
    "lognormal": lambda a: lognormal_parameters(a.mean, a.cv),
    "dirichlet-multinomial": dirichlet_concentration,
    "fixed": _some_listed,
    "empirical": _some_listed,
}
REACH: dict[str, Callable[[float], tuple[float, float]]] = {
    "truncated-negative-binomial": truncated_reach,
    "one-plus-gamma-poisson": one_plus_reach,
    "lognormal": lognormal_reach,
}
"""Smallest and largest CV at a mean."""

ANY_MEAN = tuple(REACH)
"""Families in which a CV of 0 means equal sizes."""


def expected(family: str, request: SizeRequest) -> float:
    """Mean cluster size that a family gives."""
    if family == "fixed" and request.listed:
        return float(np.resize(request.listed, request.number).mean())
    if family == "empirical" and request.listed:
        return float(np.mean(request.listed))
    return request.people / request.number if family == "dirichlet-multinomial" else request.mean


def check(family: str, request: SizeRequest) -> None:
    """Reject moments that the family cannot have, with the possible range (ScenarioError)."""
    if not (family in ANY_MEAN and _check_equal(family, request)):
        CHECKS[family](request)


def draw(family: str, request: SizeRequest, uniform: Floats, rng: np.random.Generator) -> Floats:
    """Sizes (trials, practices) that increase with the uniforms (trials, practices)."""
    if family in ANY_MEAN and request.cv == 0:
        return np.full(uniform.shape, request.mean)
    return DRAWS[family](request, uniform, rng)
