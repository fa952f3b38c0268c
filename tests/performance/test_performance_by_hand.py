"""Every performance measure against numbers worked out by hand on five replicates."""

from dataclasses import replace
from math import inf, nan, sqrt

import numpy as np
import pytest

from simtrial.performance import MEASURES, PAIRED, Form, Sample, Value


def sample(**changes: object) -> Sample:
    """Five replicates about a true value of 2.

    Estimates 1 2 2 3 7: mean 3, deviations -2 -1 -1 0 4, squares 4 1 1 0 16 (sum 22), S^2 = 5.5; errors d = -1 0
    0 1 5. V = 1 1 4 4 4: mean 2.8, variance 2.7. Intervals are estimate +- 2 SE.
    """
    numbers = {
        "estimate": [1, 2, 2, 3, 7],
        "std_error": [1, 1, 2, 2, 2],
        "ci_lower": [-1, 0, -2, -1, 3],
        "ci_upper": [3, 4, 6, 7, 11],
        "p_value": [0.2, 0.04, 0.5, 0.3, 0.001],
    }
    arrays = {name: np.array(values, dtype=float) for name, values in numbers.items()}
    given = {**arrays, "failed": np.zeros(5, dtype=bool), "truth": 2.0, **changes}
    return Sample(**given)  # type: ignore[arg-type]


RATIO = sqrt(2.8 / 5.5)
EXPECTED: dict[str, tuple[float, float]] = {
    "n_estimates": (5, nan),
    "n_std_errors": (5, nan),
    "mean_estimate": (3, sqrt(5.5 / 5)),
    "median_estimate": (2, nan),
    "bias": (1, sqrt(5.5 / 5)),
    "relative_bias": (50, 50 * sqrt(5.5 / 5)),
    "median_bias": (0, nan),
    # influence z - (z^2 - 1) / (2 S), z = deviation / S: squares of z are 8/11 2/11 2/11 0 32/11
    "standardised_bias": (100 / sqrt(5.5), 35.2217),
    # q = 5 1.25 1.25 0 20: squared deviations from 5.5 add up to 276.875
    "empirical_se": (sqrt(5.5), sqrt(5 / 4) * sqrt(276.875) / (5 * 2 * sqrt(5.5))),
    # fourth powers 16 1 1 0 256: kurtosis 54.8 / 30.25
    "variance": (5.5, 5.5 * sqrt((54.8 / 30.25 - 1) / 5)),
    "model_se": (sqrt(2.8), sqrt(2.7 / (4 * 5 * 2.8))),
    # V - (14/22) b with b = 4 1 1 0 16 is -17 4 37 44 -68 elevenths: squares add up to 8234/121
    "relative_error_model_se": (100 * (RATIO - 1), 100 / (2 * RATIO) * sqrt(8234 / 121) / 22),
    # without each replicate the ratio is 39/68 39/83 30/83 15/44 15/4: squared deviations add up to 8.81840
    "relative_bias_variance": (100 * (2.8 / 5.5 - 1), 100 * sqrt(4 / 5 * 8.81840)),
    # likewise 0.251946 0.328059 0.470460 0.490186 14.3125: squared deviations add up to 155.2159
    "relative_mse_variance": ((2.7**2 + 2.7) / 5.5**2, sqrt(4 / 5 * 155.2159)),
    # d^2 = 1 0 0 1 25: squared deviations from 5.4 add up to 481.2
    "mse": (5.4, sqrt(481.2 / 4 / 5)),
    "rmse": (sqrt(5.4), sqrt(481.2 / 4 / 5) / (2 * sqrt(5.4))),
    "relative_mse": (5.4 / 4, sqrt(481.2 / 4 / 5) / 4),
    "relative_rmse": (sqrt(5.4) / 2, sqrt(481.2 / 4 / 5) / (4 * sqrt(5.4))),
    # |d| = 1 0 0 1 5: squared deviations from 1.4 add up to 17.2
    "mean_absolute_error": (1.4, sqrt(17.2 / 4 / 5)),
    "coverage": (0.8, sqrt(0.8 * 0.2 / 5)),
    "bias_eliminated_coverage": (1.0, 0.0),  # the mean, 3, is an end of the first and of the last interval
    "worst_case_coverage": (0.8, sqrt(0.8 * 0.2 / 5)),
    "lower_miss": (0.2, sqrt(0.2 * 0.8 / 5)),
    "upper_miss": (0.0, 0.0),
    "rejection_rate": (0.4, sqrt(0.4 * 0.6 / 5)),
    "type_s_rate": (0.0, 0.0),
    "exaggeration_ratio": (2.25, 1.25),  # rejections have estimates 2 and 7: mean 4.5, SD 3.5355
    # widths 4 4 8 8 8: squared deviations from 6.4 add up to 19.2
    "mean_width": (6.4, sqrt(19.2 / 4 / 5)),
    "median_width": (8, nan),
    "convergence_rate": (1.0, 0.0),
    "trimmed_bias": (1, sqrt(5.5 / 5)),  # 5% of five is nobody
    # quartiles 2 and 3, fences 0 and 5: estimates 1 2 2 3 5, squared deviations from 2.6 add up to 9.2
    "winsorised_bias": (0.6, sqrt(9.2 / 4 / 5)),
    # q = 3.2 0.45 0.45 0.2 7.2: squared deviations from 2.3 add up to 36.075
    "winsorised_empirical_se": (sqrt(2.3), sqrt(5 / 4) * sqrt(36.075) / (5 * 2 * sqrt(2.3))),
    # d^2 = 1 0 0 1 9: squared deviations from 2.2 add up to 58.8
    "winsorised_rmse": (sqrt(2.2), sqrt(58.8 / 4 / 5) / (2 * sqrt(2.2))),
    "winsorised_share": (0.2, sqrt(0.2 * 0.8 / 5)),
}
NORMAL: dict[str, float] = {
    "empirical_se": sqrt(5.5 / 8),
    "variance": 5.5 * sqrt(2 / 4),
    "relative_error_model_se": 100 * RATIO * sqrt(2.7 / (4 * 5 * 2.8**2) + 1 / 8),
    "winsorised_empirical_se": sqrt(2.3 / 8),
}
LOOSE = {"standardised_bias", "relative_bias_variance", "relative_mse_variance"}  # errors given to six digits


