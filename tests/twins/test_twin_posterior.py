"""Draws of the intracluster correlation beside its posterior on a fine grid, for practices of any size."""

from itertools import islice

import numpy as np
import pytest
from scipy import stats
from trials import batch

from simtrial.kernels.posterior import draw, posterior
from simtrial.kernels.variance_priors import UNIFORM_ICC, RatioPrior
from simtrial.moments.build import moments
from simtrial.moments.rows import Spec
from twins.frame import blocks, frame
from twins.product import observed
from twins.spectrum import spectrum
from twins.test_twin_mi import trials

DRAWS = 4000
FALSE_ALARM = 1e-6  # of each comparison: the bound of Dvoretzky, Kiefer and Wolfowitz at this probability


def trial(size, practices, icc, unequal=False):
    """Practices of about one size, an individual and a practice-level covariate."""
    rng = np.random.default_rng([size, practices, int(1000 * icc)])
    sizes = rng.integers(max(2, size // 3), 2 * size, practices) if unequal else np.full(practices, size)
    practice = np.repeat(np.arange(practices), sizes)
    people = len(practice)
    x, z = rng.normal(size=people), rng.normal(size=practices)[practice]
    y = 0.5 * x + 0.2 * z + rng.normal(0, np.sqrt(icc), practices)[practice] + rng.normal(0, np.sqrt(1 - icc), people)
    arm = (np.arange(practices) % 2)[practice].astype(float)
    return {"practice": practice, "arm": arm, "x1": x, "x2": z, "mansa_followup": y}


def distribution(data, adjust=("x1", "x2"), scale=None, largest=1e4):
    """Cumulative posterior of rho on a grid that is dense where the mass is: rho, P(below).

    The prior is uniform, or half-normal of tau/sigma with a scale.
    """
    made = frame(data, "mansa_followup", list(adjust))
    s = spectrum(made, blocks(made), True)
    u = np.linspace(np.log(1e-9), np.log(largest), 200_001)  # of gamma; d rho = rho (1 - rho) d log gamma
    gamma = np.exp(u)
    log = np.concatenate([-0.5 * s.value(part) for part in np.array_split(gamma, 200)])
    log = log + (u - 2 * np.log1p(gamma) if scale is None else 0.5 * u - gamma / (2 * scale**2))
    mass = np.exp(log - log.max())
    total = np.concatenate([[0.0], np.cumsum(0.5 * (mass[1:] + mass[:-1]) * np.diff(u))])
    return gamma / (1 + gamma), total / total[-1]


@pytest.mark.parametrize("unequal", [False, True])
@pytest.mark.parametrize(
    ("size", "practices", "icc"), [(5, 20, 0.1), (100, 16, 0.05), (1000, 16, 0.005), (4000, 12, 0.001)]
)
def test_draws_follow_the_posterior(size, practices, icc, unequal):
    data = trial(size, practices, icc, unequal)
    rho, below = distribution(data)
    sums = moments(batch(data), Spec("mansa_followup", None, ("x1", "x2"))).size_sums()
    follow(posterior(sums.take(np.zeros(DRAWS, dtype=np.intp))), rho, below)


def follow(table, rho, below):
    """The draws of a table of one trial many times have that distribution."""
    assert table.proper.all()
    drawn = draw(table, np.random.default_rng(7))
    ranks = np.interp(drawn.gamma / (1 + drawn.gamma), rho, below)
    allowed = np.sqrt(np.log(2 / FALSE_ALARM) / (2 * DRAWS))
    assert stats.kstest(ranks, "uniform").statistic < allowed


@pytest.mark.parametrize(("seed", "number", "largest", "scale"), [(42, 64, 1e9, None), (44, 68, 1e9, 0.5)])
def test_draws_follow_a_posterior_that_rounding_ends(seed, number, largest, scale):
    """With gamma above 1e15 rounding of what people differ in covers what means of practices say.

    In the first trial three people in nine are not alone in their practice, and two covariates use them up.
    """
    data, adjust = next(islice(trials(seed, 60), number, None))
    prior = UNIFORM_ICC if scale is None else RatioPrior("half-normal", scale)
    sums = moments(observed([data]), Spec("mansa_followup", None, tuple(adjust))).size_sums()
    table = posterior(sums.take(np.zeros(DRAWS, dtype=np.intp)), prior)
    follow(table, *distribution(data, adjust, scale, largest))
