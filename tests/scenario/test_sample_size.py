"""The sample sizes of PARTNERS2, published and by formula."""

from math import isnan, sqrt
from pathlib import Path

import numpy as np
import pytest
from commands import Result, simtrial
from scipy import stats

from simtrial.sample_size import Design, individuals, power, power_of_t, sample_size

PLANNED = {"difference": 0.45, "sd": 0.9, "cluster_size_mean": 6.0, "cluster_size_cv": 0.74, "icc": 0.05,
           "individual_loss": 0.2, "practice_loss": 0.1}  # fmt: skip


def design(rho: float = 0.0, wanted: float = 0.9) -> Design:
    return Design(**PLANNED, baseline_correlation=rho, power=wanted)


@pytest.mark.parametrize(
    ("t", "wanted", "expected"), [(False, 0.9, 84.1), (False, 0.8, 62.8), (True, 0.9, 85.0), (True, 0.8, 63.8)]
)
def test_individuals_for_half_a_standard_deviation(t: bool, wanted: float, expected: float) -> None:
    """Normal by hand, 2 (1.96 + 1.2816)^2 / 0.25; the t values are those of standard tables before rounding up."""
    assert individuals(0.5, wanted, 0.05, t) == pytest.approx(expected, abs=0.05)


def test_design_effect_by_hand() -> None:
    assert design().design_effect == pytest.approx(1 + ((0.74**2 + 1) * 6 - 1) * 0.05, rel=1e-15)
    assert round(design().design_effect, 3) == 1.414


@pytest.mark.parametrize(
    ("rho", "wanted", "rule", "recruited", "practices"),
    [
        (0.0, 0.9, "normal", 336, 56),  # the original plan, printed
        (0.5, 0.9, "one-more", 270, 45),  # the revised plans, printed
        (0.5, 0.8, "one-more", 204, 34),
        (0.5, 0.9, "normal", 252, 42),
        (0.5, 0.8, "normal", 186, 31),
        (0.0, 0.9, "t", 342, 57),
    ],
)
def test_printed_sample_sizes(rho: float, wanted: float, rule: str, recruited: int, practices: int) -> None:
    found = sample_size(design(rho, wanted), rule)
    assert (found.recruited, found.practices) == (recruited, practices)


@pytest.mark.parametrize(("wanted", "rounded", "printed"), [(0.9, 184, 180), (0.8, 139, 140)])
def test_printed_numbers_analysed_are_the_t_rule_rounded_to_tens(wanted: float, rounded: int, printed: int) -> None:
    found = round(sample_size(design(0.5, wanted), "t").analysed)
    assert found == rounded
    assert round(found, -1) == printed


@pytest.mark.parametrize(
    ("practices", "rho", "z", "t"), [(56, 0.0, 0.905, 0.893), (45, 0.5, 0.923, 0.910), (34, 0.5, 0.837, 0.811)]
)
def test_power_of_the_planned_trials(practices: int, rho: float, z: float, t: float) -> None:
    """Three-digit values worked out independently of this code."""
    assert round(power(design(rho), practices, t=False), 3) == z
    assert round(power(design(rho), practices, t=True), 3) == t


def test_power_at_the_size_asked_for_is_the_power_asked_for() -> None:
    """Without rounding up to practices: an identity of the two formulas."""
    asked = design()
    exact = sample_size(asked).analysed / asked.kept / asked.cluster_size_mean
    n = exact * asked.cluster_size_mean * asked.kept
    assert n == pytest.approx(2 * 84.05938449152495 * asked.design_effect, rel=1e-12)
    assert power(asked, 56, t=False) > 0.9 > power(asked, 55, t=False)


CASE = Path(__file__).parents[1] / "data" / "cases" / "check" / "design.toml"


def shown(*settings: str) -> Result:
    return simtrial("show", CASE, *(word for text in settings for word in ("--set", text)))


def lines_with(text: str, start: str) -> list[list[str]]:
    """Cells of the lines of a table whose first words are given."""
    return [line.split() for line in text.splitlines() if line.strip().startswith(start)]


@pytest.mark.parametrize("number", [2, 3])
def test_where_nothing_is_fitted_no_power_is_shown_and_failures_are_counted(number: int) -> None:
    """shared/cases/check/design.toml with 2 practices, and with one arm of a single practice."""
    done = shown(f"mechanism.practices.number={number}")
    assert done.code == 0, done.err
    *_, simulated, failed = lines_with(done.out, "base   m ")[0]
    assert (simulated, failed) == ("-", "1000") if number == 2 else failed == "0"
    assert "nan" not in done.out


@pytest.mark.parametrize("setting", ["design.difference=40", "design.difference=1e300", "design.sd=1e-300",
                                     "design.sd=1e-3"])  # fmt: skip
def test_for_a_huge_difference_the_smallest_design_suffices(setting: str) -> None:
    """Two people per arm leave a t test its degrees of freedom; a trial has a practice in each arm."""
    done = shown(setting)
    assert done.code == 0, done.err
    rows = {row[1]: row for row in lines_with(done.out, "base ")}
    assert rows["normal:"][-2:] == ["20", "2"]
    assert rows["t:"][-4:] == ["2.0", "7.6", "20", "2"]
    assert rows["m"][3:5] == ["1.000", "1.000"]