def same(found: Value, value: float, mcse: float, n: int, digits: float = 1e-12) -> None:
    assert found.value == pytest.approx(value, rel=1e-12, abs=1e-15)
    assert found.mcse == pytest.approx(mcse, rel=digits, abs=1e-15, nan_ok=True)
    assert found.n == n


def test_every_measure_has_numbers_here() -> None:
    assert set(MEASURES) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_measure(name: str) -> None:
    n = 2 if name in ("type_s_rate", "exaggeration_ratio") else 5
    same(MEASURES[name](sample(), "robust"), *EXPECTED[name], n, 1e-5 if name in LOOSE else 1e-12)


@pytest.mark.parametrize("name", EXPECTED)
def test_normal_theory_changes_the_error_and_nothing_else(name: str) -> None:
    value, mcse = EXPECTED[name]
    n = 2 if name in ("type_s_rate", "exaggeration_ratio") else 5
    found = MEASURES[name](sample(), "normal")
    same(found, value, NORMAL.get(name, mcse), n, 1e-5 if name in LOOSE else 1e-12)


def leave_one_out(name: str, whole: Sample) -> float:
    """Jackknife error of a measure, by computing it without each replicate in turn."""
    left = []
    for i in range(len(whole.estimate)):
        kept = np.array([k for k in range(len(whole.estimate)) if k != i])
        left.append(MEASURES[name](whole.only(kept), "normal").value)
    n = len(left)
    return sqrt((n - 1) / n * sum((x - sum(left) / n) ** 2 for x in left))


JACKKNIFED: dict[str, Form] = {
    "empirical_se": "jackknife",
    "relative_error_model_se": "jackknife",
    "relative_bias_variance": "robust",
    "relative_mse_variance": "robust",
}


@pytest.mark.parametrize("name", JACKKNIFED)
def test_jackknife_errors_equal_leaving_out_each_replicate(name: str) -> None:
    rng = np.random.default_rng(4)
    whole = sample(
        estimate=rng.standard_normal(12) ** 3, std_error=rng.uniform(0.5, 2, 12), failed=np.zeros(12, dtype=bool),
        ci_lower=np.zeros(12), ci_upper=np.ones(12), p_value=rng.random(12),
    )  # fmt: skip
    found = MEASURES[name](whole, JACKKNIFED[name]).mcse
    assert found == pytest.approx(leave_one_out(name, whole), rel=1e-9)


