"""Estimate, standard error, interval and p-value may be missing independently; failures are counted, zero included."""

from math import inf

import polars as pl
import pytest
from rows import made, measured, truths

from simtrial.performance import MEASURES, Options, performance

WHOLE = {
    "estimate": [1.0, 2, 2, 3, 7],
    "std_error": [1.0, 1, 2, 2, 2],
    "ci_lower": [-1.0, 0, -2, -1, 3],
    "ci_upper": [3.0, 4, 6, 7, 11],
    "p_value": [0.2, 0.04, 0.5, 0.3, 0.001],
}
NEEDS = {
    "estimate": {"mean_estimate", "bias", "empirical_se", "mse", "relative_error_model_se"},
    "std_error": {"model_se", "relative_error_model_se"},
    "ci_lower": {"coverage", "mean_width", "median_width"},
    "ci_upper": {"coverage", "mean_width", "median_width"},
    "p_value": set(),
}
ALWAYS = {"mean_estimate", "bias", "empirical_se", "mse", "relative_error_model_se", "model_se", "coverage",
          "mean_width", "median_width", "convergence_rate"}  # fmt: skip


@pytest.mark.parametrize("column", NEEDS)
def test_a_missing_number_costs_only_the_measures_that_need_it(column: str) -> None:
    holed = {**WHOLE, column: [None, *WHOLE[column][1:]], "status": ["ok"] * 5}
    before = measured(performance(made("m", WHOLE), truths(2.0)))
    after = measured(performance(made("m", holed), truths(2.0)))
    for name in ALWAYS:
        if name in NEEDS[column]:
            assert after["m", name][2] == 4, name
        else:
            assert after["m", name] == before["m", name], name


def test_a_missing_p_value_is_replaced_by_the_interval() -> None:
    """The fifth interval, 3 to 11, leaves out 0; without p-values that is the only rejection."""
    found = measured(performance(made("m", {**WHOLE, "p_value": [None] * 5}), truths(2.0)))
    assert found["m", "rejection_rate"] == (pytest.approx(0.2), pytest.approx((0.2 * 0.8 / 5) ** 0.5), 5)
    mixed = {**WHOLE, "p_value": [0.01, None, None, None, None]}
    assert measured(performance(made("m", mixed), truths(2.0)))["m", "rejection_rate"][0] == pytest.approx(0.4)


def test_neither_p_value_nor_interval_takes_a_replicate_out_of_the_rejection_rate() -> None:
    bare = {**WHOLE, "p_value": [0.01, 0.2, 0.3, 0.4, None], "ci_lower": [None] * 5, "ci_upper": [None] * 5}
    assert measured(performance(made("m", bare), truths(2.0)))["m", "rejection_rate"][::2] == (0.25, 4)


def test_intervals_without_estimates_have_coverage() -> None:
    only = {"ci_lower": WHOLE["ci_lower"], "ci_upper": WHOLE["ci_upper"], "status": ["ok"] * 5}
    found = measured(performance(made("m", only), truths(2.0)))
    assert found["m", "coverage"][::2] == (0.8, 5)
    assert found["m", "bias"] == (None, None, 0)


def test_p_values_without_anything_else_have_a_rejection_rate() -> None:
    only = {"p_value": WHOLE["p_value"], "status": ["ok"] * 5}
    assert measured(performance(made("m", only), truths(2.0)))["m", "rejection_rate"][::2] == (0.4, 5)


def test_failures_are_counted_when_there_are_none() -> None:
    found = measured(performance(made("m", WHOLE), truths(2.0), Options(measures=["bias"])))
    assert found["m", "failures"] == (0.0, 0.0, 5)


def test_failures_and_convergence_count_every_replicate() -> None:
    holed = {name: [*values[:3], None, None] for name, values in WHOLE.items()}
    found = measured(performance(made("m", holed), truths(2.0)))
    assert found["m", "failures"] == (2.0, pytest.approx((5 * 0.4 * 0.6) ** 0.5), 5)
    assert found["m", "convergence_rate"] == (0.6, pytest.approx((0.6 * 0.4 / 5) ** 0.5), 5)
    assert found["m", "bias"][2] == 3
    assert found["m", "coverage"][2] == 3
    assert found["m", "worst_case_coverage"][::2] == (0.6, 5)


def test_a_method_that_always_fails_has_a_line_for_every_measure() -> None:
    nothing = {name: [None] * 4 for name in WHOLE}
    found = measured(performance(made("m", nothing), truths(2.0)))
    assert found["m", "failures"] == (4.0, 0.0, 4)
    assert found["m", "convergence_rate"][::2] == (0.0, 4)
    for name in MEASURES:
        if not name.startswith(("n_", "convergence", "worst_case")):
            assert found["m", name] == (None, None, 0), name


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_a_handful_of_replicates_gives_values_or_nothing_and_never_an_exception(kept: int) -> None:
    few = {name: values[:kept] for name, values in WHOLE.items()}
    for form in ("robust", "normal", "jackknife"):
        rows = pl.concat([made("a", few), made("b", few)])
        frame = performance(rows, truths(2.0), Options(form=form, reference="b"))
        assert frame.filter(pl.col("measure") == "bias")["n"].to_list() == [kept, kept]
        numbers = frame.select(pl.col(pl.Float64))
        assert not any(numbers[c].is_nan().any() for c in numbers.columns)