@pytest.mark.parametrize(("setting", "message"), [
    ("design.difference=0", "difference must be > 0; 0 given"),
    ("design.difference=1e-300", "no trial is large enough"),
    ("design.sd=1e300", "no trial is large enough"),
    ("design.cluster_size_mean=1e308", "no trial is large enough"),
    ("design.icc=1", "icc must be < 1; 1 given"),
    ("design.sd=0", "sd must be > 0; 0 given"),
])  # fmt: skip
def test_designs_that_cannot_be_are_refused_in_one_line(setting: str, message: str) -> None:
    done = shown(setting)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(("wanted", "alpha", "effect"), [(0.9, 0.05, 3.0), (0.8, 0.001, 2.0), (0.99, 1e-6, 5.0),
                                                         (0.9, 1e-12, 40.0)])  # fmt: skip
def test_the_smallest_n_of_the_t_test_has_the_power_and_less_not(wanted: float, alpha: float, effect: float) -> None:
    n = individuals(effect, wanted, alpha, t=True)
    assert power_of_t(effect * sqrt(n / 2), 2 * n - 2, alpha) == pytest.approx(wanted, abs=1e-6) or n == 1.5
    assert power_of_t(effect * sqrt(0.99 * n / 2), 2 * 0.99 * n - 2, alpha) < wanted or n == 1.5


@pytest.mark.parametrize("df", [1.0, 3.0, 10.0, 100.0])
@pytest.mark.parametrize("shift", [1e3, 1e5, 1e200])
def test_power_far_out_is_where_the_denominator_leaves_it(df: float, shift: float) -> None:
    """Against E of the normal probability given the denominator, by 10,000 quantiles of it."""
    bound = stats.t.isf(0.025, df)
    at = np.sqrt(stats.chi2.ppf((np.arange(10_000) + 0.5) / 10_000, df) / df)
    assert power_of_t(shift, df, 0.05) == pytest.approx(stats.norm.sf(bound * at - shift).mean(), abs=1e-4)


def test_power_needs_degrees_of_freedom() -> None:
    assert isnan(power(design(), 2))
    assert not isnan(power(design(), 2, t=False))


def one_sided(planned: Design, practices: int) -> float:
    """Power on the side of the difference alone, as some programs print it."""
    shift = planned.difference / planned.sd * sqrt(practices * planned.cluster_size_mean / (4 * planned.design_effect))
    df = practices - 2
    return power(planned, practices) - float(stats.nct.cdf(-stats.t.isf(0.025, df), df, shift))


@pytest.mark.parametrize(("size", "printed"), [
    (20, 0.5901684), (30, 0.6365313), (40, 0.6620030), (50, 0.6780525), (100, 0.7118967),
])  # fmt: skip
def test_power_is_that_of_wp_crt2arm(size: int, printed: float) -> None:
    """WebPower's documented values, seven digits, both tails: f = 0.6, 10 practices, ICC 0.1."""
    planned = Design(difference=0.6, sd=1.0, cluster_size_mean=float(size), icc=0.1)
    assert power(planned, 10) == pytest.approx(printed, abs=6e-8)


def test_the_size_of_wp_crt2arm_has_the_power_asked_for() -> None:
    planned = Design(difference=0.8, sd=1.0, cluster_size_mean=16.02558, icc=0.1)
    assert power(planned, 10) == pytest.approx(0.8, abs=1e-7)


def test_power_is_that_of_cpa_normal() -> None:
    """clusterPower's documented values, one tail: equal sizes, and a CV of 0.5 by van Breukelen, Candel and Berger."""
    equal = Design(difference=1.0, sd=sqrt(5), cluster_size_mean=10.0, icc=0.1)
    assert one_sided(equal, 32) == pytest.approx(0.801766, abs=6e-7)
    unequal = Design(difference=0.2, sd=1.0, cluster_size_mean=100.0, cluster_size_cv=0.5, icc=0.1,
                     unequal_sizes="van-breukelen")  # fmt: skip
    assert one_sided(unequal, 40) == pytest.approx(0.4559881, abs=6e-8)


def test_van_breukelens_design_effect_is_the_exact_one_for_little_variation() -> None:
    """Efficiency of the mixed model: mean of n/(n + a), a = (1 - icc)/icc; sizes 9, 10, 11."""
    sizes, icc = np.array([9.0, 10.0, 11.0]), 0.1
    exact = 10 / (sizes / (1 + (sizes - 1) * icc)).mean()
    planned = Design(difference=1.0, sd=1.0, cluster_size_mean=10.0, cluster_size_cv=float(sizes.std() / 10), icc=icc,
                     unequal_sizes="van-breukelen")  # fmt: skip
    assert planned.design_effect == pytest.approx(exact, rel=1e-5)
    assert planned.design_effect < planned.model_copy(update={"unequal_sizes": "eldridge"}).design_effect


def test_show_uses_the_formula_asked_for() -> None:
    """Sizes so different that van Breukelen's approximation leaves nothing are refused."""
    settings = ("design.cluster_size_cv=0.8", "design.unequal_sizes=van-breukelen")
    plain, efficient = shown(settings[0]), shown(*settings)
    assert (plain.code, efficient.code) == (0, 0)
    assert lines_with(plain.out, "base   m ") != lines_with(efficient.out, "base   m ")
    refused = shown("design.cluster_size_cv=9", "design.unequal_sizes=van-breukelen")
    assert (refused.code, "no trial is large enough" in refused.err) == (2, True)
