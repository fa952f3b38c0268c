"""Allocation of practices: minimisation, fixed numbers per arm, a coin each."""

from math import comb

import numpy as np
import pytest
from scipy import stats
from simulated import assert_mean, draw

from simtrial.generate.allocation.minimisation import Imbalance
from simtrial.generate.allocation.minimisation import minimise as minimise_flat

REGIONS, SIZES = np.repeat([0, 1, 2, 3], [16, 10, 10, 3]), np.repeat([0, 1], [15, 24])


def minimise(levels: np.ndarray, coins: np.ndarray, best: float, imbalance: Imbalance = "range") -> np.ndarray:
    """Arms (trials, practices) from levels (factors, trials, practices) of trials of equal size."""
    trials, number = coins.shape
    flat, trial = levels.reshape(len(levels), -1), np.repeat(np.arange(trials), number)
    return minimise_flat(flat, coins.ravel(), trial, best=best, imbalance=imbalance).reshape(coins.shape)


def arrivals(trials: int, seed: int) -> np.ndarray:
    """Levels (factors, trials, practices) of the trial's 39 practices in random order, the factors independent."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.permuted(np.tile(x, (trials, 1)), axis=1) for x in (REGIONS, SIZES)])


def balanced(levels: np.ndarray, arm: np.ndarray) -> np.ndarray:
    """Whether the arms differ by at most 1 practice at every level of every factor (trials,)."""
    fine = np.ones(len(arm), dtype=bool)
    for factor in levels:
        for level in np.unique(factor):
            fine &= np.abs(((2 * arm - 1) * (factor == level)).sum(axis=1)) <= 1
    return fine


def test_worked_example() -> None:
    """Six practices, best arm taken always; region A=0, B=1 and size small=0, large=1.

    1. A small: nothing known, coin 0.3 < 0.5: intervention.  2. A large: A has 1 v 0, large 0 v 0: control.
    3. B small: small 1 v 0, B 0 v 0: control.                4. A small: A 1 v 1, small 1 v 1: tie, coin 0.7: control.
    5. B large: B 0 v 1, large 0 v 1: intervention.           6. A large: A 1 v 2, large 1 v 1: intervention.
    """
    levels = np.array([[[0, 0, 1, 0, 1, 0]], [[0, 1, 0, 0, 1, 1]]])
    coins = np.array([[0.3, 0.9, 0.2, 0.7, 0.99, 0.01]])
    assert minimise(levels, coins, 1.0).tolist() == [[1, 0, 0, 0, 1, 1]]


def test_opposite_imbalances_of_two_factors_tie() -> None:
    """The third practice finds one factor 1 v 0 and the other 0 v 1: totals agree, and the coin decides."""
    levels = np.array([[[0, 1, 0]] * 2, [[0, 1, 1]] * 2])
    arm = minimise(levels, np.array([[0.1, 0.9, 0.4], [0.1, 0.9, 0.6]]), 1.0)
    assert arm.tolist() == [[1, 0, 1], [1, 0, 0]]


def minimise_by_hand(levels: list[list[int]], coins: list[float], best: float) -> list[int]:
    """Slow twin for one trial: range imbalance summed over factors, as Pocock and Simon describe it."""
    arms: list[int] = []
    for k in range(len(coins)):
        total = []
        for candidate in (0, 1):
            imbalance = 0
            for factor in levels:
                alike = [arms[i] for i in range(k) if factor[i] == factor[k]] + [candidate]
                imbalance += abs(alike.count(1) - alike.count(0))
            total.append(imbalance)
        probability = 0.5 if total[0] == total[1] else best if total[1] < total[0] else 1 - best
        arms.append(1 if coins[k] < probability else 0)
    return arms


@pytest.mark.parametrize("best", [0.5, 0.8, 1.0])
def test_minimisation_equals_a_plain_loop(best: float) -> None:
    levels, coins = arrivals(100, seed=5), np.random.default_rng(6).random((100, 39))
    by_hand = [minimise_by_hand(levels[:, t].tolist(), coins[t].tolist(), best) for t in range(100)]
    assert minimise(levels, coins, best).tolist() == by_hand


def test_fair_coins_balance_every_margin_as_often_as_combinatorics_says() -> None:
    """Even regions halved exactly, Somerset 1 or 2 of 3; then small practices hypergeometric among 19 or 20."""
    halves = comb(16, 8) * comb(10, 5) ** 2 / 2**36
    exact = halves * 3 / 8 * (stats.hypergeom(39, 15, 19).pmf(7) + stats.hypergeom(39, 15, 20).pmf(8))
    assert exact == pytest.approx(0.002, abs=0.0005)  # as printed
    levels = arrivals(100_000, seed=1)
    arm = minimise(levels, np.random.default_rng(2).random((100_000, 39)), 0.5)
    assert_mean(balanced(levels, arm), exact, sharp=0.001)


@pytest.mark.parametrize(
    ("imbalance", "best", "derived"),
    [("marginal-sum", 0.7, 0.06), ("marginal-sum", 0.8, 0.19), ("marginal-sum", 0.9, 0.38), ("marginal-sum", 1.0, 0.64),
     ("variance", 0.9, 0.38), ("range", 0.8, 0.173), ("range", 0.9, 0.368), ("range", 1.0, 0.628)],
)  # fmt: skip
def test_margins_are_balanced_as_often_as_derived_for_the_trial(
    imbalance: Imbalance, best: float, derived: float
) -> None:
    """To rounding (0.005, the range criterion to three digits) and 4.5 Monte Carlo errors of both simulations.

    Derived for the published numbers per region and size class, 39 practices.
    """
    trials = 20_000
    levels = arrivals(trials, seed=3)
    arm = minimise(levels, np.random.default_rng(4).random((trials, 39)), best, imbalance)
    rounding = 0.0005 if imbalance == "range" else 0.005
    error = np.sqrt(2 * derived * (1 - derived) / trials)
    assert balanced(levels, arm).mean() == pytest.approx(derived, abs=rounding + 4.5 * error)


def test_the_stage_minimises_over_its_factors() -> None:
    """Balancing region alone leaves the size classes to chance: SD of their difference in arm 1 - 0 grows."""
    both = draw({"allocation": {"best_arm_probability": 1.0}}, trials=500)
    region = draw({"allocation": {"best_arm_probability": 1.0, "factors": ["region"]}}, trials=500)
    spread = {}
    for name, batch in (("both", both), ("region", region)):
        arm, size, place = (batch.at(n, "practice").reshape(500, 39) for n in ("arm", "practice_size", "region"))
        spread[name] = ((2 * arm - 1) * (size == 1)).sum(axis=1).std()
        assert np.abs(((2 * arm - 1) * (place == 0)).sum(axis=1)).max() <= (0 if name == "region" else 6)
    assert spread["both"] < 1.5
    assert spread["region"] > 2.5


def test_complete_randomisation_has_twenty_against_nineteen() -> None:
    arm = draw({"allocation": {"method": "complete"}}, trials=4000).at("arm", "practice").reshape(4000, 39)
    treated = arm.sum(axis=1)
    assert set(treated) == {19, 20}
    assert_mean(treated == 20, 0.5, sharp=0.04)
    for place in (0, 20, 38):
        assert_mean(arm[:, place], 0.5, sharp=0.04)
    together = (arm[:, 0] == 1) & (arm[:, 38] == 1)
    assert_mean(together, 0.5 * (19 * 18 + 20 * 19) / (39 * 38), sharp=0.04)


def test_complete_randomisation_of_an_even_number_is_half_and_half() -> None:
    batch = draw({"allocation": {"method": "complete"}, "practices": {"number": 12}}, trials=200)
    assert np.all(batch.at("arm", "practice").reshape(200, 12).sum(axis=1) == 6)


def test_simple_randomisation_is_a_coin_each() -> None:
    arm = draw({"allocation": {"method": "simple"}}, trials=2500).at("arm", "practice").reshape(2500, 39)
    assert_mean(arm.ravel(), 0.5, sharp=0.01)
    assert_mean((arm.sum(axis=1) - 19.5) ** 2, 39 / 4, sharp=1.5)
