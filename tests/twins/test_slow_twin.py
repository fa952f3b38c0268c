"""The kernels against dense matrices and plain loops, on small random trials of unequal practices."""

import numpy as np
import pytest
import slow_twin
from reference import method
from trials import batch, fit, published_fixture, ragged

from simtrial.flags import text

SEEDS = range(20)
MODELS = {
    # individual-level covariates 0, 1, 2, 3: a cluster spans one direction more than that in the sandwich
    "none": ["size", "list_size"],
    "one": ["mansa_baseline", "size"],
    "two": ["mansa_baseline", "age", "size"],
    "three": ["mansa_baseline", "age", "weight", "list_size"],
}
# Matrices of order 50 or so with condition numbers below 1e5, inverted in double precision: 1e-10 or better; the worst
# seen is 2e-11. In the scale of a standard error for estimates.
DENSE = 1e-9


def trial(seed):
    data = ragged(seed, practices=10, most=8)
    return {**data, "weight": np.random.default_rng(1000 + seed).normal(75, 15, len(data["arm"]))}


def twin_order(found):
    """Return rows of our terms (target first) in the order of the twin's X (target last)."""
    return [*range(1, len(found.terms)), 0]


def check(found, beta, covariance, df):
    at = twin_order(found)
    std_error = np.sqrt(np.diag(covariance))
    assert (found.estimate[at, 0] - beta) / std_error == pytest.approx(0 * beta, abs=DENSE)
    assert found.std_error[at, 0] == pytest.approx(std_error, rel=DENSE)
    assert found.df[at, 0] == pytest.approx(df, rel=DENSE)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("seed", SEEDS)
def test_mixed_model(seed, model):
    data, adjust = trial(seed), MODELS[model]
    twin = slow_twin.mixed_model(data["mansa_followup"], slow_twin.design(data, adjust), data["practice"])
    for df, covariance, degrees in (
        ("satterthwaite", twin.covariance, twin.satterthwaite),
        ("satterthwaite-observed", twin.covariance, twin.observed),
        ("kenward-roger", twin.kenward_roger_covariance, twin.kenward_roger_df),
    ):
        found = fit(batch(data), method("lmm", adjust=adjust, df=df), every_term=True)
        check(found, twin.beta, covariance, degrees)
        assert found.extras["sigma2"][0] == pytest.approx(twin.sigma2, rel=DENSE)
        assert found.extras["tau2"][0] == pytest.approx(twin.tau2, rel=DENSE, abs=DENSE * twin.sigma2)
        assert -2 * found.extras["loglik"][0] == pytest.approx(twin.deviance, rel=DENSE)
    # of one contrast, Kenward and Roger's F needs no scale factor
    assert twin.kenward_roger_scale == pytest.approx(np.ones(len(twin.beta)), rel=DENSE)


def test_the_trials_lie_on_the_boundary_and_off_it():
    fits = [fit(batch(trial(seed)), method("lmm", adjust=MODELS["two"])).extras["tau2"][0] for seed in SEEDS]
    assert 3 <= sum(tau2 == 0 for tau2 in fits) <= 17


def test_mixed_model_by_maximum_likelihood():
    for seed in SEEDS[:5]:
        data, adjust = trial(seed), MODELS["two"]
        y, x = data["mansa_followup"], slow_twin.design(data, adjust)
        shared = slow_twin.same_practice(data["practice"])
        gamma = slow_twin.optimum(y, x, shared, reml=False)
        found = fit(batch(data), method("lmm", adjust=adjust, estimation="ml", df="normal"))
        sigma2 = found.extras["sigma2"][0]
        assert found.extras["tau2"][0] == pytest.approx(gamma * sigma2, rel=DENSE, abs=DENSE * sigma2)
        deviance = slow_twin.criterion(gamma, y, x, shared, reml=False)
        assert -2 * found.extras["loglik"][0] == pytest.approx(deviance, rel=DENSE)


