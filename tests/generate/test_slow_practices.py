"""Practices by plain loops, trial by trial: classes, registers, and every family of cluster sizes, from the same draws.

What each family needs (mu, k; mu, sigma) is solved here from its moments, as sums over the sizes there can be.
"""

import math
from functools import cache
from itertools import pairwise

import pytest
from plain_loops import compare, first_reached, negative_binomial, phi
from scipy import special, stats
from scipy.optimize import brentq

DEPRIVATION = ("high", "medium", "low")
REGIONS = {"Birmingham": 16, "Plymouth": 10, "Cornwall": 10, "Somerset": 3}


def apportion(shares, total):
    """Whole numbers by largest remainder."""
    exact = [share / sum(shares) * total for share in shares]
    whole = [math.floor(x + 1e-9) for x in exact]
    while sum(whole) < total:
        rest = [round(x - n, 9) for x, n in zip(exact, whole, strict=True)]
        whole[rest.index(max(rest))] += 1
    return whole


def in_numbers(shares, total):
    """One class after the other, each as often as it is due."""
    return [code for code, times in enumerate(apportion(shares, total)) for _ in range(times)]


def category(shares, uniform):
    """Number of classes whose upper end is reached."""
    below, code = 0.0, 0
    for share in shares[:-1]:
        below += share / sum(shares)
        code += uniform >= below
    return code


def shuffled(o, shares, uniforms):
    """Classes of a trial: drawn one by one; or in fixed numbers, in the order of the uniforms."""
    if o.counts == "random":
        return [category(shares, u) for u in uniforms]
    order = sorted(range(len(uniforms)), key=lambda k: uniforms[k])
    classes = in_numbers(shares, len(uniforms))
    return [classes[k] for k in order]


def within(o, by_region, other, regions, uniforms):
    """Classes of a trial within its regions, if any region has shares of its own: smallest uniforms, first class."""
    found = [0] * len(uniforms)
    for code, region in enumerate(o.regions):
        inside = [k for k in range(len(uniforms)) if regions[k] == code or not by_region]
        shares = by_region.get(region, other)
        if o.counts == "random":
            classes = [category(shares, uniforms[k]) for k in inside]
        else:
            inside.sort(key=lambda k: uniforms[k])
            classes = in_numbers(shares, len(inside))
        for k, each in zip(inside, classes, strict=True):
            found[k] = each
    return found


def register(o, rank, small, share):
    """Rounded quantile of a lognormal cut off below; a large practice has more than the largest of the small ones."""
    cut = phi((math.log(o.register_lowest - 0.5) - math.log(o.register_median)) / o.register_sigma)

    def quantile(p):
        if p == 0:
            return o.register_lowest
        size = o.register_median * math.exp(o.register_sigma * stats.norm.ppf(cut + (1 - cut) * p))
        return max(round(size), o.register_lowest)

    return quantile(rank) if small or share in (0, 1) else max(quantile(rank), quantile(share) + 1)


@cache
def truncated(mean, cv):
    """Probabilities of 1, 2, ... of the zero-truncated negative binomial of these moments, k between 1e-3 and 1e7."""

    def given_one(k):
        def lacking(mu):
            return mu / -math.expm1(-k * math.log1p(mu / k)) - mean

        return negative_binomial(brentq(lacking, 1e-9, mean, xtol=1e-13), k)[1:]

    log_k = brentq(lambda x: moments(given_one(math.exp(x)))[1] - cv, math.log(0.05), math.log(1e7), xtol=1e-12)
    return given_one(math.exp(log_k))


@cache
def one_plus(mean, cv):
    """Probabilities of 1, 2, ...: of 0, 1, ... of a negative binomial of mean mu = mean - 1 and the same variance."""
    mu, variance = mean - 1, (cv * mean) ** 2
    k = mu**2 / (variance - mu) if variance - mu > 1e-12 * mu else math.inf
    return negative_binomial(mu, k)


