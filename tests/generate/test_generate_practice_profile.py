"""Registers, rurality and deprivation of practices."""

import math
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats
from simulated import assert_mean, drawn_by, mechanism, partners, practices_only

REGIONS = {"A": 10, "B": 20, "C": 9}


def profile(options: dict[str, Any], trials: int = 2000, number: int = 39, seed: int = 1) -> dict[str, Any]:
    """Practices of the trial with some options changed, as arrays (trials, practices)."""
    step = partners({"practices": {"number": number, **options}})["practices"]
    return {n: v.reshape(trials, number) for n, v in drawn_by(step, practices_only(trials, number), seed).items()}


def test_rurality_and_deprivation_have_the_published_counts() -> None:
    found = profile({}, 300)
    assert np.all((found["rurality"] == 0).sum(axis=1) == 30)
    for code, number in enumerate((26, 10, 3)):
        assert np.all((found["deprivation"] == code).sum(axis=1) == number)


def test_classes_by_region_are_fixed_within_regions_and_in_random_order() -> None:
    found = profile({
        "regions": REGIONS, "urban_share": 0.5, "rurality_by_region": {"A": 1.0, "C": 0.0},
        "deprivation": {"medium": 1}, "deprivation_by_region": {"B": {"high": 3, "low": 1}},
    })  # fmt: skip
    region, urban, deprived = found["region"], found["rurality"] == 0, found["deprivation"]
    assert [(urban & (region == k)).sum(axis=1).tolist() for k in range(3)] == [[n] * 2000 for n in (10, 10, 0)]
    assert np.all(deprived[region != 1] == 1)
    assert np.all(((deprived == 0) & (region == 1)).sum(axis=1) == 15)
    assert_mean(urban[:, 0], 20 / 39, sharp=0.06)
    both = (urban & (deprived == 0) & (region == 1)).sum(axis=1)
    assert_mean(both, 20 * 0.5 * 0.75, sharp=0.2)  # independent within the region


def test_random_classes_by_region_have_the_shares_asked_for() -> None:
    found = profile({"counts": "random", "regions": REGIONS, "urban_share": 0.5, "rurality_by_region": {"A": 0.9},
                     "deprivation": {"high": 26, "medium": 10, "low": 3}})  # fmt: skip
    region, urban = found["region"], found["rurality"] == 0
    assert_mean(urban[region == 0], 0.9, sharp=0.02)
    assert_mean(urban[region == 1], 0.5, sharp=0.02)
    for code, number in enumerate((26, 10, 3)):
        assert_mean(found["deprivation"].ravel() == code, number / 39, sharp=0.01)
    assert (found["deprivation"] == 2).sum(axis=1).std() > 1.0


@pytest.mark.parametrize("counts", ["fixed", "random"])
def test_registers_are_a_lognormal_cut_off_below_with_a_threshold_between_classes(counts: str) -> None:
    found = profile({"counts": counts}, 3000)
    size, small = found["register_size"], found["practice_size"] == 0
    assert size.min() >= 16
    assert size[small].max() < size[~small].min()
    law = stats.lognorm(0.6, scale=60)
    for value in (20, 40, 90, 200):
        share = float((law.cdf(value + 0.5) - law.cdf(15.5)) / law.sf(15.5))
        assert_mean((size <= value).ravel(), share, sharp=0.008)


@pytest.mark.parametrize("r", [0.2, 0.7, -0.5])
def test_registers_correlate_with_people_recruited(r: float) -> None:
    """Spearman's rank correlation of a Gaussian copula is 6/pi asin(r/2); 40,000 pairs have an error of 0.005.

    Large practices with wide registers leave few ties.
    """
    found = profile({"register_correlation": r, "cluster_size_mean": 2000.0, "register_median": 5000.0,
                     "counts": "random", "small_share": 0.4}, 1000, 40)  # fmt: skip
    rho = stats.spearmanr(found["register_size"].ravel(), found["recruited"].ravel()).statistic
    assert rho == pytest.approx(6 / math.pi * math.asin(r / 2), abs=4.5 * 0.005)


@pytest.mark.parametrize("counts", ["fixed", "random"])
def test_a_correlation_leaves_the_distribution_of_sizes_alone(counts: str) -> None:
    recruited = profile({"register_correlation": 0.6, "counts": counts}, 3000)["recruited"]
    assert_mean(recruited.mean(axis=1), 5.08, sharp=0.06)
    assert_mean((recruited**2).mean(axis=1), 5.08**2 * (1 + 0.62**2), sharp=0.8)


def test_new_columns_move_nothing_that_was_there() -> None:
    plain = profile({}, 50)
    other = profile({"register_median": 90.0, "urban_share": 0.2, "deprivation": {"low": 1}}, 50)
    for name in ("region", "practice_size", "recruited"):
        assert np.array_equal(plain[name], other[name])
    for name in ("register_size", "rurality", "deprivation"):
        assert not np.array_equal(plain[name], other[name])


@pytest.mark.parametrize(
    ("options", "told"),
    [({"rurality_by_region": {"Cornwal": 0.5}}, "did you mean 'Cornwall'"),
     ({"deprivation_by_region": {"Devon": {"high": 1}}}, "unknown region 'Devon'"),
     ({"deprivation": {"hihg": 1}}, "did you mean 'high'"), ({"deprivation": {}}, "more than 0"),
     ({"deprivation_by_region": {"Cornwall": {}}}, "more than 0"),
     ({"deprivation": {"high": 0}}, "more than 0"), ({"register_median": 2.0}, "register_median must be at least"),
     ({"size_list": [4]}, "size_list is for"),
     ({"sizes": "fixed", "size_list": [10_000]}, "at most 100,000")],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        partners({"practices": options})


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_one_class_alone_has_the_whole_distribution(share: float) -> None:
    table = {"number": 50, "cluster_size_mean": 5.0, "cluster_size_cv": 0.6, "small_share": share}
    found = drawn_by(mechanism({"practices": table})["practices"], practices_only(400, 50))
    law = stats.lognorm(0.6, scale=60)
    assert_mean(found["register_size"] <= 60, float((law.cdf(60.5) - law.cdf(15.5)) / law.sf(15.5)), sharp=0.02)
