"""Priors of the variances behind imputation: moments by dense numerical integration, draws, and where there is none."""

import numpy as np
import pytest
import slow_twin
from reference import method
from trials import batch, fit, ragged

from simtrial.batch import Column
from simtrial.kernels.plug_in import PlugIn
from simtrial.kernels.posterior import posterior
from simtrial.kernels.random_intercept_criterion import evaluate
from simtrial.kernels.variance_priors import UNIFORM_ICC, InverseGamma, RatioPrior, UniformTau
from simtrial.moments.build import moments
from simtrial.moments.rows import Spec

SPEC = Spec("mansa_followup", adjust=("mansa_baseline", "size"))
# Equal cells hold at most 5% of the posterior each: their moments are within 1e-3 SD of those on a fine grid, as in
# test_mi_cells. A sum of 600 points of a smooth density and of 400 of the log of sigma2 is exact far beyond that.
ALLOWED = 1e-3


def half_normal(tau2, sigma2):
    return -0.5 * tau2 / sigma2 / 0.4**2 - 0.5 * np.log(tau2 * sigma2) - np.log(sigma2)


def half_cauchy(tau2, sigma2):
    return -np.log1p(tau2 / sigma2 / 0.4**2) - 0.5 * np.log(tau2 * sigma2) - np.log(sigma2)


def uniform_tau(tau2, sigma2):
    return -0.5 * np.log(tau2) - np.log(sigma2)


def uniform_icc(tau2, sigma2):
    return np.log(sigma2) - 2 * np.log(tau2 + sigma2) - np.log(sigma2)  # d icc / d tau2 = sigma2 / (tau2 + sigma2)^2


def inverse_gamma(tau2, sigma2):
    return -1.5 * np.log(tau2) - 0.1 / tau2 - 3.0 * np.log(sigma2) - 0.7 / sigma2


PRIORS = {  # as the product has them, and as densities of (tau2, sigma2)
    "half-normal": (RatioPrior("half-normal", 0.4), half_normal),
    "half-cauchy": (RatioPrior("half-cauchy", 0.4), half_cauchy),
    "uniform-tau": (UniformTau(), uniform_tau),
    "uniform-icc": (UNIFORM_ICC, uniform_icc),
    "inverse-gamma": (InverseGamma((0.5, 0.1), (2.0, 0.7)), inverse_gamma),
}


def integrated(data, log_prior, points=600, steps=400):
    """Means and variances of rho, sigma2, tau2 and the arm coefficient by sums over rho and log sigma2, dense matrices.

    Points are equal in arcsin of the root of rho, so that densities with a pole at 0 or 1 are finite.
    """
    y, x = data["mansa_followup"], slow_twin.design(data, ["mansa_baseline", "size"])
    shared, n = slow_twin.same_practice(data["practice"]), len(y)
    angle = (np.arange(points) + 0.5) / points * np.pi / 2
    logs, values = [], []
    for rho in np.sin(angle) ** 2:
        gamma = rho / (1 - rho)
        h = np.eye(n) + gamma * shared
        solved = np.linalg.solve(h, x)
        information = x.T @ solved
        beta, inverse = np.linalg.solve(information, solved.T @ y), np.linalg.inv(information)
        rss = (y - x @ beta) @ np.linalg.solve(h, y - x @ beta)
        sigma2 = np.exp(np.log(rss / n) + np.linspace(-3, 3, steps))
        log = -0.5 * (np.linalg.slogdet(h)[1] + np.linalg.slogdet(information)[1])
        log = log - 0.5 * (n - x.shape[1]) * np.log(sigma2) - 0.5 * rss / sigma2 + log_prior(gamma * sigma2, sigma2)
        # dtau2 = sigma2 dgamma, dgamma = drho / (1 - rho)^2, drho = sin(2 angle) dangle, dsigma2 = sigma2 dlog(sigma2)
        logs.append(log + 2 * np.log(sigma2) - 2 * np.log(1 - rho) + 0.5 * np.log(rho * (1 - rho)))
        mean = np.full(steps, beta[-1])
        first = [np.full(steps, rho), sigma2, gamma * sigma2, mean]
        second = [first[0] ** 2, sigma2**2, first[2] ** 2, mean**2 + sigma2 * inverse[-1, -1]]
        values.append(np.stack([first, second]))
    log, values = np.concatenate(logs), np.concatenate(values, axis=-1)
    mass = np.exp(log - log.max())
    first, second = values @ (mass / mass.sum())
    return first, second - first**2


def tabulated(table):
    """The same of the product's table, cell by cell."""
    sums, mass = table.sums, table.mass[:, 0]
    first, second = [], []
    for rho in table.rho:
        gamma = np.array([rho / (1 - rho)])
        at = evaluate(sums, gamma, sums.rows - sums.rank, reml=True)
        shape = 0.5 * (sums.rows - sums.rank)[0] + table.prior.shape(sums.rank[0])
        added = table.prior.scale(gamma)
        scale = 0.5 * at.rss[0] + (0.0 if added is None else added[0])
        sigma2, square = scale / (shape - 1), scale**2 / ((shape - 1) * (shape - 2))
        beta = at.coefficients[-1, 0]
        first.append([rho, sigma2, gamma[0] * sigma2, beta])
        second.append([rho**2, square, gamma[0] ** 2 * square, beta**2 + sigma2 * at.inverse[-1, -1, 0]])
    means = mass @ np.array(first)
    return means, mass @ np.array(second) - means**2


