"""Contact, lengths of sessions, posts over time, what engagement goes with, and access in control."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats
from simulated import Z, assert_mean, assert_pair_mean, assert_person_mean, draw, published

from simtrial.batch import TrialBatch
from simtrial.generate import Variable
from simtrial.generate.delivery.contact import in_post
from simtrial.generate.delivery.delivery import OFFERED, Delivery

EXISTING = ("availability_offered", "engagement", "sessions_offered", "goal_sessions_offered", "sessions")
BASELINE = {"items": 0, "lowest": -1e9, "highest": 1e9, "mean": 4.31, "sd": 0.93, "icc": 0.3}


def drawn(trials: int = 1000, **options: Any) -> TrialBatch:
    return draw({"delivery": options}, trials=trials)


def same(first: TrialBatch, second: TrialBatch, names: Any) -> bool:
    return all(np.array_equal(first.at(n), second.at(n), equal_nan=True) for n in names)


@pytest.mark.parametrize(
    "options",
    [{"goals_assessed_share": 0.2}, {"first_contact_months": 2.0, "first_contact_cv": 1.0}, {"session_minutes": 20.0},
     {"session_minutes_sd": 40.0}],
)  # fmt: skip
def test_what_contact_is_like_moves_no_session(options: dict[str, float]) -> None:
    assert same(drawn(50), drawn(50, **options), EXISTING)


def test_access_in_control_moves_nothing_that_is_offered() -> None:
    assert same(drawn(50), drawn(50, control_access=0.5), [f"{name}_offered" for name in OFFERED])


def test_contact_is_a_session_and_goals_are_assessed_as_often_as_published() -> None:
    batch = drawn()
    contact, assessed = batch.at("contact_offered"), batch.at("goals_assessed_offered")
    assert np.array_equal(contact == 1, batch.at("sessions_offered") > 0)
    assert np.all(assessed <= contact)
    assert_mean(assessed[contact == 1], 101 / 106, sharp=0.003)
    assert_person_mean(assessed, batch.index, 0.91 * published()["delivery"]["goals_assessed_share"], sharp=0.01)
    assert 0.91 * published()["delivery"]["goals_assessed_share"] == pytest.approx(0.87, abs=0.005)


@pytest.mark.parametrize(("mean", "cv"), [(0.7, 0.6), (2.0, 1.5)])
def test_the_first_contact_is_gamma_and_blank_without_contact(mean: float, cv: float) -> None:
    batch = drawn(first_contact_months=mean, first_contact_cv=cv)
    first = batch.at("first_contact_months_offered")
    assert np.array_equal(np.isnan(first), batch.at("sessions_offered") == 0)
    first = first[~np.isnan(first)]
    assert_mean(first, mean, sharp=0.02 * mean)
    assert_mean((first - mean) ** 2, (mean * cv) ** 2, sharp=0.1 * (mean * cv) ** 2)
    assert stats.kstest(first[:5000], stats.gamma(cv**-2, scale=mean * cv**2).cdf).pvalue > 1e-4


def test_the_mean_length_of_sessions_varies_as_of_independent_ones() -> None:
    batch = drawn(session_minutes=40.0, session_minutes_sd=25.0)
    sessions, length = batch.at("sessions_offered"), batch.at("session_minutes_offered")
    assert np.array_equal(np.isnan(length), sessions == 0)
    assert np.nanmin(length) >= 10
    some = sessions > 0
    assert_mean(length[some], 40.0, sharp=0.2)
    assert_mean(((length - 40.0) ** 2 * sessions)[some], 25.0**2, sharp=20)
    assert_mean((length[sessions == 5] - 40.0) ** 2, 25.0**2 / 5, sharp=10)


@pytest.mark.parametrize(("months", "turnover"), [(1, 0.3), (10, 0.1), (10, 1.0), (24, 0.4)])
def test_posts_are_filled_as_a_two_state_chain_implies(months: int, turnover: float) -> None:
    p, rho = 0.7, 1.0 - turnover
    share = in_post(np.full(40_000, p), months, turnover, np.random.default_rng(1))
    lags = np.arange(1, months)
    variance = p * (1 - p) / months * (1 + 2 * np.sum((1 - lags / months) * rho**lags))
    assert_mean(share, p, sharp=0.012)
    assert_mean((share - p) ** 2, variance, sharp=0.06 * variance)
    assert np.array_equal(share * months, np.round(share * months))


def posts_by_hand(p: float, months: int, turnover: float, uniforms: np.ndarray) -> float:
    """Slow twin: stay in a filled post unless decided anew and left empty; an empty one is filled likewise."""
    filled, total = False, 0
    for month in range(months):
        stay = 1 - turnover * (1 - p) if filled else turnover * p
        filled = bool(uniforms[month] < (p if month == 0 else stay))
        total += filled
    return total / months


def test_posts_equal_a_plain_loop() -> None:
    p = np.random.default_rng(2).random(50)
    uniforms = np.random.default_rng(3).random((10, 50))
    by_hand = [posts_by_hand(p[j], 10, 0.2, uniforms[:, j]) for j in range(50)]
    assert in_post(p, 10, 0.2, np.random.default_rng(3)) == pytest.approx(by_hand, abs=1e-15)


def test_availability_is_the_share_realised_and_sessions_follow_the_propensity() -> None:
    batch, plain = drawn(200, availability_months=10), drawn(200)
    available = batch.at("availability_offered", "practice")
    assert np.array_equal(available * 10, np.round(available * 10))
    assert_mean(available, stats.beta(5, 1.3).mean(), sharp=0.02)
    assert same(batch, plain, EXISTING[1:])


@pytest.mark.parametrize(("icc", "correlation"), [(0.2, 0.0), (0.0, 0.5), (0.2, -0.5)])
def test_engagement_with_correlations_stays_standard_normal_and_sessions_keep_their_distribution(
    icc: float, correlation: float
) -> None:
    """Two people of a practice correlate r^2 icc_baseline + (1 - r^2) icc."""
    options = {"engagement_icc": icc, "engagement_baseline": correlation}
    batch = draw({"delivery": options, "baseline": BASELINE}, trials=1000)
    value, baseline = batch.at("engagement"), (batch.at("mansa_baseline") - 4.31) / 0.93
    assert_person_mean(value, batch.index, 0.0, sharp=0.02)
    assert_person_mean(value**2, batch.index, 1.0, sharp=0.03)
    assert_person_mean(value * baseline, batch.index, correlation, sharp=0.03)
    shared = correlation**2 * 0.3 + (1 - correlation**2) * icc
    assert_pair_mean(value, batch.index, shared, sharp=0.03)
    assert_person_mean(batch.at("sessions_offered") == 0, batch.index, 0.09, sharp=0.012)
    at = stats.norm.ppf(0.09)
    both = 0.3**2 + (1 - 0.3**2) * shared
    joint = stats.multivariate_normal(cov=[[1, both], [both, 1]]).cdf([at, at])
    assert_pair_mean((batch.at("sessions_offered") == 0).astype(float), batch.index, float(joint), sharp=0.01)


def test_covariates_shift_engagement_and_with_it_the_chance_of_contact() -> None:
    """P(no session given shift s) = Phi(Phi^-1(no_contact) - sqrt(1 - c^2) s)."""
    plain = drawn()
    batch = drawn(engagement_effects={"provider=secondary": -0.3, "age": 0.2, "region=Cornwall": 0.5})
    secondary, age = batch.at("provider") == 1, (batch.at("age") - 53) / 13
    cornwall = batch.at("region") == batch.columns["region"].categories.index("Cornwall")
    shift = -0.3 * secondary + 0.2 * age + 0.5 * cornwall
    assert batch.at("engagement") - plain.at("engagement") == pytest.approx(shift, abs=1e-12)
    expected = stats.norm.cdf(stats.norm.ppf(0.09) - np.sqrt(1 - 0.3**2) * shift)
    none = batch.at("sessions_offered") == 0
    for group in (secondary, cornwall, age > 1):
        assert_person_mean((none - expected) * group, batch.index, 0.0, sharp=0.01)


def test_access_in_control_makes_always_takers() -> None:
    batch = drawn(control_access=0.2)
    arm, access = batch.at("arm"), batch.at("access_if_control")
    assert_person_mean(access, batch.index, 0.2, sharp=0.02)
    for name in ("sessions", "goal_sessions"):
        offered, control = batch.at(f"{name}_offered"), batch.at(f"{name}_if_control")
        assert np.all(control <= offered)
        assert np.array_equal(control, offered * access)
        assert np.array_equal(batch.at(name), np.where(arm == 1, offered, control))
    expected = 0.2 * np.mean(batch.at("sessions_offered") >= 6)
    share = np.mean(batch.at("sessions_if_control") >= 6)
    assert share == pytest.approx(expected, abs=Z * np.sqrt(0.15 * 0.85 / batch.index.participants))
    blank = np.isnan(batch.at("session_minutes"))
    assert np.array_equal(blank, batch.at("sessions") == 0)
    assert np.isnan(batch.at("availability")[arm == 0]).all()


def test_without_access_control_receives_nothing() -> None:
    batch = drawn(50)
    control = batch.at("arm") == 0
    for name in ("sessions_if_control", "goal_sessions_if_control", "access_if_control"):
        assert not batch.at(name).any()
    assert not batch.at("contact")[control].any()
    assert not batch.at("goals_assessed")[control].any()
    assert np.isnan(batch.at("first_contact_months")[control]).all()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"engagement_effects": {"arm": 0.1}}, "arm cannot have an effect"),
        ({"engagement_baseline": 0.1, "engagement_effects": {"mansa_baseline": 0.1}}, "only one"),
        ({"engagement_scale": {"age": [1.0, 0.0]}}, "positive SD"),
        ({"engagement_baseline": 0.1, "engagement_scale": {}}, "engagement_scale.mansa_baseline"),
        ({"session_minutes": 9.0}, "greater than 10"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Delivery.model_validate(options)


def test_effects_need_categories_or_a_scale() -> None:
    available = {"provider": Variable("participant", "", categories=("primary", "secondary")),
                 "age": Variable("participant", ""), "children": Variable("participant", "")}  # fmt: skip
    effects = {"provider=secundary": 0.1, "provider": 0.1, "age=old": 0.1, "children": 0.1, "age": 0.1}
    found = dict(Delivery(engagement_effects=effects).problems(available))
    assert set(found) == {f"engagement_effects.{k}" for k in effects if k != "age"}
    assert "did you mean 'secondary'" in found["engagement_effects.provider=secundary"]
    assert "centre and SD" in found["engagement_effects.children"]