def moments(probabilities):
    """Mean and CV of 1, 2, ..."""
    total = math.fsum(probabilities)
    mean = math.fsum(n * p for n, p in enumerate(probabilities, 1)) / total
    variance = math.fsum((n - mean) ** 2 * p for n, p in enumerate(probabilities, 1)) / total
    return mean, math.sqrt(variance) / mean


def rounded_lognormal(mu, sigma):
    """P(max(1, round(X)) = n) for n = 1, 2, ..., log X ~ N(mu, sigma^2), up to 8 SDs."""
    upto = [0.0]
    while len(upto) < math.exp(mu + 8 * sigma) + 2:
        upto.append(0.5 * math.erfc((mu - math.log(len(upto) + 0.5)) / sigma / math.sqrt(2)))
    return [b - a for a, b in pairwise(upto)]


@cache
def lognormal(mean, cv):
    """Mu and sigma whose rounded sizes have these moments."""

    def location(sigma):
        return brentq(
            lambda mu: moments(rounded_lognormal(mu, sigma))[0] - mean, math.log(mean) - 2, math.log(mean) + 1
        )

    sigma = brentq(lambda s: moments(rounded_lognormal(location(s), s))[1] - cv, 0.3, 1.2, xtol=1e-10)
    return location(sigma), sigma


def dirichlet(o, uniforms, rng):
    """1 + multinomial(n; shares), shares gamma quantiles over their sum: the sizes' variance fixes alpha."""
    number = len(uniforms)
    total = o.total or round(number * o.cluster_size_mean)
    n, p = total - number, 1 / number
    rho = ((o.cluster_size_cv * total / number) ** 2 / (n * p * (1 - p)) - 1) / (n - 1)
    weights = [1.0] * number
    if rho > 1e-12:
        weights = [float(special.gammaincinv((1 / rho - 1) / number, u)) for u in uniforms]
    return [1 + int(k) for k in rng.multinomial(n, [w / sum(weights) for w in weights])]


def one_size(o, u):
    """Size of one practice in the families in which practices do not depend on each other."""
    mean, cv = o.cluster_size_mean, o.cluster_size_cv
    if o.sizes == "empirical":
        return sorted(o.size_list)[int(u * len(o.size_list))]
    if cv == 0:
        return mean
    if o.sizes == "lognormal":
        mu, sigma = lognormal(mean, cv)
        return max(1, round(math.exp(mu + sigma * stats.norm.ppf(u))))
    return first_reached((truncated if o.sizes.startswith("truncated") else one_plus)(mean, cv), u, 1)


def sizes(o, uniforms, rng):
    """People recruited by every practice of a trial."""
    if o.sizes == "dirichlet-multinomial":
        return dirichlet(o, uniforms, rng)
    if o.sizes != "fixed":
        return [one_size(o, u) for u in uniforms]
    listed = [o.size_list[k % len(o.size_list)] for k in range(len(uniforms))]
    if o.size_order == "listed":
        return listed
    found = [0] * len(listed)
    for size, k in zip(sorted(listed), sorted(range(len(listed)), key=lambda k: uniforms[k]), strict=True):
        found[k] = size
    return found