@pytest.mark.parametrize("seed", [0, 3])
@pytest.mark.parametrize("prior", PRIORS)
def test_posterior_moments_are_those_of_numerical_integration(prior, seed):
    data = ragged(seed)
    own, log_prior = PRIORS[prior]
    table = posterior(moments(batch(data), SPEC).size_sums(), own)
    assert table.fitted is None
    (mean, variance), (found, spread) = integrated(data, log_prior), tabulated(table)
    assert np.abs(found - mean).max() < ALLOWED * np.sqrt(variance).max()
    assert (np.abs(found - mean) / np.sqrt(variance)).max() < ALLOWED
    assert np.sqrt(spread / variance) == pytest.approx(np.ones(4), abs=3 * ALLOWED)


def test_priors_differ_by_far_more_than_that():
    """The test above can tell one prior from another."""
    found = [integrated(ragged(0), log_prior)[0][0] for _, log_prior in PRIORS.values()]
    assert np.abs(np.diff(sorted(found))).min() > 10 * ALLOWED * 0.15


def test_reml_draws_the_coefficients_and_holds_the_variances():
    observed = batch(ragged(3))
    own, reml = moments(observed, SPEC), fit(observed, method("lmm", adjust=["mansa_baseline", "size"]))
    times = np.zeros(40_000, dtype=np.intp)
    drawn = PlugIn.of(own.size_sums().take(times)).draw(np.random.default_rng(2))
    assert np.ptp(drawn.sigma2) == np.ptp(drawn.gamma) == 0.0
    assert drawn.sigma2[0] == pytest.approx(reml.extras["sigma2"][0], rel=1e-12)
    arm, size = drawn.coefficients[-1], len(times)
    # two-sided 4 standard errors: a false alarm in 16,000 each
    assert abs(arm.mean() - reml.estimate[0, 0]) < 4 * reml.std_error[0, 0] / np.sqrt(size)
    assert abs(arm.var() / reml.std_error[0, 0] ** 2 - 1) < 4 * np.sqrt(2 / size)


def lacking(seed=8, practices=16):
    data, rng = ragged(seed, practices=practices), np.random.default_rng(seed)
    return {**data, "mansa_followup": np.where(rng.random(len(data["arm"])) < 0.25, np.nan, data["mansa_followup"])}


def imputed(data, **options):
    return fit(batch(data), method("mi", analysis={"kind": "lmm"}, adjust=["mansa_baseline"], m=5, **options))


NAMES = ["uniform-icc", "half-normal", "half-cauchy", "uniform-tau", "inverse-gamma", "reml"]


def test_every_prior_is_another_imputation():
    found = [imputed(lacking(), prior=name).estimate[0, 0] for name in NAMES]
    assert len(set(found)) == len(NAMES)
    assert np.ptp(found) < 0.5


def test_the_scale_tells_and_only_where_it_belongs():
    for name in NAMES:
        narrow, wide = (imputed(lacking(), prior=name, ratio_scale=s).estimate[0, 0] for s in (0.01, 2.0))
        assert (narrow != wide) == name.startswith("half")


def test_a_half_normal_of_no_width_is_the_single_level_engine():
    """tau -> 0: the exact limit, in the moments of the posterior."""
    own = moments(batch(ragged(3)), SPEC)
    table = posterior(own.size_sums(), RatioPrior("half-normal", 1e-9))
    drawn = table.draw(np.random.default_rng(1))
    assert drawn.gamma[0] < 1e-15
    least = own.least_squares
    found = evaluate(own.size_sums(), drawn.gamma, own.counts - own.rank, reml=True)
    assert found.rss == pytest.approx(least.residual[0, 0], rel=1e-12)


@pytest.mark.parametrize("practices", [2, 3, 4])
def test_a_uniform_sd_needs_two_practices_more_than_coefficients_at_their_level(practices):
    rng, sizes = np.random.default_rng(practices), [8] * practices
    practice = np.repeat(np.arange(practices), sizes)
    data = {
        "practice": practice, "arm": practice % 2.0, "mansa_baseline": rng.normal(size=len(practice)),
        "mansa_followup": rng.normal(size=len(practice)) + rng.normal(size=practices)[practice],
    }  # fmt: skip
    data["mansa_followup"][::5] = np.nan
    found = imputed(data, prior="uniform-tau")
    if practices < 4:
        assert found.failed[0]
        assert "has no posterior where the SD between practices is uniform" in str(found.notes["message"][0])
    else:
        assert not found.failed[0]
    assert not imputed(data).failed[0] or practices < 3  # as with the ICC uniform; the analysis has no df with two


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", ["one an arm", "one person"])
def test_odd_shapes_end_in_numbers_or_a_status(name, shape):
    data = lacking(practices=12)
    if shape == "one person":
        first = np.unique(data["practice"], return_index=True)[1]
        data = {key: values[first] for key, values in data.items()}
    else:
        data = {key: values[data["practice"] < 2] for key, values in data.items()}
        data["arm"] = data["practice"] % 2.0
    found = imputed(data, prior=name)
    assert found.failed[0] == np.isnan(found.std_error[0, 0])
    assert found.flags[0]
    assert not found.failed[0] or str(found.notes["message"][0])


def test_squares_out_of_range_fail_under_reml_too():
    data = lacking()
    observed = batch(data).with_columns({"mansa_followup": Column(1e-160 * data["mansa_followup"], "participant")})
    found = fit(observed, method("mi", analysis={"kind": "lmm"}, m=2, prior="reml", adjust=["mansa_baseline"]))
    assert found.failed[0]
