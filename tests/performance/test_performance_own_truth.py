"""Performance against each trial's own true value: identities, numbers by hand, and errors held against a bootstrap."""

from dataclasses import replace
from math import nan, sqrt

import numpy as np
import polars as pl
import pytest
from rows import made, measured, truths

from simtrial.performance import MEASURES, PAIRED, Form, Options, Sample, performance

FORMS: tuple[Form, ...] = ("robust", "jackknife", "normal")
OF_THE_ESTIMATES = (
    "n_estimates", "n_std_errors", "mean_estimate", "median_estimate", "empirical_se", "variance", "model_se",
    "relative_error_model_se", "relative_bias_variance", "relative_mse_variance", "rejection_rate", "mean_width",
    "median_width", "convergence_rate", "winsorised_empirical_se", "winsorised_share",
)  # fmt: skip
"""Measures that know of no true value."""

OF_THE_ERRORS = (
    "bias", "median_bias", "trimmed_bias", "mse", "rmse", "mean_absolute_error", "coverage", "worst_case_coverage",
    "bias_eliminated_coverage", "lower_miss", "upper_miss",
)  # fmt: skip
"""Measures of estimates and intervals less the true value, and of nothing else."""


def study(n: int = 60, seed: int = 3) -> Sample:
    """Estimates about 0.5 with some missing, own true values left out."""
    rng = np.random.default_rng(seed)
    e, s = 0.5 + 0.4 * rng.standard_normal(n), rng.uniform(0.3, 0.5, n)
    e[4], s[7] = nan, nan
    p = rng.uniform(0, 0.1, n)
    return Sample(e, s, e - 1.5 * s, e + 1.5 * s, p, np.isnan(e), nan)


