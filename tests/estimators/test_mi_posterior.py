"""The exact posterior behind imputation: against dense matrices, known moments, its own draws, and two MCMC engines."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import slow_twin
from reference import ORACLE, method, number, read
from trials import batch, fit, published_fixture, ragged

from simtrial.batch import Column, Index, ObservedBatch
from simtrial.files.read_trials import read_trials
from simtrial.kernels.posterior import draw, posterior, practice_effects
from simtrial.kernels.random_intercept_criterion import evaluate
from simtrial.kernels.rubin import pool
from simtrial.kernels.variance_priors import UNIFORM_ICC, InverseGamma, RatioPrior, UniformTau
from simtrial.moments.build import moments
from simtrial.moments.rows import Spec

# Two-sided 4 standard errors: a false alarm in 16,000 comparisons; about 100 are made here, with fixed seeds.
Z = 4.0
PRIOR = InverseGamma((0.5, 0.025), (0.5, 0.025))


def tabulated(table):
    """Means and variances of rho, sigma2, tau2 and the arm coefficient under the tabulated posterior of one trial."""
    sums, mass, rho = table.sums, table.mass[:, 0], table.rho
    nu = sums.rows - sums.rank
    first = {"rho": rho, "sigma2": [], "tau2": [], "beta": []}
    second = {"rho": rho**2, "sigma2": [], "tau2": [], "beta": []}
    for value in rho / (1 - rho):
        at = evaluate(sums, np.array([value]), nu, reml=True)
        shape, scale = (
            0.5 * nu[0] + table.prior.shape(sums.rank[0]),
            0.5 * at.rss[0] + (table.prior.scale(value) or 0.0),
        )
        mean, square = scale / (shape - 1), scale**2 / ((shape - 1) * (shape - 2))
        first["sigma2"].append(mean)
        second["sigma2"].append(square)
        first["tau2"].append(value * mean)
        second["tau2"].append(value**2 * square)
        first["beta"].append(at.coefficients[-1, 0])
        second["beta"].append(at.coefficients[-1, 0] ** 2 + mean * at.inverse[-1, -1, 0])
    means = {name: float(mass @ np.array(values)) for name, values in first.items()}
    return means, {name: float(mass @ np.array(values)) - means[name] ** 2 for name, values in second.items()}


def fixture_sums():
    return moments(batch(published_fixture()), Spec("mansa_followup", adjust=("reg", "x"))).size_sums()


@pytest.mark.parametrize(
    ("points", "rho", "beta"),
    [(200, (0.2818480, 0.1516419), (0.0745621, 0.3033414)), (20_000, (0.2818504, 0.1516411), (0.0745607, 0.3033420))],
)
def test_moments_on_the_published_fixture(points, rho, beta):
    means, variances = tabulated(posterior(fixture_sums(), points=points))
    half = 0.51e-7  # the digits printed
    assert [means["rho"], np.sqrt(variances["rho"])] == pytest.approx(rho, rel=0, abs=half)
    assert [means["beta"], np.sqrt(variances["beta"])] == pytest.approx(beta, rel=0, abs=half)


@pytest.mark.parametrize("prior", [UNIFORM_ICC, PRIOR, InverseGamma((2.0, 0.3), (1.0, 0.7))])
def test_the_tabulated_posterior_is_that_of_dense_matrices(prior):
    for seed in range(4):
        data = ragged(seed)
        spec = Spec("mansa_followup", adjust=("mansa_baseline", "size"))
        table = posterior(moments(batch(data), spec).size_sums(), prior, points=50)
        x = slow_twin.design(data, ["mansa_baseline", "size"])
        priors = () if prior is UNIFORM_ICC else (prior.tau2, prior.sigma2)
        dense = slow_twin.posterior(data["mansa_followup"], x, data["practice"], 50, *priors)
        # matrices of order 50 in double precision; the trapezoid over log sigma2 is exact to 1e-13 (smooth, decaying)
        assert table.mass[:, 0] == pytest.approx(dense, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("prior", [UNIFORM_ICC, PRIOR, RatioPrior("half-normal", 0.5), UniformTau()])
def test_draws_have_the_moments_of_the_tabulated_posterior(prior):
    table, draws = posterior(fixture_sums(), prior), 40_000
    same = np.zeros(draws, dtype=np.intp)
    many = replace(
        table, sums=table.sums.take(same), mass=table.mass[:, same], cumulative=table.cumulative[:, same], fitted=None
    )
    found = draw(many, np.random.default_rng(20240501))
    values = {
        "rho": found.gamma / (1 + found.gamma),
        "sigma2": found.sigma2,
        "tau2": found.gamma * found.sigma2,
        "beta": found.coefficients[-1],
    }
    means, variances = tabulated(table)
    for name, sample in values.items():
        assert abs(sample.mean() - means[name]) < Z * sample.std() / np.sqrt(draws), name
        if name == "tau2":
            continue  # its upper tail is too long for a normal approximation of the spread's error
        spread = (sample - means[name]) ** 2
        # uniform within a cell of width 1/200 adds 1/(12 * 200^2) to the variance of rho, or of its square root
        slope = 1.0 if table.prior.power == 1 else 4.0 * means["rho"]
        expected = variances[name] + (slope / (12 * 200**2) if name == "rho" else 0.0)
        assert abs(spread.mean() - expected) < Z * spread.std() / np.sqrt(draws), name


def test_draws_of_rho_are_uniform_within_a_cell_and_independent_of_each_other():
    table, draws = posterior(fixture_sums()), 40_000
    same = np.zeros(draws, dtype=np.intp)
    many = replace(
        table, sums=table.sums.take(same), mass=table.mass[:, same], cumulative=table.cumulative[:, same], fitted=None
    )
    gamma = draw(many, np.random.default_rng(7)).gamma
    rho = gamma / (1 + gamma)
    inside = (200 * rho) % 1
    assert abs(inside.mean() - 1 / 2) < Z / np.sqrt(12 * draws)
    assert abs(inside.var() - 1 / 12) < Z / np.sqrt(180 * draws)  # fourth central moment 1/80, less 1/144
    assert abs(np.corrcoef(rho[1:], rho[:-1])[0, 1]) < Z / np.sqrt(draws)


@pytest.mark.parametrize(("size", "residual"), [(0, 0.0), (1, 0.8), (6, -0.5)])
def test_practice_effects_shrink_the_mean_residual(size, residual):
    draws, gamma, sigma2 = 40_000, 0.3, 0.7
    ones = np.ones(draws)
    noise = np.random.default_rng(3).standard_normal(len(ones))
    effects = practice_effects(gamma * ones, sigma2 * ones, size * ones, residual * ones, noise)
    shrink = size * gamma / (1 + size * gamma)
    variance = sigma2 * gamma / (1 + size * gamma)
    assert abs(effects.mean() - shrink * residual) < Z * np.sqrt(variance / draws)
    assert abs(effects.var() / variance - 1) < Z * np.sqrt(2 / draws)


# --- 2000 imputations of three trials against jomo and pan ---

IMPUTATIONS = 2000
FULL = ["mansa_baseline", "region", "practice_size"]
PRIORS = {"S=1)": 1.0, "S=0.05)": 0.05}
TRIALS = ("D01_partners", "D08_missing40", "D09_cluster_all_missing")


def scale_of(prior):
    """S of a row's prior: inverse Wishart with df 1 and scale S for tau2 and for sigma2."""
    return next(scale for text, scale in PRIORS.items() if text in prior)


