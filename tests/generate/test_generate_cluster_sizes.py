"""Families of cluster size: moments asked for, moments drawn, and what cannot be had."""

import math
import re
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats
from simulated import assert_mean, drawn_by, mechanism, practices_only

from simtrial.errors import ScenarioError
from simtrial.generate import simulate
from simtrial.generate.practices.cluster_sizes import (
    SizeRequest,
    check,
    dirichlet_concentration,
    lognormal_parameters,
    one_plus_shape,
    rounded_lognormal_moments,
)
from simtrial.generate.practices.practices import needed

FAMILIES = ("truncated-negative-binomial", "one-plus-gamma-poisson", "lognormal", "dirichlet-multinomial")


def sizes(options: dict[str, Any], trials: int, number: int = 39, seed: int = 1) -> dict[str, Any]:
    """Practices of 5.08 people with CV 0.62 unless options say otherwise, as arrays (trials, practices)."""
    table = {"number": number, "cluster_size_mean": 5.08, "cluster_size_cv": 0.62, **options}
    found = drawn_by(mechanism({"practices": table})["practices"], practices_only(trials, number), seed)
    return {name: values.reshape(trials, number) for name, values in found.items()}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("mean", "cv"), [(5.08, 0.62), (12.0, 0.9)])
def test_drawn_sizes_have_the_mean_and_cv_asked_for(family: str, mean: float, cv: float) -> None:
    """Second moments by trial: the sizes of one trial are not independent where the total is fixed."""
    size = sizes({"sizes": family, "cluster_size_mean": mean, "cluster_size_cv": cv, "number": 50}, 4000, 50)
    drawn = size["recruited"]
    assert drawn.min() >= 1
    assert np.all(drawn == np.rint(drawn))
    square = (drawn**2).mean(axis=1)
    expected = mean**2 * (1 + cv**2)
    if family == "dirichlet-multinomial":
        assert np.all(drawn.sum(axis=1) == round(50 * mean))
    else:
        assert_mean(drawn.mean(axis=1), mean, sharp=0.02 * mean)
    assert_mean(square, expected, sharp=0.05 * expected)


def test_one_plus_shape_is_the_one_derived_for_the_trial() -> None:
    assert one_plus_shape(5.077, 3.15 / 5.077) == pytest.approx((4.077, 2.84), abs=0.005)


def test_one_plus_sizes_have_the_textbook_probabilities() -> None:
    mu, k = one_plus_shape(5.08, 0.62)
    drawn = sizes({"sizes": "one-plus-gamma-poisson"}, 3000)["recruited"].ravel()
    for size in (1, 2, 5, 12):
        assert_mean(drawn == size, float(stats.nbinom.pmf(size - 1, k, k / (k + mu))), sharp=0.006)


@pytest.mark.parametrize(("mu", "sigma"), [(1.4, 0.6), (0.1, 1.0), (7.3, 0.5), (3.0, 0.001)])
def test_moments_of_the_rounded_lognormal_by_plain_summation(mu: float, sigma: float) -> None:
    law = stats.lognorm(sigma, scale=math.exp(mu))
    size = np.arange(1, 200_001)
    p = law.cdf(size + 0.5) - np.where(size == 1, 0.0, law.cdf(size - 0.5))
    first, second = p @ size, p @ size.astype(float) ** 2
    found = rounded_lognormal_moments(mu, sigma)
    assert found[0] == pytest.approx(first, rel=1e-7)
    assert found[1] == pytest.approx(math.sqrt(max(second / first**2 - 1, 0)), abs=1e-6)


@pytest.mark.parametrize(("mean", "cv"), [(1.2, 0.6), (5.08, 0.62), (6.0, 2.5), (900.0, 0.3)])
def test_the_lognormal_is_solved_after_rounding(mean: float, cv: float) -> None:
    assert rounded_lognormal_moments(*lognormal_parameters(mean, cv)) == pytest.approx((mean, cv), rel=1e-6)


