"""Distributions by inversion: a table once per setting, then one uniform per draw."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats, in_order
from simtrial.core import compiled
from simtrial.errors import OptionError, ScenarioError


@lru_cache(maxsize=256)
def truncated_negative_binomial(mean: float, shape: float) -> Floats:
    """Cumulative probabilities of a negative binomial given that it is at least 1.

    Parameters
    ----------
    mean, shape
        mu and k of the untruncated distribution, variance mu + mu^2/k; k = inf is Poisson.

    Returns
    -------
    cumulative
        (values,), entry i is P(N <= i + 1); the tail beyond 1 - 1e-15 is put on the last value.
    """
    from scipy.special import gammaln, xlogy

    top = int(mean + 60 * np.sqrt(mean + (0 if np.isinf(shape) else mean**2 / shape))) + 60
    values = np.arange(top + 1)
    if np.isinf(shape):
        log = xlogy(values, mean) - mean - gammaln(values + 1)
    else:
        ratio = mean / (mean + shape)
        log = gammaln(values + shape) - gammaln(shape) - gammaln(values + 1)
        log += xlogy(values, ratio) + shape * np.log1p(-ratio)
    probability = np.exp(log)[1:]
    cumulative = np.cumsum(probability / probability.sum())
    end = int(np.searchsorted(cumulative, 1 - 1e-15)) + 1
    cumulative = cumulative[:end]
    cumulative[-1] = 1.0
    return cumulative


def truncated_reach(mean: float) -> tuple[float, float]:
    """Smallest CV of the zero-truncated family with a mean, the Poisson's, and largest, at k = 0.001."""
    return _moments(mean, np.inf)[1], _moments(mean, 1e-3)[1]


def reach_in_words(family: str, mean: float, low: float, high: float) -> str:
    """Say which CVs a family of cluster sizes has at a mean; ends rounded inwards, and 10 the largest option."""
    low, high = low * (low > 1e-6), min(high, 10.0)  # hardly any variation is equal sizes
    units = [10.0 ** (np.floor(np.log10(max(x, 1e-6))) - 3.0) for x in (low, high)]
    low, high = float(np.ceil(low / units[0]) * units[0]), float(np.floor(high / units[1]) * units[1])
    return f"cluster sizes of mean {mean:g} have a CV between {low:.4g} and {high:.4g} in the family '{family}'"


def out_of_reach(family: str, mean: float, low: float, high: float, cv: float) -> OptionError:
    """Refuse a CV that a family does not have at a mean, with those that it has."""
    return OptionError(f"{reach_in_words(family, mean, low, high)}; {cv:g} given", "cluster_size_cv")


@lru_cache(maxsize=256)
def truncated_shape(mean: float, cv: float) -> tuple[float, float]:
    """Mu and k of the zero-truncated negative binomial with a given mean and coefficient of variation.

    E[N | N > 0] = mu / (1 - P0) and E[N^2 | N > 0] = (mu + mu^2 (1 + 1/k)) / (1 - P0) with P0 = (1 + mu/k)^-k.

    Raises
    ------
    ScenarioError
        When no member of the family has these moments, with the smallest and largest reachable CV.
    """
    if mean <= 1.0:
        raise ScenarioError(f"a mean cluster size must exceed 1; {mean:g} given")
    low, high = truncated_reach(mean)
    if not low <= cv <= high:
        raise out_of_reach("truncated-negative-binomial", mean, low, high, cv)
    bottom, top = np.log(1e-3), np.log(1e7)
    for _ in range(200):
        middle = 0.5 * (bottom + top)
        if _moments(mean, float(np.exp(middle)))[1] > cv:
            bottom = middle
        else:
            top = middle
    shape = float(np.exp(0.5 * (bottom + top)))
    return _moments(mean, shape)[0], shape


def _moments(mean: float, shape: float) -> tuple[float, float]:
    """Mu whose truncated mean is ``mean`` at this shape, and the CV that results."""
    bottom, top = 0.0, mean
    for _ in range(200):
        mu = 0.5 * (bottom + top)
        log_zero = -mu if np.isinf(shape) else -shape * np.log1p(mu / shape)
        if mu > mean * -np.expm1(log_zero):
            top = mu
        else:
            bottom = mu
    second = (mu + mu**2 * (1.0 + (0.0 if np.isinf(shape) else 1.0 / shape))) * mean / mu
    return mu, float(np.sqrt(max(second / mean**2 - 1.0, 0.0)))


_GUIDED = 2048  # a power of two, so that equal steps of it are exact