def test_median_and_its_error_from_order_statistics() -> None:
    """Nine values: ranks 4.5 +- 2.94 are the second and the last, counted from the first."""
    e = np.array([9.0, 1, 4, 2, 8, 3, 7, 5, 20])
    nine = sample(estimate=e, std_error=e, ci_lower=-e, ci_upper=e, p_value=e, failed=np.zeros(9, dtype=bool))
    same(MEASURES["median_bias"](nine, "robust"), 5 - 2, (20 - 2) / (2 * 1.959963984540054), 9)
    same(MEASURES["median_estimate"](nine, "robust"), 5, (20 - 2) / (2 * 1.959963984540054), 9)
    same(MEASURES["median_width"](nine, "robust"), 10, 2 * (20 - 2) / (2 * 1.959963984540054), 9)


def test_five_percent_trimmed_either_end() -> None:
    """Twenty values 1..19, 1000 about 0: the ends go, 2..19 stay (mean 10.5); winsorised 2 2 3 .. 18 19 19."""
    e = np.array([*range(1, 20), 1000], dtype=float)
    twenty = sample(
        estimate=e, std_error=e, ci_lower=e, ci_upper=e, p_value=e, failed=np.zeros(20, dtype=bool), truth=0.0
    )
    pulled = [2, 2, *range(3, 19), 19, 19]
    spread = sum((x - 10.5) ** 2 for x in pulled) / 19
    same(MEASURES["trimmed_bias"](twenty, "robust"), 10.5, sqrt(spread / 20) / 0.9, 20)


REFERENCE = {
    "estimate": np.array([2.0, 2, 3, 3, 5]),  # mean 3, squared deviations 1 1 0 0 4
    "ci_lower": np.array([0.0, 3, 1, -1, 0]),  # the second misses 2
    "ci_upper": np.array([4.0, 5, 5, 7, 9]),
    "p_value": np.array([0.04, 0.2, 0.01, 0.3, 0.06]),  # rejects the first and the third
}


@pytest.mark.parametrize(
    ("name", "form", "value", "mcse"),
    [
        ("relative_precision", "normal", 100 * (6 / 22 - 1), 200 * 6 / 22 * sqrt((1 - 121 / 132) / 4)),
        # t - (6/22) b is -1 8 -3 0 -4 elevenths: squares add up to 90/121
        ("relative_precision", "robust", 100 * (6 / 22 - 1), 100 * sqrt(90 / 121) / 22),
        ("bias_difference", "robust", 0, sqrt(6 / 4 / 5)),  # -1 0 -1 0 2
        ("mse_difference", "robust", 3.2, sqrt(206.8 / 4 / 5)),  # 1 0 -1 0 16
        ("coverage_difference", "robust", 0, sqrt(2) / 5),  # ours misses the fifth, the reference the second
        ("rejection_difference", "robust", 0, sqrt(4) / 5),  # two here, two others there
        ("width_difference", "robust", 1, sqrt(16 / 4 / 5)),  # widths 4 4 8 8 8 less 4 2 4 8 9: 0 2 4 0 -1
    ],
)
def test_paired_measure(name: str, form: Form, value: float, mcse: float) -> None:
    same(PAIRED[name](sample(), sample(**REFERENCE), form), value, mcse, 5)


def test_a_method_against_itself_differs_by_nothing() -> None:
    for name, measure in PAIRED.items():
        found = measure(sample(), sample(), "robust")
        assert (found.value, found.mcse) == pytest.approx((0, 0), abs=1e-12), name


def test_paired_differences_use_replicates_that_both_have() -> None:
    ours = sample(estimate=np.array([1.0, nan, 2, 3, 7]))
    theirs = sample(estimate=np.array([2.0, 2, nan, 3, 5]))
    same(PAIRED["bias_difference"](ours, theirs, "robust"), 1 / 3, sqrt((16 / 9 + 1 / 9 + 25 / 9) / 2 / 3), 3)


RELATIVE = ("relative_bias", "relative_mse", "relative_rmse", "type_s_rate", "exaggeration_ratio")