def test_flags_are_counted_by_name() -> None:
    flagged = {**WHOLE, "flags": ["", "boundary", "aliased;boundary", "", "boundary"]}
    found = measured(performance(made("m", flagged), truths(2.0)))
    assert found["m", "flag:boundary"] == (3.0, pytest.approx((5 * 0.6 * 0.4) ** 0.5), 5)
    assert found["m", "flag:aliased"][0] == 1.0


def test_without_a_true_value_only_what_needs_it_is_missing() -> None:
    found = measured(performance(made("m", WHOLE), truths(None)))
    for name in ("bias", "relative_bias", "mse", "coverage", "median_bias", "worst_case_coverage", "lower_miss"):
        assert found["m", name][0] is None, name
    assert found["m", "empirical_se"][0] == pytest.approx(5.5**0.5)
    assert found["m", "rejection_rate"][0] == pytest.approx(0.4)


def test_an_estimand_unknown_to_the_true_values_is_no_error() -> None:
    found = measured(performance(made("m", WHOLE, estimand="other"), truths(2.0)))
    assert found["m", "bias"][0] is None
    assert found["m", "mean_estimate"][0] == 3


def test_unbounded_intervals_stay_infinite_in_the_frame() -> None:
    wide = {**WHOLE, "ci_upper": [inf, 4, 6, 7, 11]}
    found = measured(performance(made("m", wide), truths(2.0)))
    assert found["m", "mean_width"][:2] == (inf, None)
    assert found["m", "coverage"][0] == pytest.approx(0.8)


def test_intervals_of_absurd_width_are_no_error() -> None:
    """A t interval on a hundredth of a degree of freedom: 1e200 either way."""
    absurd = {**WHOLE, "ci_upper": [1e200, 4, 6, 7, 11], "ci_lower": [-1e200, 0, -2, -1, 3]}
    found = measured(performance(made("m", absurd), truths(2.0)))
    assert found["m", "median_width"][0] == 8
    assert found["m", "coverage"][0] == pytest.approx(0.8)


def test_cells_methods_and_estimands_are_kept_apart() -> None:
    shifted = {**WHOLE, "estimate": [x + 10 for x in WHOLE["estimate"]]}
    rows = pl.concat([made("a", WHOLE), made("b", shifted), made("a", shifted, cell="other"),
                      made("a", WHOLE, estimand="cace")])  # fmt: skip
    truth = pl.concat([truths(2.0), truths(12.0, cell="other"), truths(1.0, estimand="cace")])
    frame = performance(rows, truth, Options(measures=["bias"])).filter(pl.col("measure") == "bias")
    found = {(c, m, e): v for c, m, e, v in frame.select("cell", "method", "estimand", "value").iter_rows()}
    assert found == {
        ("base", "a", "itt"): 1, ("base", "b", "itt"): 11, ("other", "a", "itt"): 1, ("base", "a", "cace"): 2,
    }  # fmt: skip


def test_alpha_by_method() -> None:
    rows = pl.concat([made("strict", WHOLE), made("usual", WHOLE)])
    found = measured(performance(rows, truths(2.0), Options(alphas={"strict": 0.01})))
    assert found["strict", "rejection_rate"][0] == pytest.approx(0.2)
    assert found["usual", "rejection_rate"][0] == pytest.approx(0.4)


def test_the_common_subset_is_that_of_every_method() -> None:
    holed = {name: [None, *values[1:]] for name, values in WHOLE.items()}
    rows = pl.concat([made("a", WHOLE), made("b", holed)])
    apart = measured(performance(rows, truths(2.0)))
    common = measured(performance(rows, truths(2.0), Options(common=True)))
    assert (apart["a", "bias"][2], apart["b", "bias"][2]) == (5, 4)
    assert common["a", "bias"] == common["b", "bias"] == apart["b", "bias"]


def test_paired_measures_follow_the_replicate_not_the_row() -> None:
    rows = pl.concat([made("a", WHOLE), made("b", WHOLE).reverse(), made("c", WHOLE).filter(pl.col("replicate") > 1)])
    found = measured(performance(rows, truths(2.0), Options(reference="a")))
    assert found["b", "bias_difference"] == (0.0, 0.0, 5)
    assert found["c", "bias_difference"] == (0.0, 0.0, 4)
    assert ("a", "bias_difference") not in found


def test_what_a_failed_fit_can_still_say_is_in_no_measure() -> None:
    """A saturated fit keeps its estimate in the rows and counts as a failure only."""
    status = {"status": ["ok", "ok", "ok", "ok", "failed"]}
    blank = {name: [*values[:4], None] for name, values in WHOLE.items()}
    said, unsaid = (measured(performance(made("m", {**v, **status}), truths(2.0))) for v in (WHOLE, blank))
    assert said == unsaid
    assert said["m", "bias"][2] == 4
