"""The funnel before randomisation."""

from itertools import pairwise

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats
from simulated import assert_mean, assert_ratio, draw, drawn_by, partners, practices_only

from simtrial.batch import Column, TrialBatch
from simtrial.generate.practices.screening import STEPS, before


@pytest.mark.parametrize(("kept", "rate"), [(5, 0.4), (1, 0.9), (39, 0.9512)])
def test_those_before_are_negative_binomial(kept: int, rate: float) -> None:
    drawn = before(np.full(40_000, kept), rate, np.random.default_rng(1))
    law = stats.nbinom(kept, rate, loc=kept)
    assert_mean(drawn, law.mean(), sharp=0.1)
    assert_mean((drawn - law.mean()) ** 2, law.var(), sharp=0.12 * law.var() + 0.01)
    assert_mean(drawn == kept, law.pmf(kept), sharp=0.02)


def test_nobody_is_lost_at_a_rate_of_one_and_nobody_comes_from_none() -> None:
    rng = np.random.default_rng(1)
    assert before(np.array([0, 3, 7]), 1.0, rng).tolist() == [0, 3, 7]
    assert before(np.array([0]), 0.2, rng).tolist() == [0]


PUBLISHED = [
    ("practices_assessed", 41), ("practices_screened", 41), ("practices_recruited", 59), ("approached", 151),
    ("excluded_before_recruitment", 92), ("excluded_before_screening", 18), ("practices_excluded", 2),
    ("people_excluded", 2), ("people_assessed", 200), ("people_consented", 208), ("people_eligible", 1427),
    ("people_screened", 2465), ("people_not_assessed", 8), ("excl_birmingham_no_response", 17),
    ("excl_somerset_target_reached", 17), ("excl_lancashire_lacking_capacity", 3),
    ("not_screened_lancashire", 9), ("not_assessed_withdrew", 4), ("not_assessed_target", 2),
    ("not_allocated_single", 1),
]  # fmt: skip


def test_every_trial_resembles_the_published_flow() -> None:
    """Means over 2,000 trials; 39 x 5.08 = 198.12 people and rates of four digits move them by less than 0.1%."""
    batch = draw(trials=2000)
    for name, printed in PUBLISHED:
        values = batch.at(name, "trial").astype(float)
        tolerance = 4.5 * values.std() / np.sqrt(2000) + 0.001 * printed
        assert tolerance < 0.1 * printed + 0.1
        assert values.mean() == pytest.approx(printed, abs=tolerance), name


def test_counts_add_up() -> None:
    batch = draw(trials=200)
    at = {n: c.values for n, c in batch.columns.items() if c.level == "trial"}
    trial = batch.index.practice_trial
    assert np.array_equal(at["practices_assessed"], 39 + at["practices_excluded"])
    assert np.array_equal(at["approached"], at["practices_recruited"] + at["excluded_before_recruitment"])
    assert np.array_equal(at["practices_recruited"], at["practices_screened"] + at["excluded_before_screening"])
    prefixes = {
        "excluded_before_recruitment": "excl_",
        "people_not_assessed": "not_assessed_",
        "excluded_before_screening": "not_screened_",
        "practices_excluded": "not_allocated_",
    }
    for total, prefix in prefixes.items():
        assert np.array_equal(sum(v for n, v in at.items() if n.startswith(prefix)), at[total])
    people = np.bincount(batch.index.participant_trial, minlength=200)
    assert np.array_equal(at["people_assessed"], people + at["people_excluded"])
    assert np.all(at["people_excluded"] >= at["practices_excluded"])
    counts = [batch.at(step, "practice") for step in STEPS] + [batch.at("recruited", "practice")]
    for first, second in pairwise(counts):
        assert np.all(first >= second)
    inside = np.bincount(trial, weights=counts[0], minlength=200)
    assert np.all(at["people_screened"] >= inside + at["people_excluded"])


def test_rates_are_those_of_each_practice() -> None:
    batch = draw({"screening": {"recruited": 0.8, "eligible": 0.5}}, trials=1000)
    screened, eligible, consented, assessed = (batch.at(step, "practice") for step in STEPS)
    assert_ratio(eligible, screened, 0.5, sharp=0.003)
    assert_ratio(consented, eligible, 0.1458, sharp=0.002)
    assert_ratio(batch.at("recruited", "practice"), assessed, 0.8, sharp=0.01)


def test_excluded_practices_have_the_size_asked_for() -> None:
    batch = draw({"screening": {"excluded_practice_size": 3.0, "practice_randomised": 0.7}}, trials=2000)
    assert_ratio(batch.at("people_excluded", "trial"), batch.at("practices_excluded", "trial"), 3.0, sharp=0.1)


def test_trials_may_differ_in_practices() -> None:
    index = practices_only(2, 3).index
    batch = TrialBatch(type(index)(2, np.array([0, 1, 1, 1]), np.zeros(0, dtype=np.intp)))
    batch = batch.add({"recruited": Column(np.array([4.0, 0.0, 2.0, 9.0]), "practice")})
    sure = dict.fromkeys(("practice_recruited", "practice_screened", "practice_randomised", "eligible", "consented",
                          "assessed"), 1.0)  # fmt: skip
    found = drawn_by(partners({"screening": sure})["screening"], batch)
    assert found["approached"].tolist() == [1, 3]
    assert found["people_screened"].tolist() == [4, 11]
    assert found["screened"].tolist() == [4, 0, 2, 9]


@pytest.mark.parametrize(
    ("options", "told"),
    [({"not_assessed": {"No Show": 1}}, "lower-case"), ({"not_screened": {}}, "more than 0"),
     ({"not_recruited": {"birmingham": {"interested_not_recruited": 3}}}, "32 at most"),
     ({"not_recruited": {"devon": {"x": 0.0}}}, "more than 0"), ({"eligible": 0.0}, "greater than 0")],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(options: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        partners({"screening": options})
