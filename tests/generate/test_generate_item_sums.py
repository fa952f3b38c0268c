"""Scores that are sums of item ratings, some of them not answered: the deal, prorating, and who has no score.

Tolerances are Z = 4.5 standard errors (`simulated.Z`): 7e-6 per check.
"""

from itertools import product
from math import comb, prod
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats
from simulated import Z, assert_mean, assert_person_mean, draw, drawn_by, partners, published

from simtrial.batch import TrialBatch
from simtrial.errors import ScenarioError
from simtrial.generate.outcomes.brief_inspire import BriefInspire
from simtrial.generate.outcomes.instrument import Instrument
from simtrial.generate.outcomes.qpr15 import Qpr15
from simtrial.generate.outcomes.sum_of_items import Answers, ItemScale, answer, implied_alpha, prorate
from simtrial.generate.outcomes.wemwbs import METRIC, Wemwbs, metric, raw
from simtrial.scenario import load

SMALL = ItemScale(4, 0, 2)
SUMS = {"qpr15": Qpr15, "brief_inspire": BriefInspire, "wemwbs": Wemwbs}
LOST = {"item_missing": 0.08, "items_needed": 4}


def deals(total: int, items: int = 4, capacity: int = 2) -> list[tuple[tuple[int, ...], float]]:
    """Every way to deal points among items, with its multivariate hypergeometric probability."""
    ways = [x for x in product(range(capacity + 1), repeat=items) if sum(x) == total]
    return [(x, prod(comb(capacity, one) for one in x) / comb(items * capacity, total)) for x in ways]


def before(stage: str, trials: int = 20) -> TrialBatch:
    """Trials as they are when a stage is drawn."""
    batch = draw(trials=trials)
    added = partners()[stage].adds()
    return TrialBatch(batch.index, {n: c for n, c in batch.columns.items() if n not in added})


@pytest.mark.parametrize(("total", "number"), [(0, 2), (1, 1), (3, 2), (4, 3), (7, 1), (8, 3)])
def test_some_items_of_a_deal_hold_a_hypergeometric_number_of_points(total: int, number: int) -> None:
    """Counted over all ways to deal, which are also what is drawn."""
    found = np.zeros(9)
    for way, probability in deals(total):
        found[sum(way[:number])] += probability
    assert found == pytest.approx(stats.hypergeom.pmf(np.arange(9), 8, total, 2 * number), abs=1e-14)
    answers = answer(np.full(200_000, float(total)), SMALL, 0.4, np.random.default_rng(6))
    points = answers.points[answers.number == number]
    assert len(points) > 25_000
    error = np.sqrt(found * (1 - found) / len(points))
    assert np.all(np.abs(np.bincount(points, minlength=9) / len(points) - found) <= Z * error + 1e-12)


@pytest.mark.parametrize("total", range(9))
def test_the_variance_of_a_prorated_score_is_that_of_sampling_items_without_replacement(total: int) -> None:
    """k^2 (1 - m/k) S^2/m, S^2 the expected variance of a person's ratings (divisor k - 1), over all deals; exactly."""
    spread = sum(p * np.var(way, ddof=1) for way, p in deals(total))
    for m in (1, 2, 3, 4):
        prorated = [(4 * sum(way[:m]) / m, p) for way, p in deals(total)]
        assert sum(p * x for x, p in prorated) == pytest.approx(total)
        variance = sum(p * (x - total) ** 2 for x, p in prorated)
        assert variance == pytest.approx(16 * (1 - m / 4) * spread / m, abs=1e-12)
        assert variance == pytest.approx(total * (8 - total) / 7 * (4 - m) / m, abs=1e-12)


@pytest.mark.parametrize(
    ("scale", "score"),
    [(Qpr15.scale, 30.0), (Qpr15.scale, 4.0), (BriefInspire.scale, 45.0), (ItemScale(7, 1, 5), 19.0)],
)
def test_prorated_scores_have_the_complete_score_as_mean_and_the_variance_of_the_formula(
    scale: ItemScale, score: float
) -> None:
    answers = answer(np.full(100_000, score), scale, 0.15, np.random.default_rng(2))
    found, scored = prorate(answers, scale, np.full(100_000, score), needed=2)
    k, places, n = scale.items, scale.items * scale.capacity, score / scale.points - scale.items * scale.lowest
    assert_mean(answers.number, 0.85 * k, sharp=0.03)
    some = scored & (answers.number < k)
    assert_mean(found[some] - score, 0.0, sharp=0.3)
    m = answers.number[some]
    variance = scale.points**2 * n * (places - n) / (places - 1) * (k - m) / m
    assert_mean((found[some] - score) ** 2 / variance, 1.0, sharp=0.05)
    assert np.all(found[~some] == score)


