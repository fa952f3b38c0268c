"""The sample sizes of PARTNERS2, published and by formula."""

import pytest

from simtrial.sample_size import Design, individuals, power, sample_size

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