def imputation(trial, scale):
    """Return the method, the trial, and as many copies of it as there are imputations."""
    mi = method(
        "mi", analysis={"kind": "lmm"}, adjust=FULL, auxiliary=["sessions"], prior="inverse-gamma",
        tau2_shape=0.5, tau2_scale=scale / 2, sigma2_shape=0.5, sigma2_scale=scale / 2,
    )  # fmt: skip
    _, one = read_trials([ORACLE / "data" / f"{trial}.csv"], mi.reads(), {})
    practices, times = one.index.practices, np.arange(IMPUTATIONS)
    belongs = (one.index.participant_practice + practices * times[:, None]).ravel()
    index = Index(IMPUTATIONS, np.repeat(times, practices), belongs)
    columns = {n: Column(np.tile(c.values, IMPUTATIONS), c.level, c.categories) for n, c in one.columns.items()}
    return mi, one, ObservedBatch(index, columns)


@cache
def long_run(trial, scale):
    """Mean, its Monte Carlo standard error, and total standard error of every quantity over 2000 imputations."""
    mi, one, copies = imputation(trial, scale)
    imputer = mi.engine().fit(mi.incomplete(copies, moments(copies, mi.spec())))
    completed = imputer.complete(np.random.default_rng(int(1000 * scale) + TRIALS.index(trial)))
    found = {}
    for name, analysis in {
        "lmm_reml.full.arm": mi.analysis,
        "ols.classical.full.arm": method("ols", se="classical", adjust=FULL),
    }.items():
        fits = fit(completed, analysis)
        pooled = pool(fits.estimate[0], fits.std_error[0] ** 2, np.array(np.inf))
        found[name] = (pooled.estimate, np.sqrt(pooled.between / IMPUTATIONS), np.sqrt(pooled.variance))
    gone, arm = np.isnan(one.at("mansa_followup")), one.at("arm")
    values = completed.at("mansa_followup").reshape(IMPUTATIONS, -1)
    for name, sample in {
        "mean_imputed_arm1": values[:, gone & (arm == 1)].mean(axis=1),
        "mean_imputed_arm0": values[:, gone & (arm == 0)].mean(axis=1),
        "sd_of_imputed": values[:, gone].std(axis=1, ddof=1),
    }.items():
        found[name] = (sample.mean(), sample.std(ddof=1) / np.sqrt(IMPUTATIONS), np.nan)
    return found


