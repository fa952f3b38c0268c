"""Safety: rates and dispersion of serious events, acute episodes before and after first contact, days."""

from typing import Any

import numpy as np
import pytest
from simulated import assert_mean, assert_ratio, draw, drawn_by, partners

from simtrial.batch import Column, Index, TrialBatch

PEOPLE = 200_000


def people(contact: float = 4.0) -> TrialBatch:
    """One trial of two practices, one per arm; a tenth of those offered are never contacted."""
    practice = np.repeat([0, 1], PEOPLE // 2)
    months = np.where(np.arange(PEOPLE) % 10 == 0, np.nan, contact)
    columns = {
        "arm": Column(np.array([0, 1]), "practice"),
        "first_contact_months": Column(np.where(practice == 1, months, np.nan), "participant"),
    }
    return TrialBatch(Index(1, np.zeros(2, dtype=np.intp), practice), columns)


def safety(**options: Any) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    batch = people()
    return batch.at("arm") == 1, dict(drawn_by(partners({"safety": options})["safety"], batch))


def test_serious_events_are_negative_binomial() -> None:
    """P(0) = (1 + mu/k)^-k and variance mu + mu^2/k; 18 of 198 people had one, and 28 events were seen."""
    _, values = safety()
    events = values["serious_events"]
    assert_mean(events, 0.141, sharp=0.006)
    assert_mean((events - 0.141) ** 2, 0.141 + 0.141**2 / 0.128, sharp=0.03)
    assert_mean(events == 0, (1 + 0.141 / 0.128) ** -0.128, sharp=0.003)
    assert (1 + 0.141 / 0.128) ** -0.128 == pytest.approx(1 - 18 / 198, abs=5e-4)


def test_kinds_of_serious_events() -> None:
    _, values = safety(related_share=0.2)
    for name, share in (("psychiatric_events", 0.393), ("related_events", 0.2)):
        assert (values[name] <= values["serious_events"]).all()
        assert_ratio(values[name], values["serious_events"], share, sharp=0.02)
    assert not safety()[1]["related_events"].any()


@pytest.mark.parametrize("ratio", [0.0, 1.0, 3.0])
def test_serious_rate_ratio(ratio: float) -> None:
    treated, values = safety(serious_rate_ratio=ratio)
    assert_mean(values["serious_events"][~treated], 0.141, sharp=0.01)
    assert_mean(values["serious_events"][treated], 0.141 * ratio, sharp=0.02)


@pytest.mark.parametrize("ratio", [0.0, 0.5, 2.0])
def test_acute_episodes_before_and_after_first_contact(ratio: float) -> None:
    """Contact after 4 of 10 months: 0.4 r expected before, 0.6 r times the ratio after; Poisson altogether."""
    rate = 0.5
    treated, values = safety(acute_rate=rate, acute_rate_ratio=ratio, treated_from="first-contact")
    contacted = treated & (np.arange(PEOPLE) % 10 != 0)
    total, after = values["acute_episodes"], values["acute_treated"]
    assert not after[~contacted].any()
    assert_mean(total[~contacted], rate, sharp=0.015)
    assert_mean((total[~contacted] - rate) ** 2, rate, sharp=0.02)
    assert_mean(after[contacted], 0.6 * rate * ratio, sharp=0.015)
    assert_mean((total - after)[contacted], 0.4 * rate, sharp=0.015)
    first = values["first_acute_months"]
    assert np.array_equal(np.isnan(first), total == 0)
    assert_mean(np.nan_to_num(first, nan=99) > 4.0, np.exp(-0.4 * rate), sharp=0.01)
    survives = np.exp(-rate * (0.4 + ratio * 0.3))
    assert_mean(np.nan_to_num(first[contacted], nan=99) > 7.0, survives, sharp=0.015)


def test_treated_from_allocation_counts_every_episode_of_the_intervention_arm() -> None:
    treated, values = safety(acute_rate=0.3, treated_from="allocation")
    assert np.array_equal(values["acute_treated"], np.where(treated, values["acute_episodes"], 0))
    assert "first_contact_months" not in partners({"safety": {"treated_from": "allocation"}})["safety"].reads()
    assert "first_contact_months" in partners({"safety": {"treated_from": "first-contact"}})["safety"].reads()


@pytest.mark.parametrize(("name", "share", "median"), [("admission_days", 0.3, 20.0), ("crisis_days", 0.7, 14.0)])
def test_days_of_an_episode(name: str, share: float, median: float) -> None:
    """Half of the lengths, before rounding up, are below the median: whole days at most the median (a whole one)."""
    _, values = safety(acute_rate=0.3, admission_share=0.3)
    once = values["acute_episodes"] == 1
    days = values[name][once]
    assert_mean(days > 0, share, sharp=0.015)
    assert_mean(days[days > 0] <= median, 0.5, sharp=0.025)
    assert np.array_equal(days, np.round(days))
    both = values["admission_days"] + values["crisis_days"]
    assert np.array_equal(both > 0, values["acute_episodes"] > 0)


def test_no_events_at_rate_zero() -> None:
    values = safety(serious_mean=0.0, acute_rate=0.0)[1]
    assert all(not np.nan_to_num(v).any() for v in values.values())


def test_whole_trials_have_the_published_rates() -> None:
    batch = draw(trials=300)
    assert_mean(batch.at("serious_events"), 28 / 198, sharp=0.011)
    assert_mean(batch.at("acute_episodes"), 7 / 198, sharp=0.0045)
