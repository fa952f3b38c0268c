"""Practices: cluster sizes, regions and size classes."""

import math

import numpy as np
import pytest
from scipy import stats
from simulated import assert_mean, assert_ratio, draw, drawn_by, mechanism, partners, practices_only

from simtrial.errors import ScenarioError
from simtrial.generate.distributions.tables import invert, truncated_negative_binomial, truncated_shape
from simtrial.generate.practices.practices import Practices, apportion


@pytest.mark.parametrize(
    ("mean", "sd", "mu", "k"),
    [(198 / 39, 3.15, 4.879, 4.235), (5.8, 3.7, 5.60, 3.59), (6.0, 0.74 * 6, 5.608, 2.094)],
    ids=["all practices", "intervention practices", "as planned"],
)
def test_the_family_reproduces_the_parameters_derived_for_the_trial(
    mean: float, sd: float, mu: float, k: float
) -> None:
    """Half a unit of the last printed digit: three decimals, two for the intervention arm."""
    found = truncated_shape(mean, sd / mean)
    digits = 0.005 if mu == 5.60 else 0.0005
    assert found == pytest.approx((mu, k), abs=digits)


def test_printed_quantiles_of_cluster_size() -> None:
    table = truncated_negative_binomial(4.879, 4.235)
    assert invert(table, np.array([0.05, 0.25, 0.5, 0.75, 0.95, 0.99])).tolist() == [1, 3, 4, 7, 11, 15]
    assert table[0] == pytest.approx(0.09, abs=0.005)


@pytest.mark.parametrize(("mean", "cv"), [(1.2, 0.4), (5.08, 0.62), (6, 0.74), (40, 1.5), (3.0, 0.53)])
def test_the_table_has_the_moments_asked_for(mean: float, cv: float) -> None:
    """Up to the tail of 1e-15 that is put on the last value."""
    table = truncated_negative_binomial(*truncated_shape(mean, cv))
    pmf, value = np.diff(table, prepend=0.0), np.arange(1.0, len(table) + 1)
    assert pmf @ value == pytest.approx(mean, rel=1e-9)
    assert math.sqrt(pmf @ value**2 - mean**2) / mean == pytest.approx(cv, rel=1e-8)


@pytest.mark.parametrize(("mu", "k"), [(4.879, 4.235), (10.45, 3.0), (0.3, 0.7), (4.0, math.inf)])
def test_the_table_is_the_textbook_distribution(mu: float, k: float) -> None:
    table = truncated_negative_binomial(mu, k)
    value = np.arange(1, len(table))
    whole = stats.poisson(mu) if math.isinf(k) else stats.nbinom(k, k / (k + mu))
    assert table[:-1] == pytest.approx((whole.cdf(value) - whole.pmf(0)) / whole.sf(0), abs=1e-12)


def test_mean_and_cv_of_drawn_sizes() -> None:
    size = draw(trials=2500).at("recruited", "practice")
    assert_mean(size, 5.08, sharp=0.05)
    assert_mean(size**2, 5.08**2 * (1 + 0.62**2), sharp=0.8)
    assert size.min() == 1


def test_a_cv_of_zero_gives_equal_sizes() -> None:
    batch = draw({"practices": {"cluster_size_mean": 6.0, "cluster_size_cv": 0.0}}, trials=20)
    assert np.all(batch.at("recruited", "practice") == 6)
    assert batch.index.participants == 20 * 39 * 6


def test_there_are_as_many_participants_as_practices_recruited() -> None:
    batch = draw(trials=50)
    people = np.bincount(batch.index.participant_practice, minlength=batch.index.practices)
    assert np.array_equal(people, batch.at("recruited", "practice"))


def test_every_trial_has_the_published_regions_and_sizes() -> None:
    batch = draw(trials=500)
    region, size = (batch.at(name, "practice").reshape(500, 39) for name in ("region", "practice_size"))
    assert batch.columns["region"].categories == ("Birmingham", "Plymouth", "Cornwall", "Somerset")
    for code, number in enumerate((16, 10, 10, 3)):
        assert np.all((region == code).sum(axis=1) == number)
    assert np.all((size == 0).sum(axis=1) == 15)


def test_fixed_classes_come_in_random_order_and_independently() -> None:
    """Each place holds Birmingham with probability 16/39; small practices fall there as often as elsewhere."""
    drawn = drawn_by(partners()["practices"], practices_only(20_000, 39))
    region, size = (drawn[name].reshape(-1, 39) for name in ("region", "practice_size"))
    for place in (0, 19, 38):
        assert_mean(region[:, place] == 0, 16 / 39, sharp=0.02)
        assert_mean((region[:, place] == 0) & (size[:, place] == 0), 16 / 39 * 15 / 39, sharp=0.02)