ROWS = read("mi_longrun")
PAN = [row for row in ROWS if row["analysis"].startswith("posterior")]
QUANTITIES = list(dict.fromkeys((r["trial_id"], scale_of(r["prior"]), r["analysis"]) for r in ROWS if r not in PAN))


def test_every_long_run_is_compared():
    assert (len(ROWS), len(PAN), len(QUANTITIES)) == (78, 3 * 2 * 3, 3 * 2 * 5)


@pytest.mark.parametrize(("trial", "scale", "analysis"), QUANTITIES)
def test_imputations_agree_with_two_markov_chains(trial, scale, analysis):
    mean, mcse, std_error = long_run(trial, scale)[analysis]
    engines = [r for r in ROWS if (r["trial_id"], scale_of(r["prior"]), r["analysis"]) == (trial, scale, analysis)]
    assert {row["engine"] for row in engines} == {"jomo", "pan"}
    for row in engines:
        assert abs(mean - number(row["qbar"])) < Z * np.hypot(mcse, number(row["qbar_mcse"])), row["engine"]
    if engines[0]["std_error"]:
        # b, at most 0.43 of the variance, has a relative Monte Carlo SE of sqrt(2/2000) = 3% here and more in a chain:
        # 0.7% of the standard error on each side. The nearer engine must be within 2%.
        assert min(abs(std_error / number(row["std_error"]) - 1) for row in engines) < 0.02


@pytest.mark.parametrize("row", PAN, ids=lambda row: f"{row['trial_id']} {row['prior']} {row['analysis']}")
def test_exact_posterior_means_agree_with_those_of_a_markov_chain(row):
    scale = scale_of(row["prior"])
    mi, one, _ = imputation(row["trial_id"], scale)
    means, _ = tabulated(posterior(moments(one, mi.spec()).size_sums(), mi.engine().variance_prior()))
    name = {"posterior:beta_arm": "beta"}.get(row["analysis"], row["analysis"].removeprefix("posterior:"))
    assert abs(means[name] - number(row["qbar"])) < Z * number(row["qbar_mcse"])