def invert(cumulative: Floats, uniform: Floats) -> Floats:
    """First value whose cumulative probability reaches each uniform: 1 for the first entry of the table.

    A guide table (Chen and Asau 1974, doi:10.1080/05695557408974949) gives a value not beyond it, from where few are
    more than a step away.
    """
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/tables.c takes over
        values = np.empty(uniform.shape)
        core.invert(*in_order(cumulative, uniform.ravel()), values.reshape(-1))
        return values
    shares = uniform.ravel()
    if len(shares) < _GUIDED or not (shares.min() >= 0.0 and shares.max() <= 1.0):
        return np.searchsorted(cumulative, uniform, side="left").astype(np.float64) + 1.0
    guide = np.searchsorted(cumulative, np.arange(_GUIDED + 1) / _GUIDED)
    value = guide[(shares * _GUIDED).astype(np.intp)]
    short = np.flatnonzero(cumulative[value] < shares)
    while len(short):
        value[short] += 1
        short = short[cumulative[value[short]] < shares[short]]
    return value.reshape(uniform.shape).astype(np.float64) + 1.0


SCORES = np.linspace(-8.0, 8.0, 4001)
"""Normal scores at which quantiles are tabulated, for linear interpolation."""

_NEXT = np.append(SCORES[1:], np.inf)
_PER_SCORE = 250.0  # entries of the table


def between_scores(normal: Floats, quantiles: Floats) -> Floats:
    """Quantiles at normal scores, interpolated linearly between those tabulated at `SCORES`; constant beyond them.

    The numbers of ``np.interp``, whose search takes longer than all that is done here: equal steps need none.
    """
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/tables.c takes over
        found = np.empty(normal.shape)
        core.between_scores(*in_order(normal.ravel(), SCORES, quantiles), found.reshape(-1))
        return found
    score = np.clip(normal, SCORES[0], SCORES[-1])
    at = ((score - SCORES[0]) * _PER_SCORE).astype(np.intp)
    at -= score < SCORES[at]  # one step beside the place, where the steps are rounded
    at += score >= _NEXT[at]
    slope = np.append(np.diff(quantiles) / np.diff(SCORES), 0.0)
    return np.asarray(slope[at] * (score - SCORES[at]) + quantiles[at])


@lru_cache(maxsize=64)
def beta_quantiles(alpha: float, beta: float) -> tuple[Floats, Floats]:
    """Quantiles of a Beta distribution on a grid of normal scores, for linear interpolation.

    Returns
    -------
    scores, quantiles
        4,001 scores from -8 to 8; between them interpolation is off by less than 1e-4.
    """
    from scipy.special import betaincinv, ndtr

    return SCORES, betaincinv(alpha, beta, ndtr(SCORES))


@lru_cache(maxsize=64)
def gamma_quantiles(shape: float) -> tuple[Floats, Floats]:
    """Quantiles of a gamma distribution of scale 1 on a grid of normal scores, for linear interpolation.

    Returns
    -------
    scores, quantiles
        As `beta_quantiles`.
    """
    from scipy.special import gammainccinv, gammaincinv, ndtr

    upper = gammainccinv(shape, ndtr(-SCORES))  # in the upper tail 1 - p has lost its digits
    return SCORES, np.where(SCORES > 0, upper, gammaincinv(shape, ndtr(SCORES)))


def categories(weights: tuple[float, ...], uniform: Floats) -> NDArray[np.int64]:
    """Code of the category each uniform falls in (rows,)."""
    edges = np.cumsum(np.asarray(weights) / np.sum(weights))[:-1]
    return np.searchsorted(edges, uniform, side="right")


_RANKED = 256
"""Numbers of a trial up to which their ranks are counted, which takes their square."""


def in_random_order(codes: NDArray[np.int64], uniform: Floats) -> NDArray[np.int64]:
    """Codes of every trial in the order that its uniforms give them (trials, codes): the lowest number's comes first.

    Place k holds the code whose number stands where the k-th lowest does: ``codes[argsort]``.
    """
    if uniform.shape[1] <= _RANKED and (core := compiled()) is not None:  # here alone simtrial/core/tables.c takes over
        found = np.empty(uniform.shape, dtype=np.int64)
        core.in_random_order(codes, uniform, found)
        return found
    return np.asarray(codes[np.argsort(uniform, axis=1, kind="stable")])


def record(score: Floats, items: int, lowest: float, highest: float, out: Floats | None = None) -> Floats:
    """Round a score to the mean of ``items`` ratings (0: keep it continuous) and keep it on its scale.

    ``out`` is filled with it, and may be the score itself.
    """
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/recorded.c takes over
        recorded = np.empty(score.shape) if out is None else out
        core.record(*in_order(score.ravel()), float(items), lowest, highest, recorded.reshape(-1))
        return recorded
    if not items:
        return np.clip(score, lowest, highest, out=out)
    rounded = np.multiply(score, items, out=out)
    np.rint(rounded, out=rounded)
    rounded /= items
    return np.clip(rounded, lowest, highest, out=rounded)