def practices(o, batch, rng):
    """Uniforms in the order region, size class, people, register, rurality, deprivation: (trials, practices) each."""
    trials, number, r = batch.index.trials, o.number, o.register_correlation
    drawn = [rng.random((trials, number)) for _ in range(6)]
    names = ("practice", "region", "practice_size", "register_size", "rurality", "deprivation", "opened", "recruited")
    found = {name: [] for name in names}
    urban = {region: (u, 1 - u) for region, u in o.rurality_by_region.items()}
    deprived = {region: [table.get(d, 0) for d in DEPRIVATION] for region, table in o.deprivation_by_region.items()}
    share = o.small_share if o.counts == "random" else apportion([o.small_share, 1 - o.small_share], number)[0] / number
    for t in range(trials):
        regional, classed, people, registered, rural, poor = (uniforms[t] for uniforms in drawn)
        regions = shuffled(o, list(o.regions.values()), regional)
        large = shuffled(o, [o.small_share, 1 - o.small_share], classed)
        ranks = [share + (1 - share) * u if big else share * u for u, big in zip(registered, large, strict=True)]
        if r:
            z = [
                (r * stats.norm.ppf(a), math.sqrt(1 - r**2) * stats.norm.ppf(b))
                for a, b in zip(ranks, people, strict=True)
            ]
            people = [phi(a + b) for a, b in z]
        recruited = sizes(o, people, rng)
        opened = [int(sum(recruited[:k]) < o.until_participants) for k in range(number)]
        found["practice"] += range(1, number + 1)
        found["region"] += regions
        found["practice_size"] += large
        found["register_size"] += [register(o, p, not big, share) for p, big in zip(ranks, large, strict=True)]
        found["rurality"] += within(o, urban, (o.urban_share, 1 - o.urban_share), regions, rural)
        found["deprivation"] += within(o, deprived, [o.deprivation.get(d, 0) for d in DEPRIVATION], regions, poor)
        found["opened"] += opened
        found["recruited"] += (
            [n * up for n, up in zip(recruited, opened, strict=True)] if o.until_participants else recruited
        )
    return found if o.until_participants else {n: v for n, v in found.items() if n != "opened"}


BY_REGION = {
    "rurality_by_region": {"Cornwall": 0.2, "Birmingham": 1.0},
    "deprivation_by_region": {"Plymouth": {"high": 3, "low": 4}, "Somerset": {"medium": 1}},
}
OPTIONS = {
    "published": {},
    "random classes": {"counts": "random", "register_correlation": 0.5, **BY_REGION},
    "classes within regions": BY_REGION,
    "small practices only": {"small_share": 1.0, "register_lowest": 40},
    "large practices only": {"small_share": 0.0, "counts": "random"},
    "registers alike": {"register_sigma": 0.04, "register_median": 30.0},
    "until enough": {"until_participants": 120, "register_correlation": -0.8},
    "equal": {"cluster_size_mean": 4.0, "cluster_size_cv": 0.0},
    "nearly Poisson": {"cluster_size_mean": 8.0, "cluster_size_cv": 0.4},
    "one plus": {"sizes": "one-plus-gamma-poisson"},
    "one plus Poisson": {"sizes": "one-plus-gamma-poisson", "cluster_size_mean": 5.0, "cluster_size_cv": 0.4},
    "lognormal": {"sizes": "lognormal", "register_correlation": 0.6},
    "Dirichlet": {"sizes": "dirichlet-multinomial"},
    "Dirichlet, total": {"sizes": "dirichlet-multinomial", "total": 300, "cluster_size_cv": 1.0},
    "fixed": {"sizes": "fixed", "size_list": [3, 9, 5, 5, 1], "register_correlation": 0.7},
    "fixed as listed": {"sizes": "fixed", "size_list": [3, 9, 5], "size_order": "listed", "until_participants": 90},
    "empirical": {"sizes": "empirical", "size_list": [4, 12, 1, 7]},
}  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_one_practice_after_the_other(options) -> None:
    """Trials of 39 practices, before there is anybody; opening them is what the trial itself begins with."""
    found = compare(practices, "practices", {"practices": options}, trials=12)
    assert sum(found["recruited"]) >= 12 * 39 * (0.4 if "until_participants" in options else 1)


def test_families_have_the_moments_asked_for() -> None:
    """Sums over the sizes there can be, with the published mean and CV."""
    for probabilities in (truncated(5.08, 0.62), one_plus(5.08, 0.62), rounded_lognormal(*lognormal(5.08, 0.62))):
        mean, cv = moments(probabilities)
        assert math.isclose(mean, 5.08, rel_tol=1e-8)
        assert math.isclose(cv, 0.62, rel_tol=1e-8)
