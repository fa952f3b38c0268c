"""Mean and SD of the logarithm of how many people a practice recruits, and of how many are on its register."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from simtrial.arrays import Floats
from simtrial.generate.distributions.tables import truncated_negative_binomial, truncated_shape
from simtrial.generate.practices import cluster_sizes
from simtrial.generate.practices.cluster_sizes import SizeRequest

Moments = tuple[float, float]

TOP = 20_000
"""Sizes of a lognormal that are summed one by one; above, rounding moves a logarithm by less than 1/40,000."""


def _moments(probability: Floats, lowest: int = 1, above: tuple[float, float] = (0.0, 0.0)) -> Moments:
    """Mean and SD of log n with P(n = lowest + i) = probability[i], and E log n and E (log n)^2 of what is above."""
    logs = np.log(np.arange(lowest, lowest + len(probability)))
    if not any(above):
        centre = float(probability @ logs)
        return centre, float(np.sqrt(probability @ (logs - centre) ** 2))
    first, second = probability @ logs + above[0], probability @ logs**2 + above[1]
    return float(first), float(np.sqrt(max(second - first**2, 0.0)))


def log_size_moments(mean: float, cv: float) -> Moments:
    """Mean and SD of log cluster size, for zero-truncated negative binomial sizes, the family by default."""
    if cv == 0:
        return float(np.log(mean)), 0.0
    return _moments(np.diff(truncated_negative_binomial(*truncated_shape(mean, cv)), prepend=0.0))


def _rounded(mu: float, sigma: float, lowest: int) -> tuple[Floats, tuple[float, float]]:
    """P(round(X) = n) for n from lowest, log X ~ N(mu, sigma^2), and E log X and E (log X)^2 where n is above TOP.

    With a = (log c - mu)/sigma: E[Z; Z > a] = phi(a) and E[Z^2; Z > a] = 1 - Phi(a) + a phi(a).
    """
    from scipy.special import ndtr

    edges = np.log(np.arange(lowest, max(TOP, 2 * lowest) + 2) - 0.5)
    a = float((edges[-1] - mu) / sigma)
    zero, one = float(ndtr(-a)), float(np.exp(-0.5 * a * a) / np.sqrt(2 * np.pi))
    two = zero + a * one
    tail = (mu * zero + sigma * one, mu**2 * zero + 2 * mu * sigma * one + sigma**2 * two)
    return np.diff(ndtr((edges - mu) / sigma)), tail


def _of_truncated(request: SizeRequest) -> Moments:
    return log_size_moments(request.mean, request.cv)


def _of_one_plus(request: SizeRequest) -> Moments:
    return _moments(np.diff(cluster_sizes.one_plus_table(request.mean, request.cv), prepend=0.0))


def _of_lognormal(request: SizeRequest) -> Moments:
    """What rounds to less than 1 counts as 1, of which the logarithm is 0."""
    probability, tail = _rounded(*cluster_sizes.lognormal_parameters(request.mean, request.cv), 1)
    return _moments(probability, 1, tail)


def _of_dirichlet(request: SizeRequest) -> Moments:
    """One practice has 1 + beta-binomial(n, alpha, (number - 1) alpha), or binomial(n, 1/number) where alpha = inf."""
    from scipy.special import betaln, gammaln, xlog1py, xlogy

    n, alpha = request.people - request.number, cluster_sizes.dirichlet_concentration(request)
    k = np.arange(n + 1.0)
    log = gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)
    if np.isinf(alpha):
        log += xlogy(k, 1.0 / request.number) + xlog1py(n - k, -1.0 / request.number)
    else:
        others = (request.number - 1) * alpha
        log += betaln(k + alpha, n - k + others) - betaln(alpha, others)
    return _moments(np.exp(log))


def _of_list(request: SizeRequest) -> Moments:
    logs = np.log(np.asarray(request.listed, dtype=np.float64))
    return float(logs.mean()), float(logs.std())


def _of_cycled(request: SizeRequest) -> Moments:
    logs = np.log(np.resize(np.asarray(request.listed, dtype=np.float64), request.number))
    return float(logs.mean()), float(logs.std())


FAMILIES: dict[str, Callable[[SizeRequest], Moments]] = {
    "truncated-negative-binomial": _of_truncated,
    "one-plus-gamma-poisson": _of_one_plus,
    "lognormal": _of_lognormal,
    "dirichlet-multinomial": _of_dirichlet,
    "fixed": _of_cycled,
    "empirical": _of_list,
}


@lru_cache(maxsize=256)
def of_recruited(family: str, request: SizeRequest) -> Moments:
    """Mean and SD over practices of log people recruited, as a family of cluster sizes draws them."""
    if family in cluster_sizes.ANY_MEAN and request.cv == 0:
        return float(np.log(request.mean)), 0.0
    return FAMILIES[family](request)


@lru_cache(maxsize=256)
def of_register(median: float, sigma: float, lowest: int, small: float) -> Moments:
    """Mean and SD over practices of log register size, as `practice_profile.register_sizes` draws it.

    A rounded lognormal given that it is at least ``lowest``; large practices whose size would be the threshold between
    the classes, the rounded quantile of the share ``small``, have one person more.
    """
    from scipy.special import ndtr

    mu = float(np.log(median))
    probability, (one, two) = _rounded(mu, sigma, lowest)
    kept = float(ndtr((mu - np.log(lowest - 0.5)) / sigma))
    probability = probability / kept
    if 0.0 < small < 1.0:
        at = int(np.searchsorted(np.cumsum(probability), small))
        if at + 1 < len(probability):
            raised = float(probability[: at + 1].sum()) - small
            probability[at] -= raised
            probability[at + 1] += raised
    return _moments(probability, lowest, (one / kept, two / kept))