def test_random_classes_have_the_shares_asked_for() -> None:
    drawn = drawn_by(partners({"practices": {"counts": "random"}})["practices"], practices_only(5000, 39))
    region, size = drawn["region"], drawn["practice_size"]
    assert_mean(region == 3, 3 / 39, sharp=0.003)
    assert_mean(region == 0, 16 / 39, sharp=0.0055)
    assert_mean(size == 0, 0.385, sharp=0.0055)
    assert (region.reshape(5000, 39) == 3).sum(axis=1).std() > 1.0  # binomial: 1.66, fixed: 0


def test_size_of_a_practice_says_nothing_of_its_class() -> None:
    batch = draw(trials=2500)
    recruited, small = batch.at("recruited", "practice"), batch.at("practice_size", "practice") == 0
    assert_ratio(recruited * small, small, 5.08, sharp=0.1)


@pytest.mark.parametrize(
    ("shares", "total", "whole"),
    [((16, 10, 10, 3), 39, [16, 10, 10, 3]), ((1, 1, 1), 10, [4, 3, 3]), ((0.385, 0.615), 39, [15, 24]),
     ((16, 10, 10, 3), 20, [8, 5, 5, 2]), ((0, 1), 7, [0, 7])],
)  # fmt: skip
def test_shares_become_whole_numbers_by_largest_remainder(
    shares: tuple[float, ...], total: int, whole: list[int]
) -> None:
    """(16, 10, 10, 3) of 20: 8.2, 5.1, 5.1 and 1.5; one place is left and Somerset has the largest remainder."""
    assert apportion(shares, total).tolist() == whole


@pytest.mark.parametrize(("mean", "cv"), [(5.08, 0.3), (5.08, 50.0), (1.0, 0.5), (0.5, 0.5)])
def test_moments_that_no_distribution_of_the_family_has_are_refused(mean: float, cv: float) -> None:
    with pytest.raises(ScenarioError, match=r"CV between|must exceed 1"):
        truncated_shape(mean, cv)


def test_large_practices_are_no_harder_than_small_ones() -> None:
    """Where nobody is never drawn the moments are those without truncation: k = 1 / (CV^2 - 1/mean)."""
    assert truncated_shape(5000.0, 0.62) == pytest.approx((5000.0, 1 / (0.62**2 - 1 / 5000)), rel=1e-6)


def sizes_by_hand(mu: float, k: float, uniforms: list[float]) -> list[int]:
    """Slow twin: walk up the zero-truncated probabilities until they reach the uniform."""
    sizes = []
    for uniform in uniforms:
        p, n = (1 + mu / k) ** -k, 0
        rest, reached = 1 - p, 0.0
        while reached < uniform:
            n += 1
            p *= (n - 1 + k) / n * mu / (mu + k)
            reached += p / rest
        sizes.append(n)
    return sizes


def test_sizes_equal_those_of_a_plain_loop() -> None:
    uniforms = np.random.default_rng(3).random(5000)
    for mu, k in ((4.879, 4.235), (10.45, 3.0)):
        assert invert(truncated_negative_binomial(mu, k), uniforms).tolist() == sizes_by_hand(mu, k, uniforms.tolist())


def test_the_ends_of_the_table_and_its_steps() -> None:
    """A uniform equal to a cumulative probability belongs to the value reaching it; 0 to the first, 1 to the last."""
    table = np.array([0.25, 0.5, 1.0])
    uniforms = np.array([0.0, 0.25, np.nextafter(0.25, 1), 0.5, 0.75, 1.0])
    assert invert(table, uniforms).tolist() == [1, 1, 2, 2, 3, 3]


def test_the_stage_draws_its_sizes_by_inversion() -> None:
    step = mechanism({"practices": {"number": 7, "cluster_size_mean": 5.08, "cluster_size_cv": 0.62}})["practices"]
    assert isinstance(step, Practices)
    found = drawn_by(step, practices_only(40, 7), seed=11)
    rng = np.random.default_rng(11)
    rng.random((40, 7))  # regions
    rng.random((40, 7))  # size classes
    assert found["recruited"].tolist() == sizes_by_hand(*truncated_shape(5.08, 0.62), rng.random(280).tolist())
    assert found["practice"].reshape(40, 7)[3].tolist() == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(("mean", "shape"), [(10.4, 3.0), (0.05, 0.5), (900.0, np.inf), (300.0, 0.001)])
def test_many_draws_are_inverted_as_a_few_are(mean, shape):
    """By a guide table and by bisection; at the steps of both, beside them, and at the ends."""
    table = truncated_negative_binomial(mean, shape)
    edges = np.concatenate([table, np.arange(2049) / 2048])
    uniforms = np.concatenate([np.clip(np.nextafter(edges, way), 0.0, 1.0) for way in (0.0, 2.0)] + [edges])
    shares = np.concatenate([uniforms, np.random.default_rng(1).random(2048 * 6 - len(uniforms) % 6)])
    shares = shares[: len(shares) // 6 * 6].reshape(6, -1)
    assert np.array_equal(invert(table, shares), np.searchsorted(table, shares) + 1.0)
