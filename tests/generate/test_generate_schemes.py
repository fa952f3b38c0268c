"""Allocation beyond minimisation one to one: ragged trials, ratios, blocks, constrained randomisation, replays."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from simulated import assert_mean, draw

from simtrial.batch import Index, TrialBatch
from simtrial.errors import ScenarioError
from simtrial.generate import Variable
from simtrial.generate.allocation.allocation import Allocation, allocate
from simtrial.generate.allocation.constrained import imbalance, standardised
from simtrial.generate.allocation.minimisation import minimise, preferred
from simtrial.generate.allocation.permuted_blocks import permuted_blocks

SIZES = np.array([1, 7, 39, 4, 12])
TRIAL = np.repeat(np.arange(5), SIZES)


def options(method: str, **more: Any) -> Allocation:
    return Allocation.model_validate({"method": method, **more})


def ragged(seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    region, size = rng.integers(0, 4, len(TRIAL)), rng.integers(0, 2, len(TRIAL))
    return {"region": region, "practice_size": size, "register_size": rng.gamma(3.0, 20.0, len(TRIAL))}


def minimise_by_hand(levels, coins, best, criterion, weights, ratio):
    """Slow twin for one trial: counts divided by the ratio, whole totals of either choice, in plain loops."""
    from fractions import Fraction

    r = [Fraction(x) for x in ratio]
    arms = []
    for k in range(len(coins)):
        totals = []
        for candidate in (0, 1):
            total = Fraction(0)
            for factor, weight in zip(levels, weights, strict=True):
                n = [sum(1 for i in range(k) if factor[i] == factor[k] and arms[i] == a) for a in (0, 1)]
                before = n[candidate] / r[candidate]
                n[candidate] += 1
                d = n[1] / r[1] - n[0] / r[0]
                total += Fraction(weight) * {"marginal-sum": before, "range": abs(d), "variance": d * d}[criterion]
            totals.append(total)
        few, many = sorted(ratio)
        chosen = {a: best if ratio[a] == few else 1 - (1 - best) * few / many for a in (0, 1)}
        if totals[0] == totals[1]:
            probability = ratio[1] / sum(ratio)
        else:
            probability = chosen[1] if totals[1] < totals[0] else 1 - chosen[0]
        arms.append(int(coins[k] < probability))
    return arms


@pytest.mark.parametrize("criterion", ["range", "variance", "marginal-sum"])
@pytest.mark.parametrize("ratio", [(1, 1), (1, 2), (3, 2)])
@pytest.mark.parametrize("weights", [(1, 1), (2, 1)])
def test_minimisation_of_ragged_trials_equals_a_plain_loop(criterion, ratio, weights) -> None:
    data, coins = ragged(), np.random.default_rng(2).random(len(TRIAL))
    levels = np.stack([data["region"], data["practice_size"]])
    arm = minimise(levels, coins, TRIAL, best=0.9, imbalance=criterion, weights=weights, ratio=ratio)
    for trial in range(5):
        rows = TRIAL == trial
        by_hand = minimise_by_hand(levels[:, rows].tolist(), coins[rows].tolist(), 0.9, criterion, weights, ratio)
        assert arm[rows].tolist() == by_hand


def test_variance_and_marginal_sum_decide_alike_one_to_one_and_range_does_not() -> None:
    rng = np.random.default_rng(3)
    trial = np.repeat(np.arange(200), 39)
    levels, coins = rng.integers(0, 3, (3, len(trial))), rng.random(len(trial))
    arms = [minimise(levels, coins, trial, best=1.0, imbalance=i) for i in ("variance", "marginal-sum", "range")]
    assert np.array_equal(arms[0], arms[1])
    assert not np.array_equal(arms[0], arms[2])


@pytest.mark.parametrize("method", ["simple", "complete", "minimisation", "blocks", "constrained"])
@pytest.mark.parametrize("number", [1, 2, 13])
def test_equal_trials_are_a_special_case_and_every_method_takes_ragged_ones(method: str, number: int) -> None:
    step = options(method, factors=["region", "practice_size"], candidates=20)
    arm = allocate(step, ragged(), TRIAL, np.random.default_rng(1))
    assert set(np.unique(arm)) <= {0, 1}
    trial = np.repeat(np.arange(3), number)
    columns = {"region": trial * 0, "practice_size": trial * 0}
    assert allocate(step, columns, trial, np.random.default_rng(1)).shape == trial.shape


def test_ragged_complete_randomisation_halves_every_trial() -> None:
    for seed in range(20):
        arm = allocate(options("complete"), {}, TRIAL, np.random.default_rng(seed))
        assert np.all(np.abs(2 * np.bincount(TRIAL, weights=arm) - SIZES) <= 1)


@pytest.mark.parametrize("ratio", [[1, 2], [3, 1]])
@pytest.mark.parametrize("method", ["simple", "complete", "minimisation", "blocks", "constrained"])
def test_practices_are_allocated_in_the_ratio(method: str, ratio: list[int]) -> None:
    trials, number = (200, 240) if method == "minimisation" else (1500, 24)
    trial = np.repeat(np.arange(trials), number)
    rng = np.random.default_rng(4)
    columns = {"region": rng.integers(0, 3, len(trial)), "practice_size": rng.integers(0, 2, len(trial))}
    step = options(method, factors=list(columns), ratio=ratio, block_sizes=[12, 24], candidates=5, share=0.2,
                   imbalance="marginal-sum")  # fmt: skip
    treated = np.bincount(trial, weights=allocate(step, columns, trial, rng))
    if method in ("complete", "constrained"):
        assert np.all(treated == number * ratio[1] / sum(ratio))
    elif method in ("simple", "blocks"):
        assert_mean(treated / number, ratio[1] / sum(ratio), sharp=0.02)
    else:  # the excess of an arm stays bounded, however many practices: below one practice of 240
        assert treated.mean() == pytest.approx(number * ratio[1] / sum(ratio), abs=1.0)
        assert treated.std() < 0.5 * np.sqrt(number * ratio[0] * ratio[1]) / sum(ratio)


@pytest.mark.parametrize("ratio", [(1, 1), (1, 2), (5, 2)])
def test_biased_coins_keep_the_ratio_when_arms_are_preferred_in_the_ratio(ratio) -> None:
    up, down = preferred(0.85, ratio)
    share = ratio[1] / sum(ratio)
    assert share * up + (1 - share) * down == pytest.approx(share, abs=1e-15)


def test_imbalance_by_design_has_the_exact_number() -> None:
    for method in ("complete", "constrained"):
        changes = {"method": method, "intervention_practices": 26, "candidates": 10}
        arm = draw({"allocation": changes}, trials=50).at("arm", "practice").reshape(50, 39)
        assert np.all(arm.sum(axis=1) == 26)
    with pytest.raises(ScenarioError, match="below the 1 practices"):
        allocate(options("complete", intervention_practices=3), {}, TRIAL, np.random.default_rng(1))


def test_blocks_balance_every_stratum_exactly_when_full_and_within_half_a_block_otherwise() -> None:
    step = options("blocks", factors=["region"], block_sizes=[2, 4])
    for seed in range(30):
        data = ragged(seed)
        arm = allocate(step, data, TRIAL, np.random.default_rng(seed))
        cell = TRIAL * 4 + data["region"]
        assert np.abs(np.bincount(cell, weights=2 * arm - 1)).max() <= 2
    trial = np.repeat(np.arange(100), 8)
    full = allocate(options("blocks", block_sizes=[4]), {}, trial, np.random.default_rng(1)).reshape(100, 2, 4)
    assert np.all(full.sum(axis=2) == 2)


def test_every_order_of_a_block_is_equally_likely() -> None:
    trial = np.repeat(np.arange(12_000), 4)
    coins = np.random.default_rng(5).random(len(trial))
    arm = permuted_blocks(trial * 0, coins, trial * 0 + 4, trial).reshape(-1, 4)
    for chosen in combinations(range(4), 2):
        assert_mean(arm[:, chosen].all(axis=1), 1 / 6, sharp=0.02)


def test_block_sizes_are_drawn_alike() -> None:
    """With blocks of 2 and 4 the first two practices differ always and in two thirds of the trials."""
    trial = np.repeat(np.arange(12_000), 2)
    arm = allocate(options("blocks", block_sizes=[2, 4]), {}, trial, np.random.default_rng(6)).reshape(-1, 2)
    assert_mean(arm[:, 0] != arm[:, 1], (1 + 2 / 3) / 2, sharp=0.02)


def test_standardised_differences_of_arm_means_by_hand() -> None:
    data = ragged()
    rows = TRIAL == 2
    factors, numbers = [(data["region"], 3.0), (data["practice_size"], 1.0)], [(data["register_size"], 2.0)]
    covariates, weights = standardised(factors, numbers, TRIAL)
    arm = np.random.default_rng(1).integers(0, 2, len(TRIAL))
    here = arm[rows] == 1

    def squared(values: np.ndarray) -> float:
        return float(((values[here].mean() - values[~here].mean()) / values.std()) ** 2)

    region = np.mean([squared((data["region"][rows] == r).astype(float)) for r in range(4)])
    by_hand = 3 * region + squared(data["practice_size"][rows] * 1.0) + 2 * squared(data["register_size"][rows])
    found = imbalance(covariates, weights, arm, TRIAL)
    assert found[2] == pytest.approx(by_hand, rel=1e-12)
    assert found[0] == 0  # one practice


def test_constrained_randomisation_takes_schemes_below_the_quantile_of_all_and_favours_no_practice() -> None:
    """All 924 schemes of 12 practices give the quantile; the best tenth of 200 draws lies at it, not each below."""
    x = np.sqrt([2.0, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 97])  # no two schemes tie but mirror images
    every = np.array([np.isin(np.arange(12), c) for c in combinations(range(12), 6)]).ravel()
    of_all = imbalance(*standardised([], [(np.tile(x, 924), 1.0)], np.repeat(np.arange(924), 12)), every,
                       np.repeat(np.arange(924), 12))  # fmt: skip
    trials = 3000
    trial = np.repeat(np.arange(trials), 12)
    columns = {"register_size": np.tile(x, trials)}
    step = options("constrained", numeric=["register_size"], candidates=200, share=0.1)
    arm = allocate(step, columns, trial, np.random.default_rng(7))
    scores = imbalance(*standardised([], [(columns["register_size"], 1.0)], trial), arm, trial)
    rank = np.searchsorted(np.sort(of_all), scores - 1e-12) / 924
    # the best 20 of 200 uniform ranks, one of them: mean (20 + 1)/2/201; the schemes are discrete to 2/924
    assert rank.mean() == pytest.approx(10.5 / 201, abs=4.5 * rank.std() / np.sqrt(trials) + 2 / 924)
    assert np.quantile(scores, 0.95) < np.quantile(of_all, 0.15)
    for practice in range(12):
        assert_mean(arm.reshape(trials, 12)[:, practice], 0.5, sharp=0.05)


def test_a_random_order_of_arrival_is_a_permutation_of_the_same_algorithm() -> None:
    data = ragged()
    step = options("minimisation", factors=["region", "practice_size"], order="random")
    rng = np.random.default_rng(8)
    coins, keys = rng.random(len(TRIAL)), rng.random(len(TRIAL))
    order = np.lexsort((keys, TRIAL))
    levels = np.stack([data["region"], data["practice_size"]])[:, order]
    expected = np.empty(len(TRIAL), dtype=np.int64)
    expected[order] = minimise(levels, coins[order], TRIAL, best=0.8)
    assert np.array_equal(allocate(step, data, TRIAL, np.random.default_rng(8)), expected)


def test_the_stage_allocates_as_the_pure_function_does_and_one_trial_can_be_replayed() -> None:
    data = ragged()
    step = options("minimisation", factors=["region", "practice_size"])
    from simtrial.batch import Column

    columns = {n: Column(v, "practice", ("a", "b", "c", "d")) for n, v in data.items()}
    batch = TrialBatch(Index(5, TRIAL, np.zeros(0, dtype=np.intp)), columns)
    drawn = step.draw(batch, np.random.default_rng(9))["arm"]
    assert np.array_equal(drawn, allocate(step, data, TRIAL, np.random.default_rng(9)))
    rows = TRIAL == 4
    repeats = {n: np.tile(v[rows], 4000) for n, v in data.items()}
    again = allocate(step, repeats, np.repeat(np.arange(4000), 12), np.random.default_rng(10)).reshape(4000, 12)
    assert_mean(again[:, 5], 0.5, sharp=0.05)
    assert len(np.unique(again, axis=0)) > 500


@pytest.mark.parametrize(
    ("method", "more", "told"),
    [
        ("minimisation", {}, "minimisation needs factors"),
        ("constrained", {}, "needs factors or numeric"),
        ("blocks", {"block_sizes": [3]}, "multiples of 2"),
        ("blocks", {"block_sizes": [4], "ratio": [1, 2]}, "multiples of 3"),
        ("simple", {"intervention_practices": 5}, "simple cannot hold it"),
        ("complete", {"intervention_practices": 5, "ratio": [1, 2]}, "leave one out"),
        ("minimisation", {"factors": ["region"], "weights": {"regoin": 2.0}}, "did you mean 'region'"),
        ("constrained", {"factors": ["region"], "candidates": 5, "share": 0.1}, "no scheme"),
        ("blocks", {"strata": ["region", "region"]}, "named twice"),
    ],
)
def test_impossible_allocations_are_refused(method: str, more: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        options(method, **more)


def test_factors_and_numbers_must_be_those_of_practices() -> None:
    available = {"region": Variable("practice", "", categories=("a",)), "age": Variable("participant", ""),
                 "register_size": Variable("practice", "")}  # fmt: skip
    wrong = options("constrained", factors=["register_size"], numeric=["region", "age"]).problems(available)
    assert [key for key, _ in wrong] == ["factors", "numeric", "numeric"]
    assert not options("constrained", factors=["region"], numeric=["register_size"]).problems(available)