def same(one: float, other: float) -> bool:
    return one == pytest.approx(other, rel=1e-9, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("form", FORMS)
def test_an_own_true_value_that_is_the_same_in_every_trial_is_the_common_one(form: Form) -> None:
    """Every measure there is, its error and its count; of paired ones too."""
    plain, other = replace(study(), truth=0.4), replace(study(seed=4), truth=0.4)
    own, other_own = (replace(s, truth=nan, own=np.full(60, 0.4)) for s in (plain, other))
    pairs = {name: (m(plain, form), m(own, form)) for name, m in MEASURES.items()}
    pairs |= {name: (m(plain, other, form), m(own, other_own, form)) for name, m in PAIRED.items()}
    for name, (expected, found) in pairs.items():
        assert same(found.value, expected.value), name
        assert same(found.mcse, expected.mcse), name
        assert found.n == expected.n, name


def test_moving_a_trial_and_its_true_value_together_moves_no_error() -> None:
    """Estimates, limits and true values shifted by c_r: what is about errors alone stays as it was."""
    plain = replace(study(), truth=0.4)
    shift = np.random.default_rng(5).normal(0, 3, 60)
    moved = replace(
        plain, estimate=plain.estimate + shift, ci_lower=plain.ci_lower + shift, ci_upper=plain.ci_upper + shift,
        truth=nan, own=0.4 + shift,
    )  # fmt: skip
    for name in OF_THE_ERRORS:
        found, expected = MEASURES[name](moved, "robust"), MEASURES[name](plain, "robust")
        assert same(found.value, expected.value), name
        assert same(found.mcse, expected.mcse), name
        assert found.n == expected.n, name


def test_what_knows_of_no_true_value_does_not_depend_on_it() -> None:
    plain, own = replace(study(), truth=0.4), replace(study(), own=np.linspace(-1, 1, 60))
    for name in OF_THE_ESTIMATES:
        found, expected = MEASURES[name](own, "robust"), MEASURES[name](plain, "robust")
        assert same(found.value, expected.value), name
        assert same(found.mcse, expected.mcse), name


FRAME = {
    "estimate": [1.0, 2.0, 2.0, 3.0, 7.0],
    "std_error": [1.0, 1.0, 2.0, 2.0, 2.0],
    "ci_lower": [-1.0, 0.0, -2.0, -1.0, 3.0],
    "ci_upper": [3.0, 4.0, 6.0, 7.0, 11.0],
    "p_value": [0.2, 0.04, 0.5, 0.3, 0.001],
}
OWN = [2.0, -1.0, 2.0, 1.0, None]
"""Errors -1 3 0 2, of the fifth trial none: nobody there whom the estimand is about."""


def by_hand(own: list[float | None]) -> dict[str, tuple[float | None, float | None, int]]:
    frame = made("m", FRAME).with_columns(pl.Series("own_true_value", own, dtype=pl.Float64))
    known = truths(9.9, 0.5).with_columns(pl.lit(True).alias("own"))
    return {measure: found for (_, measure), found in measured(performance(frame, known)).items()}


@pytest.mark.parametrize(
    ("measure", "value", "mcse", "n"),
    [
        ("own_true_value", 1.0, sqrt(2 / 4), 4),  # 2 -1 2 1: squared deviations 1 4 1 0
        ("bias", 1.0, sqrt(10 / 3 / 4), 4),  # squared deviations 4 4 1 1
        ("median_bias", 1.0, None, 4),
        ("mse", 3.5, sqrt((6.25 + 30.25 + 12.25 + 0.25) / 3 / 4), 4),  # 1 9 0 4
        ("mean_absolute_error", 1.5, sqrt((0.25 + 2.25 + 2.25 + 0.25) / 3 / 4), 4),
        ("relative_bias", 100.0, 100 * sqrt((9 + 16 + 4 + 1) / 3 / 4), 4),  # d - theta: -3 4 -2 1, about 0
        ("relative_mse", 3.5, sqrt((9.5**2 + 19.5**2 + 10.5**2 + 0.5**2) / 3 / 4), 4),  # d^2 - 3.5 - 7 (theta - 1)
        ("coverage", 0.75, sqrt(0.75 * 0.25 / 4), 4),  # the second interval starts above -1
        ("worst_case_coverage", 0.75, sqrt(0.75 * 0.25 / 4), 4),
        ("lower_miss", 0.25, sqrt(0.75 * 0.25 / 4), 4),
        ("upper_miss", 0.0, 0.0, 4),
        ("bias_eliminated_coverage", 1.0, 0.0, 4),  # own + 1: 3 0 3 2, an end of the first and of the second
        ("type_s_rate", 1.0, 0.0, 1),  # of the rejections, the second and the fifth, one has a true value: -1
        ("exaggeration_ratio", 2.0, None, 1),  # 2 over 1
        ("empirical_se", sqrt(5.5), sqrt(5 / 4) * sqrt(276.875) / (5 * 2 * sqrt(5.5)), 5),
        ("rejection_rate", 0.4, sqrt(0.4 * 0.6 / 5), 5),
    ],
)
def test_measures_worked_out_by_hand(measure: str, value: float, mcse: float | None, n: int) -> None:
    found = by_hand(OWN)[measure]
    assert found[0] == pytest.approx(value, rel=1e-12)
    assert found[1] == (None if mcse is None else pytest.approx(mcse, rel=1e-12, abs=1e-15))
    assert found[2] == n


def test_without_any_true_value_nothing_is_said_of_errors_and_no_other_value_stands_in() -> None:
    found = by_hand([None] * 5)
    for name in (*OF_THE_ERRORS, "own_true_value", "relative_bias", "type_s_rate", "standardised_bias"):
        assert (found[name][0], found[name][2]) == (None, 0), name
    assert found["empirical_se"][0] == pytest.approx(sqrt(5.5))


def test_an_effect_of_nothing_in_a_trial_has_no_sign_to_get_wrong() -> None:
    found = by_hand([2.0, 0.0, 2.0, 1.0, -1.0])["type_s_rate"]
    assert (found[0], found[2]) == (1.0, 1)  # the fifth alone
    assert by_hand([1.0, -1.0, 1.0, -1.0, None])["relative_bias"][0] is None  # their mean is 0


def test_a_super_population_estimand_beside_it_keeps_its_one_true_value() -> None:
    both = pl.concat([
        made("m", FRAME).with_columns(pl.Series("own_true_value", OWN, dtype=pl.Float64)),
        made("m", FRAME, estimand="all").with_columns(pl.lit(None, pl.Float64).alias("own_true_value")),
    ])  # fmt: skip
    known = pl.concat([
        truths(9.9).with_columns(pl.lit(True).alias("own")),
        truths(2.0, estimand="all").with_columns(pl.lit(False).alias("own")),
    ])  # fmt: skip
    found = performance(both, known)
    alone = performance(made("m", FRAME, estimand="all"), truths(2.0, estimand="all"))
    assert found.filter(estimand="all").equals(alone)
    assert found.filter(estimand="itt", measure="bias")["value"].to_list() == [1.0]


def test_the_difference_in_mse_is_that_of_errors_against_the_same_own_true_values() -> None:
    """Errors of the reference, estimates 2 2 2 2 2, are 0 3 0 1: squared 0 9 0 1 beside 1 9 0 4."""
    reference = made("r", {**FRAME, "estimate": [2.0] * 5})
    frame = pl.concat([made("m", FRAME), reference])
    frame = frame.with_columns(pl.Series("own_true_value", [*OWN, *OWN], dtype=pl.Float64))
    known = truths(9.9).with_columns(pl.lit(True).alias("own"))
    found = measured(performance(frame, known, Options(reference="r")))
    assert found["m", "mse_difference"] == (1.0, pytest.approx(sqrt((0 + 1 + 1 + 4) / 3 / 4)), 4)


@pytest.mark.parametrize(
    "name",
    [
        "bias",
        "relative_bias",
        "standardised_bias",
        "mse",
        "rmse",
        "relative_mse",
        "relative_rmse",
        "exaggeration_ratio",
    ],
)
def test_errors_are_those_of_resampled_replicates(name: str) -> None:
    """Bootstrap over 4,000 correlated pairs, 2,000 times.

    Its SD is known to 1/sqrt(2 x 2,000), 1.6%; for a mean it is the MCSE itself, and the curvature of a ratio adds
    terms of order 1/n (1/400 for the rejections): 1% is granted. Allowed z = 4.5: a false alarm in 7e-6 of each of
    eight checks.
    """
    n, times = 4000, 2000
    rng = np.random.default_rng(11)
    own = 0.5 + 0.3 * rng.standard_normal(n)
    e = own + 0.1 + 0.4 * rng.standard_normal(n)
    nothing = np.full(n, nan)
    sample = Sample(e, nothing, nothing, nothing, rng.uniform(0, 0.5, n), np.zeros(n, dtype=bool), nan, own=own)
    measure = MEASURES[name]
    again = [measure(sample.only(rng.integers(0, n, n)), "robust").value for _ in range(times)]
    tolerance = 4.5 / sqrt(2 * times) + 0.01
    assert np.std(again, ddof=1) == pytest.approx(measure(sample, "robust").mcse, rel=tolerance)
