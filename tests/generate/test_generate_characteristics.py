"""Characteristics: every margin as stated, what practices share, correlations, blanks, and what is refused."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats
from simulated import (
    assert_mean,
    assert_pair_mean,
    assert_person_mean,
    assert_ratio,
    by_practice,
    draw,
    drawn_by,
    partners,
    practices_only,
    published,
)

from simtrial.batch import TrialBatch
from simtrial.generate.distributions.copula import latent_normals, within_parts
from simtrial.generate.participants.characteristics import FACTORS, KNOWN, OF_SMOKERS, YES_NO, Characteristics

OPTIONS = published()["characteristics"]
ALL = {"answered": 1.0}


@cache
def whole() -> TrialBatch:
    return draw({"outcomes.mansa": {"effect_among": ""}})


def quantity(name: str, **changes: Any) -> dict[str, Any]:
    return {**OPTIONS[name], **changes}


@pytest.mark.parametrize("name", FACTORS)
def test_categories_have_their_shares(name: str) -> None:
    assert whole().columns[name].categories == tuple(OPTIONS[name])
    total = sum(OPTIONS[name].values())
    for code, people in enumerate(OPTIONS[name].values()):
        assert_person_mean(whole().at(name) == code, whole().index, people / total, sharp=0.008)


def yes_no() -> Iterator[tuple[str, float]]:
    yield from ((f"condition_{n}", p) for n, p in OPTIONS["conditions"].items())
    yield from ((f"medication_{n}", p) for n, p in OPTIONS["medication"].items())
    yield from ((n, OPTIONS[n]) for n in YES_NO)


@pytest.mark.parametrize(("name", "share"), list(yes_no()))
def test_yes_and_no_have_their_shares(name: str, share: float) -> None:
    assert set(np.unique(whole().at(name))) == {0, 1}
    assert_person_mean(whole().at(name), whole().index, share, sharp=0.01)


def among(values: Any, where: Any, expected: float, sharp: float) -> None:
    """Check a mean over some people; those of one practice need not be independent."""
    filled = np.where(where, values, 0.0)
    assert_ratio(by_practice(filled, whole().index), by_practice(where, whole().index), expected, sharp)


def of(name: str, who: str) -> tuple[Any, Any, Any]:
    """Values of a variable, where it applies, and where it is there; it is nowhere else."""
    values, applies = whole().at(name), whole().at(who) == 1
    there = ~np.isnan(values)
    assert not there[~applies].any()
    return values, applies, there


@pytest.mark.parametrize("name", OF_SMOKERS)
def test_what_smokers_smoke(name: str) -> None:
    values, applies, there = of(name, "smoking")
    assert np.array_equal(applies, there)
    among(values, applies, OPTIONS[name], sharp=0.01)


def test_hardly_a_smoker_smokes_neither_cigarettes_nor_e_cigarettes() -> None:
    """At most one of 82."""
    cigarettes, smokers, _ = of("cigarettes", "smoking")
    among((cigarettes == 0) & (whole().at("e_cigarette") == 0), smokers, 1 / 82, sharp=0.003)


@pytest.mark.parametrize(("name", "who"), [("smoking_times_per_day", "smoking"), ("alcohol_times_per_week", "alcohol")])
def test_occasions_have_their_mean_and_sd_after_cutting_off(name: str, who: str) -> None:
    values, applies, there = of(name, who)
    options = OPTIONS[name]
    among(there, applies, options["answered"], sharp=0.01)
    among(values, there, options["mean"], sharp=0.5)
    among((values - options["mean"]) ** 2, there, options["sd"] ** 2, sharp=6.0)
    seen = values[there]
    assert (seen.min(), seen.max()) == (options["lowest"], options["highest"])
    assert np.array_equal(seen, np.round(seen))


HOURS = {
    "childcare_hours_month": "childcare",
    "other_caring_hours_week": "other_caring",
    "household_hours_week": "household_tasks",
}


@pytest.mark.parametrize(("name", "who"), HOURS.items())
def test_hours_have_their_quartiles(name: str, who: str) -> None:
    """Whole hours: fewer than half an hour below a quartile as often as the two halves of the lognormal say."""
    values, applies, there = of(name, who)
    options = OPTIONS[name]
    among(there, applies, options["answered"], sharp=0.02)
    seen = values[there]
    for quartile, share in (("q1", 0.25), ("median", 0.5), ("q3", 0.75)):
        assert np.quantile(seen, share) == pytest.approx(options[quartile], rel=0.13)
        end = "q3" if quartile == "q3" else "q1"
        sigma = abs(np.log(options[end] / options["median"])) / stats.norm.ppf(0.75)
        below = stats.norm.cdf(np.log((options[quartile] - 0.5) / options["median"]) / sigma)
        among(values < options[quartile], there, below, sharp=0.03)
    assert seen.max() <= options["highest"]
    assert np.array_equal(seen, np.round(seen))


def test_age_at_diagnosis_has_its_mean_and_sd_and_lies_behind() -> None:
    batch = whole()
    age, values = batch.at("age"), batch.at("age_at_diagnosis")
    options = OPTIONS["age_at_diagnosis"]
    assert_mean(~np.isnan(values), options["answered"], sharp=0.004)
    there = ~np.isnan(values)
    among(values, there, options["mean"], sharp=0.2)
    among((values - options["mean"]) ** 2, there, options["sd"] ** 2, sharp=3.0)
    seen = values[there]
    assert (seen.min(), seen.max()) == (12, 70)
    assert np.all(seen <= np.floor(age[there]))
    assert np.any(seen == np.floor(age[there]))


def test_age_at_diagnosis_may_leave_age_out() -> None:
    batch = draw({"characteristics": {"age_at_diagnosis": quantity("age_at_diagnosis", up_to_age=False, **ALL)}})
    values = batch.at("age_at_diagnosis")
    assert_person_mean(values, batch.index, 35.1, sharp=0.2)
    assert_person_mean((values - 35.1) ** 2, batch.index, 12.8**2, sharp=3.0)
    assert np.any(values > batch.at("age"))


def test_people_younger_than_the_lowest_age_at_diagnosis_have_none() -> None:
    young = {"age_mean": 12.0, "age_sd": 4.0, "age_min": 6.0}
    batch = draw(
        {"participants": young, "characteristics": {"age_at_diagnosis": quantity("age_at_diagnosis", **ALL)}}, trials=20
    )
    assert np.array_equal(np.isnan(batch.at("age_at_diagnosis")), batch.at("age") < 12)


@pytest.mark.parametrize("icc", [0.0, 0.05, 0.5])
def test_people_of_a_practice_share_the_latent_icc(icc: float) -> None:
    """Two are both 1 as often as a bivariate normal of correlation icc says; one variable has an ICC of its own."""
    batch = draw({"characteristics": {"icc": icc, "iccs": {"alcohol": 0.2}}}, trials=2500)
    for name, expected in (("carer_informal", icc), ("alcohol", 0.2)):
        at = stats.norm.ppf(OPTIONS[name])
        both = stats.multivariate_normal(cov=[[1, expected], [expected, 1]]).cdf([at, at])
        assert_person_mean(batch.at(name), batch.index, OPTIONS[name], sharp=0.01)
        assert_pair_mean(batch.at(name), batch.index, both, sharp=0.015)


@pytest.mark.parametrize("icc", [(0.05, 0.05), (0.0, 0.4), (0.3, 0.6)])
def test_the_total_correlation_is_the_stated_one_whatever_the_iccs(icc: tuple[float, float]) -> None:
    names, r = ["one", "two", "three"], 0.6
    whole_icc = dict(zip(names, (*icc, 0.1), strict=True))
    matrix = within_parts(names, [("one", "two", r)], whole_icc)
    index = draw(trials=2500).index
    z = latent_normals(index, np.array([*icc, 0.1]), matrix, np.random.default_rng(3))
    for k, name in enumerate(names):
        assert_person_mean(z[k] ** 2, index, 1.0, sharp=0.02)
        assert_pair_mean(z[k], index, whole_icc[name], sharp=0.025)
    assert_person_mean(z[0] * z[1], index, r, sharp=0.015)
    assert_person_mean(z[0] * z[2], index, 0.0, sharp=0.015)
    shared = r * np.sqrt(icc[0] * icc[1]) / (np.sqrt(icc[0] * icc[1]) + np.sqrt((1 - icc[0]) * (1 - icc[1])))
    assert_pair_mean(z[0] + z[1], index, icc[0] + icc[1] + 2 * shared, sharp=0.06)


def test_correlated_characteristics_keep_their_shares_and_go_together() -> None:
    r = 0.7
    options = {"correlations": [["smoking", "medication_antipsychotics", r], ["education", "smoking", -0.3]]}
    batch = draw({"characteristics": {**options, "iccs": {"smoking": 0.3}}})
    smoking, medication = batch.at("smoking"), batch.at("medication_antipsychotics")
    p, q = OPTIONS["smoking"], OPTIONS["medication"]["antipsychotics"]
    assert_person_mean(smoking, batch.index, p, sharp=0.01)
    assert_person_mean(medication, batch.index, q, sharp=0.01)
    both = stats.multivariate_normal(cov=[[1, r], [r, 1]]).cdf(stats.norm.ppf([p, q]))
    assert_person_mean(smoking * medication, batch.index, both, sharp=0.01)
    lowest = 52 / 198
    neither = stats.multivariate_normal(cov=[[1, -0.3], [-0.3, 1]]).cdf(stats.norm.ppf([1 - p, lowest]))
    assert_person_mean((smoking == 0) & (batch.at("education") == 0), batch.index, neither, sharp=0.01)


@pytest.mark.parametrize("group", KNOWN)
def test_what_is_not_known_is_blank(group: str) -> None:
    batch = draw({"characteristics": {"known": {group: 0.6}}}, trials=100)
    there, seen = batch.at(f"{group}_known") == 1, batch.observed()
    assert_mean(there, 0.6, sharp=0.03)
    for name in KNOWN[group]:
        values = seen.at(name)
        blank = values == -1 if seen.column(name).categories else np.isnan(values)
        assert blank[~there].all()
        if name != "household_hours_week":
            assert not blank[there].any()
    for other in set(KNOWN) - {group}:
        assert batch.at(f"{other}_known").all()


def test_known_as_often_as_published() -> None:
    for group, share in OPTIONS["known"].items():
        assert_mean(whole().at(f"{group}_known"), share, sharp=0.002)


def test_a_correlation_moves_only_what_it_ties() -> None:
    """The variable of the pair that comes later moves, everything else is bit-identical."""
    first, second = (
        draw({"characteristics": {"correlations": entries}}, trials=20)
        for entries in ([], [["alcohol", "condition_asthma", 0.5]])
    )
    moved = {
        n for n, c in first.columns.items() if not np.array_equal(c.values, second.columns[n].values, equal_nan=True)
    }
    assert moved == {"alcohol", "alcohol_times_per_week"}


def test_a_trial_without_people_has_no_characteristics() -> None:
    batch = practices_only(2, 3)
    step = partners({"characteristics": {"age_at_diagnosis": quantity("age_at_diagnosis", up_to_age=False)}})
    assert all(len(values) == 0 for values in drawn_by(step["characteristics"], batch).values())


CLASH = [["smoking", "alcohol", 0.9], ["smoking", "education", 0.9], ["education", "alcohol", -0.9]]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"correlations": CLASH}, r"smallest eigenvalue of the matrix is -0\.8 .* smoking with alcohol \+0\.9"),
        (
            {"correlations": [["smoking", "alcohol", 0.95]], "iccs": {"smoking": 0.0, "alcohol": 0.5}},
            "eigenvalue of the matrix is -0.344",
        ),
        ({"correlations": [["smoking", "alcohl", 0.9]]}, "did you mean 'alcohol'"),
        ({"correlations": [["smoking", "smoking", 0.9]]}, "with itself"),
        ({"correlations": [["smoking", "alcohol", 0.1], ["alcohol", "smoking", 0.1]]}, "stated twice"),
        ({"correlations": [["smoking", "alcohol", 1.0]]}, "between -1 and 1"),
        ({"correlations": [["pipe", "smoking", 0.1]]}, "pipe exists only where smoking is 1"),
        ({"iccs": {"smokin": 0.1}}, "did you mean 'smoking'"),
        ({"known": {"sex": 0.9}}, "unknown group 'sex'"),
        ({"ethnicity": {"white": 0.0}}, "no category has a positive share"),
        ({"conditions": {"asthma": 1.2}}, "less than or equal to 1"),
        ({"smoking_times_per_day": quantity("smoking_times_per_day", sd=15.0)}, r"SD between 0\.50 and 14\.26"),
        ({"age_at_diagnosis": quantity("age_at_diagnosis", mean=60.0)}, r"between 12 and 52\.15 is reachable"),
        ({"age_at_diagnosis": quantity("age_at_diagnosis", at_age_min=5.0)}, "lies below lowest"),
        ({"childcare_hours_month": quantity("childcare_hours_month", q1=70.0)}, "must be in order"),
        ({"alcohol_times_per_week": quantity("alcohol_times_per_week", lowest=7)}, "must exceed"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Characteristics.model_validate(options)
