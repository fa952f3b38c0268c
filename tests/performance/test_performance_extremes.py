"""Measures of numbers of any size: right or missing, never an exception, a warning or an infinity that is none."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows import made, measured, truths

from simtrial.performance import MEASURES, PAIRED, SHARES, Options, Sample, performance

EPS = 2.0**-52
FORMS = ("robust", "jackknife", "normal")
SQUARES = {"variance", "mse", "mse_difference"}
PURE = SHARES | {"n_estimates", "n_std_errors", "standardised_bias", "exaggeration_ratio", "coverage_difference",
                 "rejection_difference"}  # fmt: skip
finite = st.floats(allow_nan=False, allow_infinity=False)
wild = st.one_of(finite, st.sampled_from([0.0, 1.0, 0.1, 1e200, -1e200, 1e-170, 5e-324, 1.7e308, -1.7e308]))
sizes = st.one_of(finite.map(abs), st.sampled_from([0.0, 0.1, 1e200, 1e-170]))


@st.composite
def samples(draw: st.DrawFn, n: int) -> Sample:
    """Results of n replicates; any number may be missing."""

    def column(numbers: st.SearchStrategy[float]) -> np.ndarray:
        same = draw(st.booleans())
        values = [draw(numbers)] * n if same else draw(st.lists(numbers, min_size=n, max_size=n))
        gone = draw(st.lists(st.booleans(), min_size=n, max_size=n)) if draw(st.booleans()) else [False] * n
        return np.where(gone, np.nan, np.array(values, dtype=float))

    one, other = column(wild), column(wild)
    own = column(wild) if draw(st.booleans()) else None
    truth = float("nan") if own is not None else draw(st.one_of(wild, st.just(float("nan"))))
    failed = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), dtype=bool)
    p = column(st.floats(0, 1))
    return Sample(
        column(wild), column(sizes), np.fmin(one, other), np.fmax(one, other), p, failed, truth,
        draw(sizes), 0.05, own,
    )  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(data=st.data(), n=st.integers(0, 12), form=st.sampled_from(FORMS))
def test_every_measure_of_any_doubles_is_a_number_or_missing(data: st.DataObject, n: int, form: str) -> None:
    one, other = data.draw(samples(n)), data.draw(samples(n))
    found = {name: measure(one, form) for name, measure in MEASURES.items()}
    found |= {name: measure(one, other, form) for name, measure in PAIRED.items()}
    for name, value in found.items():
        assert not math.isinf(value.value), name  # no limit is infinite here, so no width is
        assert not math.isinf(value.mcse), name
        assert math.isnan(value.mcse) or value.mcse >= 0, name
        assert type(value.value) is float, name
        if value.n and not math.isnan(value.value):
            assert value.share == (name in SHARES), name
            assert len(value.interval) == 2


def ordinary(seed: int, n: int = 30) -> Sample:
    rng = np.random.default_rng(seed)
    e, s = rng.normal(0.4, 0.2, n), rng.uniform(0.1, 0.3, n)
    e[3], s[5] = np.nan, np.nan
    return Sample(e, s, e - 2 * s, e + 2 * s, rng.uniform(0, 0.2, n), np.isnan(e), 0.5, 0.01)


def enlarged(sample: Sample, factor: float) -> Sample:
    e, s, low, high = (a * factor for a in (sample.estimate, sample.std_error, sample.ci_lower, sample.ci_upper))
    own = None if sample.own is None else sample.own * factor
    return Sample(e, s, low, high, sample.p_value, sample.failed, sample.truth * factor, sample.truth_mcse * factor,
                  0.05, own)  # fmt: skip


def owned(sample: Sample) -> Sample:
    own = np.random.default_rng(9).normal(0.5, 0.1, len(sample.estimate))
    return Sample(sample.estimate, sample.std_error, sample.ci_lower, sample.ci_upper, sample.p_value, sample.failed,
                  float("nan"), 0.0, 0.05, own)  # fmt: skip


@pytest.mark.parametrize("own", [False, True], ids=["one truth", "own truths"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("exponent", [-990, -480, -60, 60, 480, 990])
def test_a_change_of_unit_by_a_power_of_two_changes_no_digit(exponent: int, form: str, own: bool) -> None:
    """Points to any other unit: values and errors follow exactly, or leave the doubles."""
    one, other = ordinary(1), ordinary(2)
    one, other = (owned(one), owned(other)) if own else (one, other)
    large, larger = enlarged(one, 2.0**exponent), enlarged(other, 2.0**exponent)
    for name in [*MEASURES, *PAIRED]:
        power = 2 if name in SQUARES else 0 if name in PURE or name.startswith("relative_") else 1
        if abs(power * exponent) > 1000:
            continue
        before = MEASURES[name](one, form) if name in MEASURES else PAIRED[name](one, other, form)
        after = MEASURES[name](large, form) if name in MEASURES else PAIRED[name](large, larger, form)
        unit = 2.0 ** (power * exponent)
        # `relative_bias` divides by the true value before it multiplies: a rounding more at the very ends
        assert after.value == pytest.approx(before.value * unit, rel=4 * EPS, abs=0, nan_ok=True), name
        assert after.mcse == pytest.approx(before.mcse * unit, rel=4 * EPS, abs=0, nan_ok=True), name
        assert not math.isnan(before.value), name


def root(x: Fraction) -> Fraction:
    """Square root to 200 bits."""
    if x == 0:
        return Fraction(0)
    shift = 2 * (400 + abs(x.numerator.bit_length() - x.denominator.bit_length()))
    return Fraction(math.isqrt((x.numerator << shift) // x.denominator), 1 << (shift // 2))


def close(found: float, exact: Fraction, room: Fraction) -> bool:
    """Within rounding, missing only where no double is large enough."""
    if math.isnan(found):
        return abs(exact) + room > Fraction(1.7e308)
    return abs(Fraction(found) - exact) <= room + Fraction(5e-324) * 4


@settings(max_examples=300, deadline=None)
@given(e=st.lists(wild, min_size=3, max_size=8), s=st.lists(sizes, min_size=3, max_size=8), truth=wild)
def test_sums_and_squares_agree_with_exact_fractions(e: list[float], s: list[float], truth: float) -> None:
    """Error bounds: each of n terms rounds once or twice at the size of the largest, n^2 eps in all."""
    n = min(len(e), len(s))
    exact, errors, theta = [Fraction(x) for x in e[:n]], [Fraction(x) for x in s[:n]], Fraction(truth)
    none = np.full(n, np.nan)
    sample = Sample(np.array(e[:n]), np.array(s[:n]), none, none, none, np.zeros(n, bool), truth)
    found = {name: measure(sample, "robust").value for name, measure in MEASURES.items()}
    slack = Fraction(EPS) * 4 * n * n
    largest = max(map(abs, exact))
    furthest = max(largest, abs(theta))
    centre = sum(exact) / n
    squares = sum((x - centre) ** 2 for x in exact) / (n - 1)
    mse = sum((x - theta) ** 2 for x in exact) / n
    assert close(found["mean_estimate"], centre, slack * largest)
    assert close(found["bias"], centre - theta, slack * furthest)
    assert close(found["empirical_se"], root(squares), slack * largest)
    assert close(found["variance"], squares, slack * largest**2)
    assert close(found["mse"], mse, slack * furthest**2)
    assert close(found["rmse"], root(mse), slack * furthest)
    assert close(found["mean_absolute_error"], sum(abs(x - theta) for x in exact) / n, slack * furthest)
    model = root(sum(x * x for x in errors) / n)
    assert close(found["model_se"], model, slack * max(errors))


@pytest.mark.parametrize("value", [0.1, 1e200, 1e-170, 0.0])
def test_equal_values_have_no_spread_at_all(value: float) -> None:
    """0.1 summed seven times is not 0.7 in doubles; its SD is 0 all the same."""
    rows = made("m", {"estimate": [value] * 7, "std_error": [0.3] * 7})
    found = measured(performance(rows, truths(value)))
    for name in ("bias", "empirical_se", "variance", "mse", "rmse"):
        assert found["m", name][0] == 0.0, name
    assert found["m", "mean_estimate"][:2] == (value, 0.0)
    for name in ("relative_error_model_se", "relative_bias_variance", "standardised_bias"):
        assert found["m", name][0] is None, name


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("errors", [[0.0] * 6, [1e200] * 6, [1e-170] * 6, [0.0, 0.0, 0.1, 0.0, 0.0, 0.0]])
def test_wild_standard_errors_of_one_method_leave_the_other_s_row_alone(errors: list[float], form: str) -> None:
    estimates = [0.1, 0.4, 0.2, 0.9, 0.3, 0.2]
    good = made("good", {"estimate": estimates, "std_error": [0.2] * 6})
    rows = good.vstack(made("wild", {"estimate": estimates, "std_error": errors}))
    both = measured(performance(rows, truths(0.5), Options(form=form, reference="good")))
    alone = measured(performance(good, truths(0.5), Options(form=form)))
    assert {k: v for k, v in both.items() if k[0] == "good"} == alone
    spread = both["wild", "empirical_se"][0]
    expected = 100 * (math.sqrt(sum((x / max(errors)) ** 2 for x in errors) / 6) * max(errors) / spread - 1) \
        if max(errors) else None  # fmt: skip
    assert both["wild", "relative_error_model_se"][0] == (expected and pytest.approx(expected, rel=1e-12))


def test_counts_at_nought_are_no_certainty() -> None:
    """Wilson's interval of 0 of 50: upper end z^2 / (n + z^2), times 50."""
    frame = performance(made("m", {"estimate": [0.1] * 50}), truths(0.0))
    row = frame.filter(measure="failures").row(0, named=True)
    z2 = 1.959963984540054**2
    assert (row["mc_lower"], row["mc_upper"]) == (0.0, pytest.approx(50 * z2 / (50 + z2)))