def test_prorating_by_hand() -> None:
    """3 of 5 items with 6 points are 2 points each: 50%; nothing answered, or too little: the complete score."""
    answers = Answers(np.array([3, 5, 0, 1]), np.array([6, 7, 0, 4]))
    complete = np.array([55.0, 35.0, 20.0, 80.0])
    found, scored = prorate(answers, BriefInspire.scale, complete, needed=2)
    assert found.tolist() == [50.0, 35.0, 20.0, 80.0]
    assert scored.tolist() == [True, True, False, False]
    assert prorate(answers, BriefInspire.scale, complete, needed=1)[0].tolist() == [50.0, 35.0, 20.0, 100.0]


def test_alpha_of_dealt_items_is_formula_21() -> None:
    """Item and total variances over all deals of totals with any distribution; exactly."""
    weights = np.array([1, 4, 6, 7, 5, 5, 3, 2, 1]) / 34
    totals = np.arange(9.0)
    mean = weights @ totals
    variance = weights @ (totals - mean) ** 2
    one = [sum(w * p * way[0] ** power for t, w in enumerate(weights) for way, p in deals(t)) for power in (1, 2)]
    alpha = 4 / 3 * (1 - 4 * (one[1] - one[0] ** 2) / variance)
    assert implied_alpha(SMALL, mean, variance**0.5) == pytest.approx(alpha, rel=1e-12)
    percent = SMALL._replace(points=5.0, lowest=1, highest=3)
    assert implied_alpha(percent, 5 * (mean + 4), 5 * variance**0.5) == pytest.approx(alpha, rel=1e-12)


@pytest.mark.parametrize(("name", "alpha"), [("qpr15", 0.92), ("brief_inspire", 0.91), ("wemwbs", 0.92)])
def test_alphas_that_the_documentation_names(name: str, alpha: float) -> None:
    o = published()[f"outcomes.{name}"]
    assert implied_alpha(SUMS[name].scale, o["baseline_mean"], o["baseline_sd"]) == pytest.approx(alpha, abs=0.005)


@pytest.mark.parametrize("name", SUMS)
def test_items_are_drawn_last_and_nothing_is_drawn_without_them(name: str) -> None:
    """Off: the generator stands where complete scores leave it. On: complete scores are what they are without."""
    stage = f"outcomes.{name}"
    batch = before(stage)
    lost = {**LOST, "short_items_needed": 5} if name == "wemwbs" else LOST
    off, on = (partners(c)[stage] for c in ({}, {stage: lost}))
    first, second = np.random.default_rng(3), np.random.default_rng(3)
    without, complete = off.draw(batch, first), off.complete(batch, second)  # type: ignore[attr-defined]
    assert first.bit_generator.state == second.bit_generator.state
    assert all(np.array_equal(without[n], complete[n]) for n in without)
    if name != "wemwbs":
        plain = Instrument.draw(off, batch, np.random.default_rng(3))  # type: ignore[arg-type]
        assert all(np.array_equal(without[n], plain[n]) for n in plain)
    found = drawn_by(on, batch, seed=3)
    assert set(found) == set(on.adds())
    for one in ("wemwbs", "swemwbs") if name == "wemwbs" else (name,):
        for column in ("if_control", "if_intervention"):
            assert np.array_equal(found[f"{one}_{column}"], without[f"{one}_{column}"])
        for when in ("baseline", "followup"):
            everything = found[f"{one}_items_{when}"] == (7 if one == "swemwbs" else on.scale.items)  # type: ignore[attr-defined]
            same = found[f"{one}_{when}"] == without[f"{one}_{when}"]
            assert np.all(same[everything])
            assert not np.all(same)


