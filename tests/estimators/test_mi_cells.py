"""The posterior of the ICC behind imputation, for practices of any size, against fine grids."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from trials import batch

from simtrial.batch import Column, Index, ObservedBatch
from simtrial.kernels import posterior as kernel
from simtrial.kernels.posterior import draw, posterior
from simtrial.kernels.variance_priors import UNIFORM_ICC, InverseGamma, RatioPrior, UniformTau
from simtrial.moments.build import moments
from simtrial.moments.rows import Spec

POINTS = 10_000
"""Of a grid of log gamma. A sum over a smooth peak of SD s in steps of h is off by exp(-2 pi^2 s^2/h^2) of it: with
s of at least 4 h, which `compare` makes sure of, by nothing."""
SPEC = Spec("mansa_followup", adjust=("x",))
PRIOR = InverseGamma((0.5, 0.025), (0.5, 0.025))
PRIORS = {
    "uniform-icc": UNIFORM_ICC,
    "inverse-gamma": PRIOR,
    "half-normal": RatioPrior("half-normal", 0.5),
    "half-normal 0.05": RatioPrior("half-normal", 0.05),
    "half-cauchy": RatioPrior("half-cauchy", 0.5),
    "uniform-tau": UniformTau(),
}
# Draws are uniform within cells, which adds the mean of width^2/12 to the variance. Equal cells are used where the SD
# is 8 of them or more: 1/(24 * 64) = 0.07% of the SD. Fitted cells: widths in proportion to g^(-1/3), 256 of them, make
# 0.002% for a normal; with tails of e^-28 to be covered on both sides, at most 0.07% for those here.
ALLOWED = 1e-3

SIZES = {
    "5": [5] * 39,
    "100": [100] * 39,
    "1000": [1000] * 39,
    "20000": [20_000] * 8,
    "5 to 20000": [5] * 15 + [100] * 10 + [1000] * 5 + [20_000] * 3,
    "two of thousands": [3000] * 2 + [12] * 20,
    "six practices": [1000] * 6,
    "many practices": [50] * 100,
}


def trial(sizes, icc, seed=3, within=None):
    """Practices of given sizes, arms in turn, one covariate; ``within`` is the SD of people, else what icc leaves."""
    rng, practices = np.random.default_rng(seed), len(sizes)
    practice = np.repeat(np.arange(practices), sizes)
    people = len(practice)
    arm = np.arange(practices) % 2.0
    x = rng.normal(size=people)
    y = 0.2 * arm[practice] + rng.normal(0, np.sqrt(icc), practices)[practice]
    if within is None:
        y += 0.5 * x + rng.normal(0, np.sqrt(1 - icc), people)
    else:
        y += within * rng.normal(size=people)
    index = Index(1, np.zeros(practices, dtype=np.intp), practice)
    return ObservedBatch(
        index,
        {
            "arm": Column(arm, "practice"),
            "x": Column(x, "participant"),
            "mansa_followup": Column(y, "participant"),
        },
    )


def by_practice(observed):
    """Sizes, practice means of intercept, covariate, arm and outcome, and pooled cross-products within practices."""
    practice, n = observed.index.participant_practice, np.bincount(observed.index.participant_practice)
    values = np.stack([observed.at(name) for name in ("x", "arm", "mansa_followup")])
    values[[0, 2]] -= values[[0, 2]].mean(axis=1, keepdims=True)
    values = np.concatenate([np.ones((1, len(practice))), values])
    means = np.stack([np.bincount(practice, v) / n for v in values])
    apart = values - means[:, practice]
    apart[[0, 2]] = 0.0
    return n, means, apart @ apart.T


def quantities(u, n, means, within, prior):
    """Log density of u and, given u: rho, u, log scale of sigma2, coefficient of arm, largest and least shrinkage.

    Whole matrices [X y]'H^-1[X y] at every point, solved one by one.
    """
    gamma = np.exp(u)
    a = n / (1 + n * gamma[:, None])
    products = (means[:, None, :] * means).reshape(-1, len(n))
    matrix = within + (a @ products.T).reshape(-1, *within.shape)
    x, xy, yy = matrix[:, :3, :3], matrix[:, :3, 3], matrix[:, 3, 3]
    beta = np.linalg.solve(x, xy[..., None])[..., 0]
    rss, nu = yy - (beta * xy).sum(axis=1), n.sum() - 3
    log = -0.5 * (np.log1p(n * gamma[:, None]).sum(axis=1) + np.linalg.slogdet(x)[1])
    if prior is UNIFORM_ICC:
        scale = 0.5 * rss
        log += -0.5 * nu * np.log(scale) + u - 2 * np.log1p(gamma)
    elif isinstance(prior, RatioPrior):
        scale, theta = 0.5 * rss, np.sqrt(gamma) / prior.spread
        log += -0.5 * nu * np.log(scale) + 0.5 * u
        log += -0.5 * theta**2 if prior.form == "half-normal" else -np.log(1 + theta**2)
    elif isinstance(prior, UniformTau):
        scale = 0.5 * rss
        log += -0.5 * (nu - 1) * np.log(scale) + 0.5 * u
    else:
        (a1, b1), (a0, b0) = prior.tau2, prior.sigma2
        scale = 0.5 * rss + b0 + b1 / gamma
        log += -(0.5 * nu + a1 + a0) * np.log(scale) - a1 * u
    shrinkage = [size * gamma / (1 + size * gamma) for size in (n.max(), n.min())]
    return log, np.stack([gamma / (1 + gamma), u, np.log(scale), beta[:, 2], *shrinkage])


def summary(mass, values):
    """Means and SDs (quantities,) of values (quantities, points)."""
    mean = values @ mass
    return mean, np.sqrt((values - mean[:, None]) ** 2 @ mass)


def cells(table, points=25):
    """Points within the cells that draws come from, and their mass: u is uniform in fitted cells, rho in equal ones."""
    inside = (np.arange(points) + 0.5) / points
    if table.fitted is None:
        rho = ((np.arange(len(table.rho))[:, None] + inside) / len(table.rho)) ** table.prior.power
        return np.log(rho / (1 - rho)).ravel(), np.repeat(table.mass[:, 0] / points, points)
    edges, mass = table.fitted.edges[:, 0], table.fitted.mass[:, 0]
    return (edges[:-1, None] + np.diff(edges)[:, None] * inside).ravel(), np.repeat(mass / points, points)


def compare(observed, prior, low=-40.0, high=25.0):
    """Errors of means, in SDs, and of SDs, relative, and the table."""
    table = posterior(moments(observed, SPEC).size_sums(), prior)
    n, means, within = by_practice(observed)
    grid = np.linspace(low, high, POINTS)
    log, values = quantities(grid, n, means, within, prior)
    mass = np.exp(log - log.max())
    mean, sd = summary(mass / mass.sum(), values)
    assert sd[1] > 4 * (high - low) / POINTS
    u, own = cells(table)
    found, spread = summary(own, quantities(u, n, means, within, prior)[1])
    return np.abs(found - mean) / sd, np.abs(spread / sd - 1), table


@pytest.mark.parametrize(
    ("icc", "prior"),
    [(i, p) for p in PRIORS for i in ((0.0, 0.01, 0.2, 0.9) if p in ("uniform-icc", "inverse-gamma") else (0.01, 0.9))],
)
@pytest.mark.parametrize("sizes", SIZES)
def test_moments_are_those_of_a_fine_grid(sizes, icc, prior):
    means, sds, table = compare(trial(SIZES[sizes], icc), PRIORS[prior])
    assert means.max() < ALLOWED
    assert sds[0] < ALLOWED
    assert sds.max() < 3 * ALLOWED  # of what follows from rho, and bends most where an equal cell meets 0 or 1
    assert table.fitted is None or table.fitted.settled.all()


def test_equal_cells_alone_are_far_off_where_practices_are_large():
    observed = trial(SIZES["1000"], 0.0)
    table = posterior(moments(observed, SPEC).size_sums())
    n, means, within = by_practice(observed)
    u, own = cells(table)
    fine = summary(own, quantities(u, n, means, within, UNIFORM_ICC)[1])
    u, own = cells(replace(table, fitted=None))
    equal = summary(own, quantities(u, n, means, within, UNIFORM_ICC)[1])
    assert abs(equal[1][0] / fine[1][0] - 1) > 0.1


def modes(log):
    """How many peaks that matter a log density has."""
    inner = log[1:-1]
    return int(((inner > log[:-2]) & (inner > log[2:]) & (inner > log.max() - 5)).sum())


def test_two_modes_are_both_there():
    """Practices of thousands say one thing, practices of dozens another."""
    observed = trial([20_000] * 10 + [5] * 20, 0.0, seed=5)
    practice, y = observed.index.participant_practice, observed.at("mansa_followup")
    wanted = np.concatenate([np.full(10, 0.01), np.full(20, 1.03)]) * np.tile([1, 1, -1, -1], 8)[:30]
    y = y + (wanted - np.bincount(practice, y) / np.bincount(practice))[practice]
    observed = observed.with_columns({"mansa_followup": Column(y, "participant")})
    assert modes(quantities(np.linspace(-40, 25, POINTS), *by_practice(observed), UNIFORM_ICC)[0]) == 2
    means, sds, table = compare(observed, UNIFORM_ICC)
    assert max(means.max(), sds[:2].max()) < ALLOWED
    assert table.fitted is not None


@pytest.mark.parametrize("within", [1e-2, 1e-4, 1e-6])
def test_outcomes_nearly_constant_within_practices(within):
    """All of the posterior lies within one equal cell beside rho = 1."""
    means, sds, table = compare(trial([12] * 20, 1.0, within=within), UNIFORM_ICC, -10.0, 45.0)
    assert table.fitted is not None
    assert max(means[1], sds[1]) < ALLOWED  # of log gamma; rho is 1 but for 1e-12


def test_outcomes_constant_within_practices_have_no_posterior():
    """The residual variance would be 0, and log gamma without end."""
    observed = trial([12] * 20, 1.0, within=0.0)
    assert not posterior(moments(observed, SPEC).size_sums()).proper[0]


@pytest.mark.parametrize("points", [0.3, 7.0, 40.0])
def test_units_of_the_outcome_do_not_matter(points):
    observed = trial(SIZES["two of thousands"], 0.05)
    scaled = observed.with_columns({"mansa_followup": Column(points * observed.at("mansa_followup"), "participant")})
    first, second = (posterior(moments(b, SPEC).size_sums()) for b in (observed, scaled))
    # the same sums times a constant; placing cells by interpolation repeats its rounding
    assert first.fitted.edges == pytest.approx(second.fitted.edges, abs=1e-8)
    assert first.fitted.mass == pytest.approx(second.fitted.mass, abs=1e-8)


@cache
def copies(times=20_000):
    observed = trial(SIZES["1000"], 0.01)
    return posterior(moments(observed, SPEC).size_sums()), np.zeros(times, dtype=np.intp)


def test_draws_come_from_the_fitted_cells():
    """Two-sided 4 standard errors, two comparisons: a false alarm in 8,000."""
    table, same = copies()
    own = table.fitted
    fitted = replace(
        own, trials=np.arange(len(same)), edges=own.edges[:, same], mass=own.mass[:, same],
        cumulative=own.cumulative[:, same], settled=own.settled[same], bounded=own.bounded[same],
    )  # fmt: skip
    mass, cumulative = table.mass[:, same], table.cumulative[:, same]
    many = replace(table, sums=table.sums.take(same), mass=mass, cumulative=cumulative, fitted=fitted)
    gamma = draw(many, np.random.default_rng(11)).gamma
    u, mass = cells(table)
    mean, sd = summary(mass, np.stack([u, (u - u @ mass) ** 2]))
    for at, values in enumerate((np.log(gamma), (np.log(gamma) - mean[0]) ** 2)):
        assert abs(values.mean() - mean[at]) < 4 * sd[at] / np.sqrt(len(same))


def test_trials_whose_equal_cells_are_fine_enough_are_drawn_as_before(monkeypatch):
    rng = np.random.default_rng(2)
    parts = []
    for at in range(40):
        practice = np.repeat(np.arange(30), rng.integers(2, 8, 30))
        people = len(practice)
        icc = 0.2 if at % 4 else 0.0
        y = rng.normal(size=30)[practice] * np.sqrt(icc) + rng.normal(size=people)
        parts.append(
            {"trial": np.full(people, at), "practice": practice, "arm": practice % 2, "x": rng.normal(size=people),
             "mansa_followup": y}
        )  # fmt: skip
    sums = moments(batch({k: np.concatenate([p[k] for p in parts]) for k in parts[0]}), SPEC).size_sums()
    table = posterior(sums)
    monkeypatch.setattr(kernel, "FULL", 2.0)
    before = posterior(sums)
    fine = np.ones(40, dtype=bool)
    fine[table.fitted.trials] = False
    assert 5 < fine.sum() < 40
    new, old = (draw(t, np.random.default_rng(3)) for t in (table, before))
    assert np.array_equal(new.gamma[fine], old.gamma[fine])
    assert np.array_equal(new.sigma2[fine], old.sigma2[fine])
    assert np.array_equal(new.coefficients[:, fine], old.coefficients[:, fine])


@pytest.mark.parametrize(("scale", "proper"), [(1e-160, False), (1e-150, False), (1e-140, True), (1e150, True)])
def test_squares_out_of_range_are_no_posterior(scale, proper):
    sums = moments(trial([5] * 20, 0.2), SPEC).size_sums()
    packed = np.ones(len(sums.within))
    packed[-4:] = [scale, scale, scale, scale * scale]  # the outcome with the regressors, and its square
    far = replace(sums, within=sums.within * packed[:, None], between=sums.between * packed[None, :, None])
    assert posterior(far).proper[0] == proper


def test_a_square_beyond_all_numbers_is_no_posterior():
    sums = moments(trial([5] * 20, 0.2), SPEC).size_sums()
    within = sums.within.copy()
    within[-1] = np.inf
    assert not posterior(replace(sums, within=within)).proper[0]