def test_shares_say_so_themselves() -> None:
    assert {"lower_miss", "upper_miss", "type_s_rate", "winsorised_share", "coverage", "convergence_rate"} <= SHARES
    assert len(SHARES) == 9
    assert "mean_width" not in SHARES


@pytest.mark.parametrize("size", [1e5, 1e7, 1e9, 1e12, -1e30])
def test_jackknife_errors_beside_one_outlier_are_those_of_their_definition(size: float) -> None:
    """Without the outlier its sum of squares is left out of one that it makes up; with it 40 others are.

    The variance without each of the others has the outlier's rounding, eps in relation to it, and these hardly count.
    """
    x = np.random.default_rng(3).standard_normal(41)
    x[7] = size
    s = np.full(41, 0.5)
    sample = Sample(x, s, x - 1, x + 1, np.full(41, 0.5), np.zeros(41, dtype=bool), 0.0)
    apart = [np.delete(x, at) for at in range(41)]
    ratios = np.array([0.25 / (others / abs(size)).var(ddof=1) / size / size for others in apart])
    ratios[7] = 0.25 / apart[7].var(ddof=1)
    expected = 100 * math.sqrt(40 / 41 * float(((ratios - ratios.mean()) ** 2).sum()))
    assert MEASURES["relative_bias_variance"](sample, "robust").mcse == pytest.approx(expected, rel=1e-9)
    spreads = np.array([(others / abs(size)).std(ddof=1) * abs(size) for others in apart])
    unit = abs(size)
    error = unit * math.sqrt(40 / 41 * float((((spreads - spreads.mean()) / unit) ** 2).sum()))
    assert MEASURES["empirical_se"](sample, "jackknife").mcse == pytest.approx(error, rel=1e-9)


def test_a_true_value_may_be_a_whole_number() -> None:
    e = np.array([1.0, 2.0, 2.5, 4.0])
    whole, real = (Sample(e, e, e - 1, e + 1, e / 9, np.zeros(4, dtype=bool), truth) for truth in (1, 1.0))
    for name, measure in MEASURES.items():
        assert repr(measure(whole, "robust")) == repr(measure(real, "robust")), name