@pytest.mark.parametrize(
    ("sizes", "means", "optimum"),
    [
        ([2, 200, 200, 200], [0.01, -0.09, -0.86, -0.02], 0.0079),  # another minimum at 0.28
        ([2, 60, 100, 100], [-0.05, 0.06, -1.07, -0.01], 0.63),  # another minimum at 0.0032
    ],
)
def test_of_two_interior_minima_the_lower_is_found(sizes, means, optimum):
    practice = np.repeat(np.arange(4), sizes)
    data = {"practice": practice, "arm": practice % 2.0}
    y = data["mansa_followup"] = np.array(means)[practice] + np.where(np.arange(len(practice)) % 2, 0.5, -0.5)
    found = fit(batch(data), method("lmm"))
    gamma = found.extras["tau2"][0] / found.extras["sigma2"][0]
    x, shared = slow_twin.design(data, []), slow_twin.same_practice(practice)
    values = [slow_twin.criterion(g, y, x, shared, reml=True) for g in np.geomspace(1e-3, 10, 17)]
    inner = [at for at in range(1, 16) if values[at - 1] > values[at] < values[at + 1]]
    deviance = -2 * found.extras["loglik"][0]
    assert len(inner) == 2
    assert gamma == pytest.approx(optimum, rel=0.05)  # two digits are given
    assert deviance <= min(values)
    assert deviance == pytest.approx(slow_twin.criterion(gamma, y, x, shared, reml=True), rel=DENSE)


@pytest.mark.parametrize("correction", slow_twin.EXPONENTS)
@pytest.mark.parametrize("model", MODELS)
def test_cluster_robust_least_squares(model, correction):
    for seed in SEEDS:
        data, adjust = trial(seed), MODELS[model]
        x = slow_twin.design(data, adjust)
        beta, residual = slow_twin.least_squares(data["mansa_followup"], x)
        covariance, df = slow_twin.cluster_robust(residual, x, data["practice"], correction)
        found = fit(batch(data), method("ols", adjust=adjust, se=correction), every_term=True)
        leverage = slow_twin.greatest_leverage(x, data["practice"])
        assert (text(int(found.flags[0])) == "leverage_one") == (leverage > 1 - 1e-9)
        check(found, beta, covariance, df)


@pytest.mark.parametrize("model", ["one", "two", "three"])
def test_cluster_robust_least_squares_where_a_practice_has_leverage_one(model):
    data, adjust = trial(3), MODELS[model]
    data["only"] = (data["practice"] == 4).astype(float)  # this practice alone determines a coefficient
    x = slow_twin.design(data, [*adjust, "only"])
    beta, residual = slow_twin.least_squares(data["mansa_followup"], x)
    covariance, df = slow_twin.cluster_robust(residual, x, data["practice"], "CR2")
    found = fit(batch(data), method("ols", adjust=[*adjust, "only"]), every_term=True)
    assert text(int(found.flags[0])) == "leverage_one"
    assert found.estimate[0, 0] == pytest.approx(beta[-1], abs=DENSE)
    assert found.std_error[0, 0] == pytest.approx(np.sqrt(covariance[-1, -1]), rel=DENSE)
    assert found.df[0, 0] == pytest.approx(df[-1], rel=DENSE)


@pytest.mark.parametrize("correction", slow_twin.EXPONENTS)
def test_two_stage_least_squares(correction):
    for seed in SEEDS:
        data, adjust = trial(seed), MODELS["two"]
        x = slow_twin.design(data, adjust)
        beta, covariance, df = slow_twin.two_stage(
            data["mansa_followup"], data["received"], x, data["practice"], correction
        )
        found = fit(batch(data), method("iv", adjust=adjust, received="received == 1", se=correction), every_term=True)
        check(found, beta, covariance, df)


def test_the_optimum_of_the_published_fixture_is_ours():
    data = published_fixture()
    twin = slow_twin.mixed_model(data["mansa_followup"], slow_twin.design(data, ["reg", "x"]), data["practice"])
    found = fit(batch(data), method("lmm", adjust=["reg", "x"], df="satterthwaite-observed"), every_term=True)
    check(found, twin.beta, twin.covariance, twin.observed)
    assert found.extras["tau2"][0] == pytest.approx(twin.tau2, rel=DENSE)