def test_dirichlet_multinomial_with_the_least_cv_is_multinomial() -> None:
    """Without extra variation: Var = (T - K) (1/K)(1 - 1/K)."""
    least = math.sqrt(160 / 40 * (1 - 1 / 40)) / 5
    assert math.isinf(dirichlet_concentration(SizeRequest(40, 5.0, least, 200)))
    assert dirichlet_concentration(SizeRequest(40, 5.0, least * 1.1, 200)) < 1000
    drawn = sizes({"sizes": "dirichlet-multinomial", "total": 200, "cluster_size_cv": least}, 4000, 40)["recruited"]
    assert_mean(((drawn - 5) ** 2).mean(axis=1), 160 / 40 * (1 - 1 / 40), sharp=0.08)


def test_a_concentration_near_zero_puts_nearly_everybody_in_one_practice() -> None:
    drawn = sizes({"sizes": "dirichlet-multinomial", "total": 200, "cluster_size_cv": 4.5}, 500, 40)["recruited"]
    assert np.all(drawn.sum(axis=1) == 200)
    assert np.median(drawn.max(axis=1)) > 100


@pytest.mark.parametrize(
    ("family", "mean", "cv", "total", "told"),
    [("lognormal", 5.5, 0.01, 0, "CV between 0.09091 and 10"),
     ("one-plus-gamma-poisson", 5.0, 0.3, 0, "mean 5 have a CV between 0.4 and 10"),
     ("dirichlet-multinomial", 5.0, 0.1, 200, "CV between 0.395"),
     ("dirichlet-multinomial", 5.0, 9.0, 200, "CV between"),
     ("dirichlet-multinomial", 5.0, 0.5, 41, "at least 42"), ("fixed", 5.0, 0.5, 0, "size_list"),
     ("empirical", 5.0, 0.5, 0, "size_list"), ("lognormal", 5.5, 0.0, 0, "whole number, e.g. 6; .* between 0.09091")],
)  # fmt: skip
def test_what_a_family_cannot_have_is_refused_with_what_it_can(
    family: str, mean: float, cv: float, total: int, told: str
) -> None:
    with pytest.raises(ScenarioError, match=told):
        check(family, SizeRequest(40, mean, cv, total))
    table = {"number": 40, "cluster_size_mean": mean, "cluster_size_cv": cv, "sizes": family, "total": total}
    with pytest.raises(ValidationError, match=told):
        mechanism({"practices": table})


@pytest.mark.parametrize("mean", [0.5, 1.0])
@pytest.mark.parametrize(("family", "cv", "more"), [
    ("fixed", 0.0, {"size_list": [1]}), ("fixed", 0.5, {"size_list": [1, 1, 2]}),
    ("empirical", 0.5, {"size_list": [3]}), ("dirichlet-multinomial", 0.5, {"total": 200}),
])  # fmt: skip
def test_a_mean_that_is_not_used_need_not_exceed_one(mean: float, family: str, cv: float, more: dict[str, Any]) -> None:
    table = {"number": 40, "cluster_size_cv": cv, "sizes": family, **more}
    one = sizes({**table, "cluster_size_mean": mean}, 5, 40)["recruited"]
    other = sizes({**table, "cluster_size_mean": 5.0}, 5, 40)["recruited"]
    assert one.tolist() == other.tolist()


@pytest.mark.parametrize("mean", [0.5, 1.0])
@pytest.mark.parametrize(("family", "cv", "total"), [
    ("truncated-negative-binomial", 0.5, 0), ("truncated-negative-binomial", 0.0, 0),
    ("one-plus-gamma-poisson", 1.0, 0), ("lognormal", 0.5, 0), ("dirichlet-multinomial", 0.5, 0),
    ("dirichlet-multinomial", 0.0, 200),
])  # fmt: skip
def test_a_mean_that_is_used_must_exceed_one(mean: float, family: str, cv: float, total: int) -> None:
    table = {"number": 40, "cluster_size_mean": mean, "cluster_size_cv": cv, "sizes": family, "total": total}
    with pytest.raises(ValidationError, match=f"must exceed 1 with sizes = '{family}'; {mean:g} given"):
        mechanism({"practices": table})


