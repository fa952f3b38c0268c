"""Moments of log sizes against what is drawn, in every family; and outcomes that go with size follow them."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from simulated import (
    CONTINUOUS,
    Z,
    assert_mean,
    draw_when_asked,
    drawn_by,
    mechanism,
    partners,
    practices_only,
    published,
)
from tomls import SMALL, changed, written

from simtrial.batch import TrialBatch
from simtrial.errors import ScenarioError
from simtrial.generate import simulate
from simtrial.generate.practices.practices import Practices
from simtrial.scenario import load

FAMILIES: list[dict[str, Any]] = [
    {"sizes": "truncated-negative-binomial"},
    {"sizes": "truncated-negative-binomial", "until_participants": 120},
    {"sizes": "one-plus-gamma-poisson"},
    {"sizes": "one-plus-gamma-poisson", "cluster_size_mean": 30.0, "cluster_size_cv": 1.2},
    {"sizes": "lognormal"},
    {"sizes": "lognormal", "cluster_size_mean": 1.3, "cluster_size_cv": 1.5},
    {"sizes": "lognormal", "cluster_size_mean": 2000.0, "cluster_size_cv": 3.0},
    {"sizes": "dirichlet-multinomial"},
    {"sizes": "dirichlet-multinomial", "number": 10, "cluster_size_mean": 4.0, "cluster_size_cv": 1.2},
    {"sizes": "fixed", "size_list": [2, 3, 5, 9, 14]},
    {"sizes": "empirical", "size_list": [2, 3, 5, 9, 14]},
]


def practices(**options: Any) -> Practices:
    return Practices.model_validate({**published()["practices"], **options})


def drawn(step: Practices, name: str, trials: int = 1000) -> tuple[NDArray[Any], NDArray[Any]]:
    """A variable of the practices that open, and the trial of each; nobody is drawn who is recruited there."""
    batch = practices_only(trials, step.number)
    found = drawn_by(step, batch)
    open_ = found.get("opened", np.ones(batch.index.practices)) == 1
    return found[name][open_], batch.index.practice_trial[open_]


@pytest.mark.parametrize("options", FAMILIES, ids=str)
def test_the_moments_of_log_recruited_are_those_of_what_is_drawn(options: dict[str, Any]) -> None:
    """Averages over a trial's practices, trials as the unit: sizes of one trial add up in some families."""
    step = practices(**options)
    mean, sd = step.log_recruited()
    people, trial = drawn(step, "recruited", trials=3000 if options.get("number") else 1000)
    logs, number = np.log(people), np.bincount(trial)
    for values, expected in ((logs, mean), ((logs - mean) ** 2, sd**2)):
        total = np.bincount(trial, weights=values - expected)
        error = Z * total.std(ddof=1) / np.sqrt(len(total)) / number.mean()
        assert error < 0.04 * max(1.0, sd**2)
        assert abs(total.mean() / number.mean()) <= error + 1e-12


@pytest.mark.parametrize(
    "options",
    [{}, {"small_share": 0.0}, {"small_share": 1.0}, {"counts": "random"}, {"register_sigma": 0.1, "small_share": 0.5},
     {"register_median": 20.0, "register_lowest": 1, "register_sigma": 1.5}, {"register_lowest": 200},
     {"register_median": 60_000.0, "register_sigma": 1.0}],
    ids=str,
)  # fmt: skip
def test_the_moments_of_log_register_size_are_those_of_what_is_drawn(options: dict[str, Any]) -> None:
    step = practices(**options)
    mean, sd = step.log_register()
    logs = np.log(drawn(step, "register_size")[0])
    assert_mean(logs, mean, sharp=0.05)
    assert_mean((logs - mean) ** 2, sd**2, sharp=0.1)


def test_moments_worked_out_by_hand() -> None:
    logs = np.log([2, 4, 2])
    fixed = practices(number=3, sizes="fixed", size_list=[2, 4])  # cycled: 2, 4, 2
    assert fixed.log_recruited() == pytest.approx((logs.mean(), logs.std()), abs=1e-12)
    equal = practices(cluster_size_mean=6.0, cluster_size_cv=0)
    assert equal.log_recruited() == (pytest.approx(np.log(6)), 0.0)
    # two people between two practices with one each: 1 + Bin(2, 1/2) is 1, 2, 3 with 1/4, 1/2, 1/4
    two = practices(number=2, cluster_size_mean=2.0, cluster_size_cv=0.5**0.5 / 2, sizes="dirichlet-multinomial")
    share, logs = np.array([0.25, 0.5, 0.25]), np.log([1, 2, 3])
    mean = float(share @ logs)
    assert two.log_recruited() == pytest.approx((mean, float(np.sqrt(share @ (logs - mean) ** 2))), abs=1e-9)


