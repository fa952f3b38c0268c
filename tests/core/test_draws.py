"""Trials drawn by either core are the same to the last bit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cores import needs_compiled

from simtrial import core
from simtrial.batch import TrialBatch, blanked
from simtrial.generate import simulate
from simtrial.generate.allocation.minimisation import minimise
from simtrial.generate.by_person import alike, spared, stays, weighted_sum, with_effect
from simtrial.generate.by_practice import (
    from_baseline,
    in_arm,
    practice_of_people,
    recorded_in_arm,
    with_practices,
)
from simtrial.generate.delivery.sessions import CELLS, PER_SCORE, sessions_at
from simtrial.generate.distributions.tables import (
    SCORES,
    beta_quantiles,
    between_scores,
    gamma_quantiles,
    in_random_order,
    invert,
    record,
)
from simtrial.scenario import load
from simtrial.seeding import stream

pytestmark = needs_compiled


@pytest.mark.parametrize("name", ["partners", "verify/estimators", "verify/informative-size", "published/wang-2024"])
def test_every_column(name: str) -> None:
    cell = load(name)[1][-1]
    assert_same_columns(lambda: simulate(cell.scenario.mechanism, 60, 3, cell.key, 0))


def either(function: Callable[[], Any]) -> list[Any]:
    """What either core makes of the same."""
    found = []
    for one in core.CORES:
        with core.using(one):
            found.append(function())
    return found


def assert_same_columns(drawn: Callable[[], TrialBatch]) -> None:
    """Check that trials drawn with either core are equal, and blank where they are observed alike."""
    first, second = either(drawn)
    for one, other in ((first, second), (first.observed(), second.observed())):
        assert one.columns.keys() == other.columns.keys()
        for column, there in one.columns.items():
            assert there.values.tobytes() == other.columns[column].values.tobytes(), column


ODD = {
    "heavy tails": ("mansa.residuals='t'", "mansa.practice_effects='skewed'"),
    "items": ("mansa.form='items'", "mansa.item_missing=0.1"),
    "no grid": ("mansa.items=0",),
    "an end at 0": ("mansa.lowest=0.0", "mansa.mean=0.3"),
    "other residuals in the other arm": ("mansa.residual_sd_intervention=0.9", "mansa.effect_sd=0.2"),
    "nothing goes with the baseline": ("mansa.baseline_slope=0.0", "mansa.effect_among=''"),
    "access in control": ("delivery.control_access=0.3", "delivery.defiers=0.1"),
    "everybody has contact": ("delivery.no_contact=0.0", "delivery.availability_correlation=1.0"),
    "hardly anybody has": ("delivery.no_contact=0.95", "delivery.availability_months=6"),
    "many sessions": ("delivery.sessions_mu=5000.0",),
    "hardly any": ("delivery.sessions_mu=0.01", "delivery.sessions_shape=0.05"),
    "whole practices are lost": ("dropout.practice_rate=0.3", "dropout.withdrawn_before_baseline=0.1"),
    "two practices": ("practices.number=2",),
    "many practices": ("practices.number=300",),
    "some never open": ("practices.until_participants=60",),
    "classes at random": ("practices.counts='random'",),
}


@pytest.mark.parametrize("trials", [1, 7])
@pytest.mark.parametrize("name", ODD)
def test_every_column_of_odd_trials(name: str, trials: int) -> None:
    changes = [f"mechanism.{'outcomes.' * text.startswith('mansa')}{text}" for text in ODD[name]]
    scenario = load("partners", changes)[0]
    assert_same_columns(lambda: simulate(scenario.mechanism, trials, 5, "", 0))
    assert_same_columns(lambda: simulate(scenario.needed, trials, 5, "", 0))


def test_every_column_of_trials_with_practices_without_people() -> None:
    few = [f"mechanism.identification.enrolment_{arm}=0.2" for arm in ("control", "intervention")]
    mechanism = load("partners", few)[0].mechanism
    index = simulate(mechanism, 30, 5, "", 0).index
    assert len(np.unique(index.participant_practice)) < index.practices
    assert_same_columns(lambda: simulate(mechanism, 30, 5, "", 0))


@pytest.mark.parametrize("imbalance", ["range", "variance", "marginal-sum"])
@pytest.mark.parametrize("ratio", [(1, 1), (2, 1), (1, 3)])
@pytest.mark.parametrize("weights", [None, (0.1, 0.2, 0.3)])
def test_minimisation(imbalance, ratio, weights) -> None:
    rng = np.random.default_rng([ratio[0], ratio[1], len(imbalance)])
    sizes = rng.integers(0, 60, 40)
    trial = np.repeat(np.arange(40), sizes)
    levels, coins, order = rng.integers(0, 4, (3, len(trial))), rng.random(len(trial)), rng.random(len(trial))
    arms = []
    for one in core.CORES:
        with core.using(one):
            arms += [
                minimise(levels, coins, trial, best=0.8, imbalance=imbalance, weights=weights, ratio=ratio, order=when)
                for when in (None, order)
            ]
    np.testing.assert_array_equal(arms[0], arms[2])
    np.testing.assert_array_equal(arms[1], arms[3])


def test_inversion() -> None:
    rng = np.random.default_rng(5)
    for entries in (1, 2, 40, 5000):
        table = np.cumsum(rng.dirichlet(np.full(entries, 0.05)))
        table[-1] = 1.0
        uniform = np.concatenate([rng.random(3000), table, np.nextafter(table, 2), np.nextafter(table, -1),
                                  np.arange(1025) / 1024])  # fmt: skip
        uniform = np.clip(uniform, 0.0, 1.0)
        found = []
        for one in core.CORES:
            with core.using(one):
                found.append(invert(table, uniform))
        np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("quantiles", [beta_quantiles(5.0, 1.3)[1], gamma_quantiles(0.3)[1], np.zeros(len(SCORES))])
def test_quantiles_between_scores_are_those_of_interp(quantiles: np.ndarray) -> None:
    rng = np.random.default_rng(8)
    odd = np.array([-np.inf, -1e300, -8.0, 8.0, 1e300, np.inf, 0.0, -0.0, 5e-324])
    scores = [rng.standard_normal(20_000), rng.uniform(-9, 9, 20_000), SCORES, np.nextafter(SCORES, 9),
              np.nextafter(SCORES, -9), odd]  # fmt: skip
    for normal in (np.concatenate(scores), np.zeros(0)):
        for found in either(lambda normal=normal: between_scores(normal, quantiles)):
            np.testing.assert_array_equal(found, np.interp(normal, SCORES, quantiles))


@pytest.mark.parametrize(("trials", "size"), [(0, 3), (1, 1), (5, 2), (40, 39), (3, 256), (2, 257)])
def test_random_order_with_ties(trials: int, size: int) -> None:
    rng = np.random.default_rng([trials, size])
    codes = rng.integers(0, 4, size)
    for uniform in (rng.random((trials, size)), np.floor(4 * rng.random((trials, size))) / 4, np.zeros((trials, size))):
        stable = codes[np.argsort(uniform, axis=1, kind="stable")]
        for found in either(lambda uniform=uniform: in_random_order(codes, uniform)):
            np.testing.assert_array_equal(found, stable)


@pytest.mark.parametrize(
    ("items", "lowest", "highest"), [(11, 1.0, 7.0), (0, 1.0, 7.0), (1, 0.0, 3.0), (7, -np.inf, 5)]
)
def test_recorded_scores(items: int, lowest: float, highest: float) -> None:
    rng, odd = np.random.default_rng(9), np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, -0.01, 0.5, 1.5, 2.5, 1e300])
    score = np.concatenate([rng.normal(3.0, 3.0, 5000), np.arange(-90, 90) / 22, odd])
    rounded = np.round(score * items) / items if items else score
    for found in either(lambda: record(score, items, lowest, highest)):
        assert found.tobytes() == np.clip(rounded, lowest, highest).tobytes()
    for found in either(lambda: record(again := score.copy(), items, lowest, highest, out=again)):
        assert found.tobytes() == np.clip(rounded, lowest, highest).tobytes()


@pytest.mark.parametrize("sizes", [(), (0,), (1,), (3, 0, 0, 5, 1), (0, 2, 0)])
def test_values_of_people_by_practice(sizes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(sizes))
    practice, effects = np.repeat(np.arange(len(sizes)), sizes), rng.standard_normal(len(sizes))
    expected, own, other = rng.standard_normal((3, len(practice)))
    arm = rng.integers(0, 2, len(sizes))
    for mean in (expected, 0.3):
        for found in either(lambda mean=mean: with_practices(mean, effects, practice, own, 0.7)):
            np.testing.assert_array_equal(found, mean + effects[practice] + 0.7 * own)
        for found in either(lambda mean=mean: with_practices(mean, effects, practice, b := own.copy(), 0.7, out=b)):
            np.testing.assert_array_equal(found, mean + effects[practice] + 0.7 * own)
    for control in (own, 0.0, np.nan):
        for found in either(lambda control=control: in_arm(arm, practice, control, other)):
            np.testing.assert_array_equal(found, np.where(arm[practice] == 1, other, control))
    for found in either(lambda: from_baseline(expected, (4.31, 0.615, 4.53), effects, practice, own, 0.7)):
        exact = (expected - 4.31) * 0.615 + 4.53 + effects[practice] + 0.7 * own
        assert found.tobytes() == exact.tobytes()
    for found in either(lambda: practice_of_people(np.array(sizes, dtype=np.intp))):
        np.testing.assert_array_equal(found, practice)
        assert found.dtype == np.intp


@pytest.mark.parametrize("people", [0, 1, 7, 8, 9, 511, 512, 513, 3000])
def test_people_of_practices_of_any_size(people: int) -> None:
    rng = np.random.default_rng(people)
    for practices in (1, 3, 40, 900):
        sizes = rng.multinomial(people, rng.dirichlet(np.full(practices, 0.3)))
        for found in either(lambda sizes=sizes: practice_of_people(sizes)):
            np.testing.assert_array_equal(found, np.repeat(np.arange(len(sizes)), sizes))


@pytest.mark.parametrize("people", [0, 1, 511, 512, 1025])
@pytest.mark.parametrize("scale", [(11, 1.0, 7.0), (0, -np.inf, np.inf), (7, 0.0, 5.0)])
def test_both_potential_scores_recorded(people: int, scale: tuple[int, float, float]) -> None:
    rng = np.random.default_rng([people, scale[0]])
    practice, arm = np.sort(rng.integers(0, 30, people)), rng.integers(0, 2, 30)
    control, intervention = rng.normal(4.0, 2.0, (2, people))
    control[:3], intervention[-3:] = [np.nan, -0.0, np.inf][:people], [-np.inf, np.nan, 0.04][:people]
    before, after = (record(score, *scale) for score in (control, intervention))

    def kept() -> list[np.ndarray]:
        both = control.copy(), intervention.copy()
        return [recorded_in_arm(arm, practice, *both, scale), *both]

    for found in either(kept):
        np.testing.assert_array_equal(found, [np.where(arm[practice] == 1, after, before), before, after])


ODD_NUMBERS = np.array([np.inf, -np.inf, 0.0, -0.0, 5e-324, 1e300, -1e300])


@pytest.mark.parametrize("people", [0, 1, 6, 1003])
def test_values_of_people(people: int) -> None:
    rng = np.random.default_rng(people)
    one, other, uniform = rng.standard_normal(people), rng.standard_normal(people), rng.random(people)
    one[: len(ODD_NUMBERS)] = ODD_NUMBERS[:people]
    reached = uniform < 0.4
    for found in either(lambda: weighted_sum(-0.2, one, 0.98, other)):
        assert found.tobytes() == (-0.2 * one + 0.98 * other).tobytes()
    for found in either(lambda: weighted_sum(-0.2, one, 0.98, again := other.copy(), out=again)):
        assert found.tobytes() == (-0.2 * one + 0.98 * other).tobytes()
    for effect in (0.045, -0.045, other):
        for found in either(lambda effect=effect: with_effect(one, effect, reached)):
            assert found.tobytes() == (one + effect * reached).tobytes()
    drawn = stream(1, "", 0, "marks").random(people)
    for number in (0.0, 0.4, 1.0, *drawn[:2]):
        for found in either(lambda number=number: spared(stream(1, "", 0, "marks"), people, number)):
            np.testing.assert_array_equal(found, drawn >= number)
            assert found.dtype == np.float64
        for found in either(lambda number=number: stays(one, 0.3, stream(1, "", 0, "marks"), number)):
            np.testing.assert_array_equal(found, (one <= 0.3) & ~(drawn < number))
            assert found.dtype == np.float64
    for found in either(lambda: blanked(one, reached, np.nan)):
        np.testing.assert_array_equal(found, np.where(reached, np.nan, one))


def test_one_value_for_all_is_held_once_and_read_only() -> None:
    for value in (0.0, np.nan):
        found = alike(value, 5)
        np.testing.assert_array_equal(found, np.full(5, value))
        assert (found.strides, found.flags.writeable) == ((0,), False)
    own = np.arange(3.0)
    assert alike(own, 3) is own


LAWS = [(0.09, 10.05, 3.0), (0.0, 10.4, 0.05), (0.97, 2.0, 3.0), (0.2, 300.0, 5.0), (0.5, 0.001, np.inf)]


@pytest.mark.parametrize("law", LAWS)
def test_sessions_are_those_of_their_probabilities(law: tuple[float, float, float]) -> None:
    from scipy.special import ndtr, ndtri

    from simtrial.generate.distributions.tables import truncated_negative_binomial

    no_contact, mu, shape = law
    rng, table = np.random.default_rng(7), truncated_negative_binomial(mu, shape)
    steps = ndtri(no_contact + (1.0 - no_contact) * np.concatenate([[0.0], table]))
    near = [steps + gap for gap in (0.0, 1e-15, -1e-15, 1e-9, -1e-9, 1e-6, -1e-6)]
    cells = (np.arange(CELLS + 1) - CELLS // 2) / PER_SCORE
    edges = [cells, np.nextafter(cells, 9), np.nextafter(cells, -9)]
    odd = [np.array([-1e12, -40.0, -5.2, 5.2, 9.0, 40.0, 1e12])]
    score = np.concatenate([rng.standard_normal(50_000), rng.uniform(-6, 6, 50_000), *near, *edges, *odd])
    score = score[np.isfinite(score)]
    uniform = ndtr(score)
    attended = np.clip((uniform - no_contact) / (1.0 - no_contact), 0.0, 1.0)
    exact = np.where(uniform < no_contact, 0.0, np.searchsorted(table, attended) + 1.0)
    practice = np.zeros(len(score), dtype=np.int64)
    for found in either(lambda: sessions_at(np.zeros(1), practice, score, 1.0, law)):
        np.testing.assert_array_equal(found, exact)