@pytest.mark.parametrize("mean", [1.3, 5.08, 60.0])
@pytest.mark.parametrize(
    "family", ["truncated-negative-binomial", "one-plus-gamma-poisson", "lognormal", "dirichlet-multinomial"]
)
def test_the_range_that_a_refusal_names_can_be_had_to_its_ends(family: str, mean: float) -> None:
    """Both ends are accepted, and a thousandth beyond either is refused (10 is the largest CV there is)."""
    with pytest.raises(ScenarioError) as caught:
        check(family, SizeRequest(40, mean, 200.0))
    assert caught.value.key == "cluster_size_cv"  # type: ignore[attr-defined]
    found = re.search(
        r"of mean (\S+) have a CV between (\S+) and (\S+) in the family '(.+)'; 200 given", str(caught.value)
    )
    assert found is not None
    assert float(found[1]) == pytest.approx(mean, abs=0.02)  # that of 40 practices where the total is fixed
    assert found[4] == family
    low, high = float(found[2]), float(found[3])
    for cv in (low, high):
        check(family, SizeRequest(40, mean, cv))
    for cv in (*([0.999 * low] if low else []), *([1.001 * high] if high < 10 else [])):
        with pytest.raises(ScenarioError, match="CV between"):
            check(family, SizeRequest(40, mean, cv))


def test_listed_sizes_are_cycled_in_order_or_in_random_order() -> None:
    listed = sizes({"sizes": "fixed", "size_list": [3, 9, 4], "size_order": "listed"}, 5, 7)["recruited"]
    assert listed.tolist() == [[3, 9, 4, 3, 9, 4, 3]] * 5
    mixed = sizes({"sizes": "fixed", "size_list": [3, 9, 4]}, 4000, 7)["recruited"]
    assert np.all(np.sort(mixed, axis=1) == [3, 3, 3, 4, 4, 9, 9])
    assert_mean(mixed[:, 0] == 9, 2 / 7, sharp=0.04)


def test_empirical_sizes_are_resampled_with_replacement() -> None:
    drawn = sizes({"sizes": "empirical", "size_list": [3, 9, 3, 5]}, 2000)["recruited"]
    for size, share in ((3, 0.5), (5, 0.25), (9, 0.25)):
        assert_mean(drawn.ravel() == size, share, sharp=0.01)
    assert_mean((drawn == 3).sum(axis=1) ** 2, 39 / 4 + (39 / 2) ** 2, sharp=15)  # binomial, not fixed


def opened_by_hand(recruited: list[float], people: int) -> list[int]:
    """Slow twin: open practices while there are too few people."""
    total, opened = 0.0, []
    for size in recruited:
        opened.append(int(total < people))
        total += size
    return opened


def test_practices_open_until_there_are_enough_people() -> None:
    rng = np.random.default_rng(2)
    drawn = rng.integers(1, 12, (50, 41)).astype(float)
    assert needed(drawn, 200).tolist() == [opened_by_hand(row.tolist(), 200) for row in drawn]


def test_a_batch_holds_only_the_practices_that_opened() -> None:
    """Wald: E people = 5.08 E practices, as no trial here needs all 80."""
    table = {"number": 80, "cluster_size_mean": 5.08, "cluster_size_cv": 0.62, "until_participants": 200}
    batch = simulate(mechanism({"practices": table}), 2000, 1, "", 0)
    index = batch.index
    practices = np.bincount(index.practice_trial, minlength=2000)
    people = np.bincount(index.participant_trial, minlength=2000)
    last = np.cumsum(practices) - 1
    assert np.all(people >= 200)
    assert np.all(people - batch.at("recruited", "practice")[last] < 200)
    assert practices.max() < 80
    assert batch.at("recruited", "practice").min() >= 1
    assert_mean(people - 5.08 * practices, 0.0, sharp=2.1)
    assert batch.columns["opened"].latent
    assert np.all(batch.at("opened", "practice") == 1)