@pytest.mark.parametrize("options", [{}, {"cluster_size_mean": 20.0, "cluster_size_cv": 0.9}, FAMILIES[5]], ids=str)
def test_the_effect_over_practices_stays_when_sizes_are_varied(options: dict[str, Any]) -> None:
    """Standardised by what is drawn the addition has mean 0 and SD size_effect over practices."""
    mansa = {**CONTINUOUS, "effect": 0.3, "effect_among": "", "size_effect": 0.2, "register_effect": 0.1}
    whole = partners({"practices": {**options, "register_median": 150.0}, "outcomes.mansa": mansa})
    batch = draw_when_asked(whole, 1000, 1)
    gain = np.zeros(batch.index.practices)
    gain[batch.index.participant_practice] = batch.at("mansa_if_intervention") - batch.at("mansa_if_control") - 0.3
    assert_mean(gain, 0.0, sharp=0.006)
    # people recruited and the register are independent here, so the variances add up
    assert_mean(gain**2, 0.2**2 + 0.1**2, sharp=0.006)


def test_what_is_written_is_used() -> None:
    step = partners()["practices"]
    assert isinstance(step, Practices)
    mean, sd = step.log_recruited()
    mansa = {"size_effect": 0.2, "size_outcome": 0.1, **CONTINUOUS}
    beyond = {"size_log_mean": mean + 1.0, "size_log_sd": sd}, {"size_log_mean": mean + 1.0}
    derived, same, other, half = (
        simulate(partners({"outcomes.mansa": {**mansa, **written}}), 20, 1, "", 0).at("mansa_if_control")
        for written in ({}, {"size_log_mean": mean, "size_log_sd": sd}, *beyond)
    )
    assert np.array_equal(derived, same)  # bit for bit
    assert np.array_equal(other, half)
    assert np.allclose(derived - other, 0.1 / sd, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [{"cluster_size_mean": 5.0, "cluster_size_cv": 0.0}, {"sizes": "fixed", "size_list": [7]}],
    ids=["cv 0", "one size"],
)
def test_nothing_goes_with_size_where_practices_are_of_one_size(options: dict[str, Any]) -> None:
    plain, sized = (
        simulate(partners({"practices": options, "outcomes.mansa": {**CONTINUOUS, **more}}), 5, 1, "", 0)
        for more in ({}, {"size_effect": 0.5, "size_outcome": -0.5})
    )
    for name in ("mansa_if_control", "mansa_if_intervention"):
        assert np.array_equal(plain.at(name), sized.at(name))


def test_moments_follow_sizes_that_are_varied_in_a_file(tmp_path: Any) -> None:
    text = changed("icc = 0.1\n", "icc = 0.1\nsize_outcome = 0.2\n", SMALL)
    text += '\n[vary.cross]\n"mechanism.practices.cluster_size_mean" = [5.0, 20.0]\n'
    _, cells = load(written(tmp_path, text))
    centres = []
    for cell in cells:
        whole = cell.scenario.mechanism
        step = whole["practices"]
        assert isinstance(step, Practices)
        centres.append(step.log_recruited()[0])
        settled = whole["outcomes.mansa"].settled(whole)
        assert (settled.size_log_mean, settled.size_log_sd) == step.log_recruited()  # type: ignore[attr-defined]
    assert centres[1] - centres[0] > 1.0


def test_without_the_practices_there_is_nothing_to_follow() -> None:
    whole = partners({"outcomes.mansa": {"size_outcome": 0.2}})
    batch = simulate(partners(), 2, 1, "", 0)
    kept = {n: c for n, c in batch.columns.items() if n not in whole["outcomes.mansa"].adds()}
    with pytest.raises(ScenarioError, match="follow the sizes of practices"):
        drawn_by(whole["outcomes.mansa"], TrialBatch(batch.index, kept))


def test_scenarios_without_outcomes_by_size_draw_as_before() -> None:
    step = mechanism(published())["outcomes.mansa"]
    assert step.settled(partners()) is step
