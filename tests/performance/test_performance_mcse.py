"""Monte Carlo standard errors are right: against a bootstrap over replicates, and over repeated studies."""

from collections.abc import Callable

import numpy as np
import pytest
from simulated import Z

from simtrial.performance import MEASURES, PAIRED, Form, Sample

BOOTSTRAPS, STUDIES = 1500, 1500
SHARP = 1 / np.sqrt(2 * BOOTSTRAPS)
"""Relative standard error of the SD of that many nearly normal values: 1.8%; with Z = 4.5, 8.2%."""


def normal(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal(n)


def skewed(rng: np.random.Generator, n: int) -> np.ndarray:
    """Centred exponential of SD 1: skewness 2, kurtosis 9."""
    return rng.standard_exponential(n) - 1


def study(make: Callable[[np.random.Generator, int], np.ndarray], rng: np.random.Generator, n: int) -> Sample:
    """Draw an estimator of 0.3 with SD 0.5 whose SE varies by a fifth, and rises with the estimate."""
    e = 0.3 + 0.5 * make(rng, n)
    s = 0.5 * np.sqrt(np.exp(0.2 * rng.standard_normal(n) + 0.2 * (e - 0.3)))
    # p-value of a z-test would need erfc; what matters is that it is a function of the replicate
    p = np.exp(-((e / s) ** 2) / 2)
    return Sample(e, s, e - 1.96 * s, e + 1.96 * s, p, rng.random(n) < 0.1, 0.3, alpha=0.3)


PLAIN = ("mean_estimate", "bias", "relative_bias", "standardised_bias", "empirical_se", "variance", "model_se",
         "relative_error_model_se", "relative_bias_variance", "mse", "rmse", "relative_mse", "mean_absolute_error",
         "coverage", "lower_miss", "upper_miss", "rejection_rate", "mean_width", "convergence_rate")  # fmt: skip


@pytest.fixture(scope="module", params=[normal, skewed], ids=["normal", "skewed"])
def bootstrap(request: pytest.FixtureRequest) -> tuple[Sample, dict[str, float]]:
    """One study of 2,000 replicates, and the SD of every measure over resampled replicates."""
    rng = np.random.default_rng(12)
    whole = study(request.param, rng, 2000)
    found = []
    for _ in range(BOOTSTRAPS):
        again = whole.only(rng.integers(0, 2000, 2000))
        found.append([MEASURES[name](again, "normal").value for name in PLAIN])
    return whole, dict(zip(PLAIN, np.std(found, axis=0, ddof=1), strict=True))


@pytest.mark.parametrize("name", PLAIN)
def test_errors_agree_with_a_bootstrap_over_replicates(name: str, bootstrap: tuple[Sample, dict[str, float]]) -> None:
    """Both are functions of the same 2,000 replicates: they differ by the bootstrap's noise, and O(1/2000)."""
    whole, spread = bootstrap
    assert MEASURES[name](whole, "robust").mcse == pytest.approx(spread[name], rel=Z * SHARP + 0.01)


@pytest.mark.parametrize("name", ["empirical_se", "relative_error_model_se"])
def test_jackknife_errors_agree_with_the_bootstrap_too(name: str, bootstrap: tuple[Sample, dict[str, float]]) -> None:
    whole, spread = bootstrap
    assert MEASURES[name](whole, "jackknife").mcse == pytest.approx(spread[name], rel=Z * SHARP + 0.01)


@pytest.mark.parametrize("name", ["empirical_se", "variance", "relative_error_model_se"])
def test_normal_theory_is_too_small_for_a_skewed_estimator(name: str) -> None:
    """Kurtosis 9: the error of an SD is sqrt((9 - 1) / (3 - 1)) = 2 times that of a normal sample."""
    whole = study(skewed, np.random.default_rng(12), 2000)
    assert MEASURES[name](whole, "normal").mcse < 0.75 * MEASURES[name](whole, "robust").mcse


STUDIED = (*PLAIN, "median_bias", "median_width", "trimmed_bias")


@pytest.mark.parametrize("make", [normal, skewed])
@pytest.mark.parametrize("form", ["robust", "jackknife"])
def test_over_repeated_studies_a_measure_spreads_as_its_error_says(
    make: Callable[[np.random.Generator, int], np.ndarray], form: Form
) -> None:
    """1,500 studies of 400 replicates. Noise: 8.2% for the SD (Z = 4.5); errors of errors average out.

    Allowed for the remainder O(1/400) of the delta method, kurtosis 9 included: 5%. Ranks are whole numbers, so that
    order statistics span up to two ranks in 40 too many: 6% for medians.
    """
    rng = np.random.default_rng(31)
    values: dict[str, list[float]] = {name: [] for name in STUDIED}
    errors: dict[str, list[float]] = {name: [] for name in STUDIED}
    for _ in range(STUDIES if form == "robust" else 500):
        one = study(make, rng, 400)
        for name in STUDIED:
            found = MEASURES[name](one, form)
            values[name].append(found.value)
            errors[name].append(found.mcse)
    for name in STUDIED:
        noise = Z / np.sqrt(2 * len(values[name]))
        slack = 0.06 if name.startswith("median") else 0.05
        spread, claimed = np.std(values[name], ddof=1), np.sqrt(np.mean(np.square(errors[name])))
        assert claimed == pytest.approx(spread, rel=noise + slack), name


def test_paired_errors_agree_with_a_bootstrap() -> None:
    rng = np.random.default_rng(5)
    one, other = study(skewed, rng, 2000), study(normal, rng, 2000)
    e = 0.3 + 0.8 * (one.estimate - 0.3) + 0.3 * (other.estimate - 0.3)
    other = Sample(e, other.std_error, e - 1.9 * other.std_error, e + 1.9 * other.std_error, other.p_value,
                   other.failed, 0.3, alpha=0.3)  # fmt: skip
    draws: dict[str, list[float]] = {name: [] for name in PAIRED}
    for _ in range(BOOTSTRAPS):
        at = rng.integers(0, 2000, 2000)
        a, b = one.only(at), other.only(at)
        for name, measure in PAIRED.items():
            draws[name].append(measure(a, b, "robust").value)
    for name, measure in PAIRED.items():
        spread = np.std(draws[name], ddof=1)
        assert measure(one, other, "robust").mcse == pytest.approx(spread, rel=Z * SHARP + 0.01), name


def test_the_error_of_the_true_value_is_part_of_the_spread_of_the_bias() -> None:
    """Studies that share nothing, each with its own simulated true value of error 0.05."""
    rng = np.random.default_rng(6)
    found = []
    for _ in range(STUDIES):
        one = study(normal, rng, 100)
        truth = 0.3 + 0.05 * rng.standard_normal()
        unsure = Sample(one.estimate, one.std_error, one.ci_lower, one.ci_upper, one.p_value, one.failed, truth, 0.05)
        found.append(MEASURES["bias"](unsure, "robust"))
    spread = np.std([f.value for f in found], ddof=1)
    assert spread == pytest.approx(np.sqrt(np.mean([f.mcse**2 for f in found])), rel=Z / np.sqrt(2 * STUDIES))
    assert spread > 0.06  # without the true value's part: 0.05


def test_wilson_intervals_cover_small_shares() -> None:
    """Binomial n = 50, p = 0.02: Wilson's interval holds p after 0, 1 or 2 of 50, with probability 0.9216."""
    rng = np.random.default_rng(7)
    hits = []
    for _ in range(4000):
        failed = rng.random(50) >= 0.02
        sample = Sample(*[np.zeros(50)] * 5, failed, 0.0)
        low, high = MEASURES["convergence_rate"](sample, "robust").interval
        hits.append(low <= 0.02 <= high)
    assert np.mean(hits) == pytest.approx(0.9216, abs=Z * np.sqrt(0.9216 * 0.0784 / 4000))
