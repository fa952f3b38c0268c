"""The wild cluster bootstrap beside plain loops over samples and all possible signs."""

from itertools import product

import numpy as np
import pytest
from reference import method
from trials import batch, fit, ragged

from simtrial.estimators import wild_bootstrap
from simtrial.flags import BIT
from simtrial.moments.build import moments


def design(data, covariates):
    return np.column_stack([np.ones(len(data["arm"])), *(data[name] for name in covariates), data["arm"]])


def t_value(x, y, practice, effect):
    """t of the last coefficient against an effect, by CR1 from dense matrices."""
    inverse = np.linalg.inv(x.T @ x)
    beta = inverse @ x.T @ y
    rest = y - x @ beta
    scores = np.stack([x[practice == j].T @ rest[practice == j] for j in np.unique(practice)])
    count = len(scores)
    variance = (inverse @ scores.T @ scores @ inverse)[-1, -1] * count / (count - 1)
    return (beta[-1] - effect) / np.sqrt(variance)


def looped(data, covariates, signs, effect, tails="symmetric"):
    """P-value of an effect, a sample at a time."""
    x, y, practice = design(data, covariates), data["mansa_followup"], data["practice"]
    x0, less = x[:, :-1], y - effect * x[:, -1]
    fitted = x0 @ np.linalg.lstsq(x0, less, rcond=None)[0]
    own = t_value(x, y, practice, effect)
    drawn = np.array([
        t_value(x, fitted + effect * x[:, -1] + v[practice] * (less - fitted), practice, effect) for v in signs
    ])  # fmt: skip
    if tails == "symmetric":
        return (1 + (np.abs(drawn) >= abs(own) * (1 - 1e-8)).sum()) / (1 + len(signs))
    above, below = (drawn >= own - 1e-8 * abs(own)).sum(), (drawn <= own + 1e-8 * abs(own)).sum()
    return min(1.0, 2 * (1 + min(above, below)) / (1 + len(signs)))


def bootstrapped(data, covariates, signs, tails="symmetric"):
    """The test of given signs (draws, practices)."""
    chosen = method("ols", adjust=list(covariates), se="CR1")
    observed = batch(data)
    made, found = moments(observed, chosen.spec()), fit(observed, chosen)
    count = made.clusters
    boot = wild_bootstrap.bootstrap(made, signs[:, None])
    variance = found.std_error[0] ** 2 * (count - 1) / count
    return wild_bootstrap.Test(boot, found.estimate[0], variance, tails == "equal-tailed")


@pytest.mark.parametrize("tails", ["symmetric", "equal-tailed"])
@pytest.mark.parametrize("distribution", ["rademacher", "webb"])
@pytest.mark.parametrize("covariates", [(), ("mansa_baseline", "list_size")])
def test_every_sample_is_the_refitted_one(covariates, distribution, tails):
    data = ragged(3, practices=9)
    rng = np.random.default_rng(1)
    signs = wild_bootstrap.multipliers(rng, (99, 1, 9), distribution)[:, 0].astype(np.float64)
    test = bootstrapped(data, covariates, signs, tails)
    for effect in (0.0, 0.4, -1.3):
        assert test.p_value(np.array([effect]))[0] == looped(data, covariates, signs, effect, tails)


@pytest.mark.parametrize("seed", range(3))
def test_the_p_value_is_that_of_all_signs(seed):
    data = ragged(seed, practices=8)
    signs = np.array(list(product([-1.0, 1.0], repeat=8)))
    count = len(signs)
    truth = (looped(data, ("mansa_baseline",), signs, 0.0) * (1 + count) - 1) / count
    chosen = method("wild-bootstrap", adjust=["mansa_baseline"], draws=9999)
    # binomial with 9,999 draws; 4 standard errors: a false alarm in 15,000
    assert fit(batch(data), chosen).p_value[0, 0] == pytest.approx(
        truth, abs=4 * np.sqrt(truth * (1 - truth) / 9999) + 1e-4
    )


@pytest.mark.parametrize("tails", ["symmetric", "equal-tailed"])
@pytest.mark.parametrize("seed", range(3))
def test_limits_are_where_the_p_value_of_the_loop_crosses(seed, tails):
    data = ragged(seed, practices=14)
    covariates = ("mansa_baseline",)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], (99, 14))
    lower, upper = bootstrapped(data, covariates, signs, tails).interval(0.05)[:, 0]
    for end, outwards in ((lower, -1), (upper, 1)):
        assert looped(data, covariates, signs, end - 1e-7 * outwards, tails) > 0.05
        assert looped(data, covariates, signs, end + 1e-7 * outwards, tails) <= 0.05


def test_estimate_and_standard_error_are_least_squares_with_cr1():
    data = ragged(5)
    adjust = ["mansa_baseline", "size"]
    plain = fit(batch(data), method("ols", adjust=adjust, se="CR1"))
    found = fit(batch(data), method("wild-bootstrap", adjust=adjust))
    assert found.estimate == pytest.approx(plain.estimate, rel=1e-12)
    assert found.std_error == pytest.approx(plain.std_error, rel=1e-12)
    assert (found.p_value[0, 0] > 0.05) == (found.ci_lower[0, 0] < 0 < found.ci_upper[0, 0])


def test_multipliers_have_mean_0_and_variance_1():
    for distribution, values in (("rademacher", 2), ("webb", 6)):
        drawn = wild_bootstrap.multipliers(np.random.default_rng(1), (600, 10, 100), distribution)
        assert len(np.unique(drawn)) == values
        assert drawn.mean() == pytest.approx(0, abs=4 / np.sqrt(drawn.size))
        assert (drawn**2).mean() == pytest.approx(1, abs=4 * np.sqrt(1 / 6 / drawn.size) + 1e-6)


def test_too_few_practices_bound_nothing():
    found = fit(batch(ragged(1, practices=4)), method("wild-bootstrap"))
    assert found.flags[0] & BIT["unbounded_interval"]
    assert np.isinf([found.ci_lower[0, 0], found.ci_upper[0, 0]]).all()
    assert not found.failed[0]


def test_an_arm_of_one_practice_is_a_status():
    data = ragged(2, practices=6)
    data["arm"] = (data["practice"] == 0).astype(float)
    found = fit(batch(data), method("wild-bootstrap"))
    assert found.flags[0] & BIT["too_few_clusters"]
    assert found.failed[0] == np.isnan(found.p_value[0, 0])


@pytest.mark.parametrize("seed", [138, 216, 218, 262, 268, 372])
def test_samples_of_which_nothing_is_left_count_whatever_the_unit(seed):
    """Seven people, one a practice, and five columns: for some signs neither effect nor residual is left, 0/0.

    Of 400 such trials these had p-values that went with the unit of the outcome, 0.12 to 0.25 for one of them.
    """
    rng = np.random.default_rng([7, seed])
    data = {"practice": np.arange(7), "arm": np.array([1.0, 1, 0, 1, 1, 0, 1])}
    data |= {name: rng.integers(0, 2, 7) * 1.0 for name in ("age", "list_size")}
    data["mansa_baseline"] = rng.normal(size=7) if seed % 2 else rng.integers(0, 2, 7) * 1.0
    data["mansa_followup"] = rng.normal(size=7)
    chosen = method("wild-bootstrap", adjust=["age", "list_size", "mansa_baseline"], draws=99)
    one = fit(batch(data), chosen).p_value[0, 0]
    for unit in (3.7, 1e-3, 0.1):
        other = fit(batch({**data, "mansa_followup": unit * data["mansa_followup"] + 5}), chosen)
        assert other.p_value[0, 0] == one > 0