@pytest.mark.parametrize("name", RELATIVE)
def test_nothing_is_relative_to_a_true_value_of_zero(name: str) -> None:
    found = MEASURES[name](sample(truth=0.0), "robust")
    assert np.isnan(found.value)
    assert np.isnan(found.mcse)


@pytest.mark.parametrize(
    ("name", "value"), [("relative_bias", 250), ("relative_mse", 29.4 / 4), ("relative_rmse", sqrt(29.4) / 2)]
)
def test_measures_relative_to_a_negative_true_value_have_a_positive_error(name: str, value: float) -> None:
    """About -2 the errors are 3 4 4 5 9: bias 5 and mean square 29.4, relative to 2."""
    found = MEASURES[name](sample(truth=-2.0), "robust")
    assert found.value == pytest.approx(value)
    assert found.mcse > 0


def test_type_s_counts_rejections_of_the_wrong_sign() -> None:
    wrong = sample(estimate=np.array([1.0, -2, 2, 3, 7]))
    same(MEASURES["type_s_rate"](wrong, "robust"), 0.5, sqrt(0.25 / 2), 2)


def test_rejection_follows_alpha() -> None:
    assert MEASURES["rejection_rate"](sample(alpha=0.01), "robust").value == pytest.approx(0.2)
    assert MEASURES["rejection_rate"](sample(alpha=0.04), "robust").value == pytest.approx(0.2)  # p = 0.04 is not below


def test_an_interval_that_ends_at_the_true_value_covers_it() -> None:
    """About 3: the first interval ends there, and the last begins there."""
    for name in ("coverage", "worst_case_coverage"):
        assert MEASURES[name](sample(truth=3.0), "robust").value == 1.0
    for name in ("lower_miss", "upper_miss"):
        assert MEASURES[name](sample(truth=3.0), "robust").value == 0.0


def test_the_error_of_the_true_value_is_added_in_squares() -> None:
    """Bias and median: plainly. MSE: 2 |bias| times it. Coverage and spread do not have it."""
    sure, unsure = sample(), sample(truth_mcse=0.7)
    for name, extra in (("bias", 0.7), ("relative_bias", 35), ("mse", 1.4), ("mean_absolute_error", 0.7),
                        ("rmse", 1.4 / (2 * sqrt(5.4))), ("winsorised_bias", 0.7), ("trimmed_bias", 0.7)):  # fmt: skip
        plain = MEASURES[name](sure, "robust").mcse
        assert MEASURES[name](unsure, "robust").mcse == pytest.approx(np.hypot(plain, extra)), name
    for name in ("mean_estimate", "empirical_se", "model_se", "coverage", "rejection_rate"):
        assert MEASURES[name](unsure, "robust") == MEASURES[name](sure, "robust")


def test_unbounded_intervals_cover_and_have_no_mean_width() -> None:
    wide = sample(ci_lower=np.array([-inf, 0, -2, -1, -inf]), ci_upper=np.array([3, 4, 6, 7, inf]))
    assert MEASURES["coverage"](wide, "robust").value == 1.0
    assert MEASURES["mean_width"](wide, "robust").value == inf
    assert np.isnan(MEASURES["mean_width"](wide, "robust").mcse)
    assert MEASURES["median_width"](wide, "robust").value == 8
    same(PAIRED["width_difference"](wide, sample(), "robust"), 0, 0, 3)


def test_shares_of_nought_and_one_have_an_interval() -> None:
    """Wilson's: for 5 of 5, from 1/(1 + 1.96^2/5) = 0.5655 to 1."""
    low, high = MEASURES["convergence_rate"](sample(), "robust").interval
    assert low == pytest.approx(1 / (1 + 1.959963984540054**2 / 5))
    assert high == 1.0
    low, high = MEASURES["bias"](sample(), "robust").interval
    assert (low + high) / 2 == pytest.approx(1.0)
    assert high - low == pytest.approx(2 * 1.959963984540054 * sqrt(1.1))


def test_identical_estimates_have_no_spread() -> None:
    flat = replace(sample(), estimate=np.full(5, 2.5))
    for form in ("robust", "normal"):
        same(MEASURES["empirical_se"](flat, form), 0.0, 0.0, 5)  # type: ignore[arg-type]
    assert np.isnan(MEASURES["relative_error_model_se"](flat, "robust").value)