@pytest.mark.parametrize("name", ["qpr15", "brief_inspire"])
def test_a_draw_equals_a_plain_loop_given_the_same_random_numbers(name: str) -> None:
    stage = f"outcomes.{name}"
    batch, rng = before(stage, trials=3), np.random.default_rng(7)
    step = partners({stage: LOST})[stage]
    values = step.complete(batch, rng)  # type: ignore[attr-defined]
    found, people = drawn_by(step, batch, seed=7), range(batch.index.participants)
    k, points = (15, 1.0) if name == "qpr15" else (5, 5.0)
    for when in ("baseline", "followup"):
        total = [int(t / points) for t in values[f"{name}_{when}"]]
        number = [rng.binomial(k, 0.92) for _ in people]
        held = [rng.hypergeometric(4 * number[i], 4 * (k - number[i]), total[i]) for i in people]
        for i in people:
            scored = number[i] >= 4
            expected = points * (k * held[i] / number[i] if scored else total[i])
            assert found[f"{name}_{when}"][i] == pytest.approx(expected, rel=1e-14)
            assert found[f"{name}_items_{when}"][i] == number[i]
            assert found[f"{name}_scored_{when}"][i] == scored


def test_shares_with_items_left_out_and_without_a_score() -> None:
    """1 - (1 - p)^k, and P(Bin(k, 1 - p) < needed); every score absent is blank, every score there is seen."""
    needed = {"qpr15": 13, "brief_inspire": 5, "wemwbs": 12}
    changes: dict[str, Any] = {f"outcomes.{n}": {"item_missing": 0.08, "items_needed": m} for n, m in needed.items()}
    changes |= {"missingness": {"instruments": {}}, "dropout": {"rate": 0.0, "died": 0.0}}
    batch = draw(changes, trials=400)
    seen = batch.observed()
    for name, items in (("qpr15", 15), ("brief_inspire", 5), ("wemwbs", 14), ("swemwbs", 7)):
        least = needed.get(name, 7)
        for when in ("baseline", "followup"):
            number, scored = batch.at(f"{name}_items_{when}"), batch.at(f"{name}_scored_{when}")
            assert_mean(number < items, 1 - 0.92**items, sharp=0.01)
            assert_mean(scored == 0, float(stats.binom.cdf(least - 1, items, 0.92)), sharp=0.01)
            assert np.array_equal(scored == 1, number >= least)
            assert np.array_equal(np.isnan(seen.at(f"{name}_{when}")), scored == 0)
            assert np.all(np.isfinite(batch.at(f"{name}_{when}")))


@pytest.fixture(scope="module")
def halves() -> tuple[TrialBatch, TrialBatch]:
    """Wellbeing with some items left out, and the same people with complete scores."""
    lost = {"item_missing": 0.1, "items_needed": 11, "short_items_needed": 5}
    return draw({"outcomes.wemwbs": lost}, trials=400), draw(trials=400)


def test_both_wellbeing_scales_lose_the_same_items(halves: tuple[TrialBatch, TrialBatch]) -> None:
    """14 items less the 7 of the short scale are 7 more, lost independently: covariance of the counts 7 p (1 - p)."""
    batch = halves[0]
    for when in ("baseline", "followup"):
        long, short = batch.at(f"wemwbs_items_{when}"), batch.at(f"swemwbs_items_{when}")
        others = long - short
        assert set(np.unique(others)) <= set(range(8))
        for count in (short, others):
            assert_mean(count == 7, 0.9**7, sharp=0.01)
            assert_mean(count, 6.3, sharp=0.02)
        assert_mean((short - 6.3) * (others - 6.3), 0.0, sharp=0.02)
        assert_mean((short - 6.3) * (long - 12.6), 0.63, sharp=0.02)
        scored, short_scored = batch.at(f"wemwbs_scored_{when}"), batch.at(f"swemwbs_scored_{when}")
        assert np.array_equal(scored == 1, long >= 11)
        assert np.array_equal(short_scored == 1, short >= 5)
        # whoever lacks 4 or more of the short scale's items lacks them of the long one: neither has a score
        assert np.all(scored[short <= 3] == 0)
        assert np.any(scored > short_scored)
        assert np.any(scored < short_scored)


