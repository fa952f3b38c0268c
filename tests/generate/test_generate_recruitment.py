"""The recruitment calendar, and recruitment after allocation."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import norm
from simulated import assert_mean, assert_person_mean, assert_ratio, draw, mechanism, partners, published

from simtrial.generate import simulate


def test_practices_are_numbered_in_order_of_opening() -> None:
    opening = draw(trials=100).at("opening_month", "practice").reshape(100, 39)
    assert np.all(np.diff(opening, axis=1) >= 0)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.7])
def test_the_share_that_opens_in_the_first_half(share: float) -> None:
    opening = draw({"recruitment": {"first_half_share": share}}, trials=1000).at("opening_month", "practice")
    assert_mean(opening < 12.5, share, sharp=0.012)
    assert opening.max() <= 25
    exponent = np.log(share) / np.log(0.5)  # P(opening <= x months) = (x / months)^exponent
    assert_mean(opening < 5, 0.2**exponent, sharp=0.012)


@pytest.mark.parametrize(("share", "late"), [(0.283, 0.5), (0.1, 0.2), (0.0, 0.5), (1.0, 1.0)])
def test_the_last_month_has_its_share_of_people(share: float, late: float) -> None:
    batch = draw({"recruitment": {"last_month_share": share, "late_share": late}}, trials=1500)
    last = batch.at("recruitment_month") >= 25
    assert batch.at("recruitment_month").max() < 26
    if share in (0.0, 1.0):
        assert np.all(last == bool(share))
    else:
        assert_person_mean(last, batch.index, share, sharp=0.02)


def test_dates_come_in_order() -> None:
    batch = draw(trials=200)
    practice = batch.index.participant_practice
    recruited = batch.at("recruitment_month")
    assert np.all(recruited >= batch.at("opening_month"))
    latest = np.zeros(batch.index.practices)
    for person, of in enumerate(practice):
        latest[of] = max(latest[of], recruited[person])
    assert batch.at("allocation_month", "practice") == pytest.approx(latest + 0.5, abs=1e-12)
    assert recruited.min() == pytest.approx(5.0, abs=0.6)  # the first person in June 2018


def test_period_is_planned_follow_up_against_the_pandemic() -> None:
    """12 of 38 practices and 30% of people before; the people agree within 2 points, whose trial SD is 9."""
    batch = draw(trials=1500)
    period = batch.at("period", "practice")
    assert np.array_equal(period == 1, batch.at("allocation_month", "practice") + 10 > 26.7)
    assert np.mean(period == 0) * 38 == pytest.approx(12, abs=0.5)
    assert np.mean(batch.at("period") == 0) == pytest.approx(0.30, abs=0.02)
    never = draw({"recruitment": {"pandemic_month": 500.0}}, trials=5)
    assert np.all(never.at("period") == 0)


def test_a_trial_that_stops_early_has_a_calendar() -> None:
    table = published()
    practices = {**table["practices"], "number": 80, "until_participants": 200}
    some = {"practices": practices, "screening": table["screening"], "recruitment": table["recruitment"]}
    batch = simulate(mechanism(some), 200, 1, "", 0)
    opening = batch.at("opening_month", "practice")
    same = np.diff(batch.index.practice_trial) == 0
    assert np.all(np.diff(opening)[same] >= 0)
    assert len(set(np.bincount(batch.index.practice_trial).tolist())) > 5
    assert np.all(batch.at("practices_assessed", "trial") >= np.bincount(batch.index.practice_trial))


@pytest.mark.parametrize("options", [{"last_month_share": 0.6, "late_share": 0.5}, {"setup_months": 30.0}])
def test_impossible_calendars_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="at most"):
        partners({"recruitment": options})


SMOOTH = {"items": 0, "lowest": -99.0, "highest": 99.0}


def identified(options: dict[str, Any], trials: int = 1500) -> tuple[Any, Any]:
    """Trials before and after identification."""
    table = {s: published()[s] for s in ("practices", "baseline", "allocation")}
    table["baseline"] = {**table["baseline"], **SMOOTH}
    first = simulate(mechanism(table), trials, 1, "", 0)
    return first, simulate(mechanism({**table, "identification": options}), trials, 1, "", 0)


def test_without_options_everybody_enrols() -> None:
    first, second = identified({}, 50)
    assert np.array_equal(first.at("mansa_baseline"), second.at("mansa_baseline"))
    assert second.columns["enrolled"].latent


@pytest.mark.parametrize(("control", "treated", "slopes"), [(0.8, 0.5, (0.0, 0.0)), (0.7, 0.7, (0.3, -0.8))])
def test_shares_enrolled_and_their_baseline(control: float, treated: float, slopes: tuple[float, float]) -> None:
    """E(z | enrolled) = s / sqrt(1 + s^2) phi(c) / share with c = Phi^-1(share)."""
    first, second = identified({
        "enrolment_control": control, "enrolment_intervention": treated,
        "baseline_slope_control": slopes[0], "baseline_slope_intervention": slopes[1],
    })  # fmt: skip
    for arm, share, slope in ((0, control, slopes[0]), (1, treated, slopes[1])):
        of_arm = [np.bincount(b.index.participant_practice, weights=b.at("arm") == arm, minlength=b.index.practices)
                  for b in (second, first)]  # fmt: skip
        assert_ratio(*of_arm, share, sharp=0.012)
        z = (second.at("mansa_baseline") - 4.31) / 0.93
        practice, practices = second.index.participant_practice, second.index.practices
        total = np.bincount(practice, weights=z * (second.at("arm") == arm), minlength=practices)
        expected = slope / np.sqrt(1 + slope**2) * norm.pdf(norm.ppf(share)) / share
        assert_ratio(total, of_arm[0], float(expected), sharp=0.03)


def test_identification_reads_baseline_only_where_it_matters() -> None:
    plain = mechanism({"identification": {}})["identification"]
    sloped = mechanism({"identification": {"baseline_slope_control": 1.0}})["identification"]
    assert plain.reads() == {"arm"}
    assert sloped.reads() == {"arm", "mansa_baseline"}


def test_practices_stay_when_nobody_in_them_enrols() -> None:
    first, second = identified({"enrolment_intervention": 0.05}, 100)
    assert first.index.practices == second.index.practices
    assert second.index.participants < first.index.participants