def test_wellbeing_is_prorated_from_the_points_of_both_halves(halves: tuple[TrialBatch, TrialBatch]) -> None:
    """Given the counts: var = 14^2/m^2 (V7 + V'7), V of either half, about 14/m (m7 A/7 + m'7 B/7), A + B = T."""
    batch, complete = halves
    long, short = batch.at("wemwbs_items_baseline"), batch.at("swemwbs_items_baseline")
    total, seven = complete.at("wemwbs_baseline"), raw(complete.at("swemwbs_baseline"))
    difference = batch.at("wemwbs_baseline") - total
    assert_person_mean(difference, batch.index, 0.0, sharp=0.03)
    expected, variance = np.zeros(len(total)), np.zeros(len(total))
    for number, half in ((short, seven), (long - short, total - seven)):
        expected += number * half / 7
        variance += number / 7 * (1 - number / 7) * (half - 7) * (35 - half) / 27
    some = (batch.at("wemwbs_scored_baseline") == 1) & (variance > 0)
    m = long[some]
    centre = difference[some] - (14 * expected[some] / m - total[some])
    assert_mean(centre / np.sqrt(196 / m**2 * variance[some]), 0.0, sharp=0.03)
    assert_mean(centre**2 * m**2 / (196 * variance[some]), 1.0, sharp=0.05)


def test_wellbeing_equals_a_plain_loop_given_the_same_random_numbers() -> None:
    """The short score is the metric value of its own prorated sum, rounded to a whole number, halves upwards."""
    stage = "outcomes.wemwbs"
    batch, rng = before(stage, trials=3), np.random.default_rng(5)
    step = partners({stage: {"item_missing": 0.15, "items_needed": 11, "short_items_needed": 5}})[stage]
    values = step.complete(batch, rng)  # type: ignore[attr-defined]
    found, people = drawn_by(step, batch, seed=5), range(batch.index.participants)
    table = METRIC.tolist()
    for when in ("baseline", "followup"):
        seven = [table.index(x) + 7 for x in values[f"swemwbs_{when}"]]
        total = [int(x) for x in values[f"wemwbs_{when}"]]
        m = [rng.binomial(7, 0.85) for _ in people]
        points = [rng.hypergeometric(4 * m[i], 28 - 4 * m[i], seven[i] - 7) for i in people]
        n = [rng.binomial(7, 0.85) for _ in people]
        others = [rng.hypergeometric(4 * n[i], 28 - 4 * n[i], total[i] - seven[i] - 7) for i in people]
        for i in people:
            own = 7 + 7 * points[i] / m[i] if m[i] >= 5 else seven[i]
            assert found[f"swemwbs_{when}"][i] == table[int(own + 0.5) - 7]
            both = m[i] + n[i]
            expected = 14 + 14 * (points[i] + others[i]) / both if both >= 11 else total[i]
            assert found[f"wemwbs_{when}"][i] == pytest.approx(expected, rel=1e-14)
            assert found[f"wemwbs_items_{when}"][i] == both
            assert found[f"swemwbs_items_{when}"][i] == m[i]


def test_raw_sums_are_read_back_from_the_metric_score() -> None:
    assert raw(metric(np.arange(7.0, 36))).tolist() == list(range(7, 36))


@pytest.mark.parametrize("name", ["tus", "icecap_a", "eq5d5l"])
@pytest.mark.parametrize("key", ["item_missing", "items_needed"])
def test_instruments_that_are_not_sums_refuse_items(name: str, key: str) -> None:
    with pytest.raises(ScenarioError, match=rf"{key}: .* is not a sum of item ratings, so nothing can be prorated"):
        load("partners", [f"mechanism.outcomes.{name}.{key}=1"])


@pytest.mark.parametrize(
    ("stage", "options", "said"),
    [
        ("outcomes.brief_inspire", {"items_needed": 6}, "items_needed must be at most 5, the number of items; 6"),
        ("outcomes.qpr15", {"items_needed": 16}, "less than or equal to 15"),
        ("outcomes.wemwbs", {"short_items_needed": 8}, "less than or equal to 7"),
        ("outcomes.qpr15", {"item_missing": 1.0}, "less than 1"),
        ("outcomes.qpr15", {"item_missing": 0.1, "grid": 0.0}, "made of 15 ratings from 0 to 4: lowest = 0, highest"),
        ("outcomes.brief_inspire", {"item_missing": 0.1, "grid": 1.0}, "lowest = 0, highest = 100, grid = 5"),
        ("outcomes.wemwbs", {"item_missing": 0.1, "highest": 80.0}, "ratings from 1 to 5: lowest = 14, highest = 70"),
    ],
)
def test_impossible_items_are_refused(stage: str, options: dict[str, float], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        partners({stage: options})
