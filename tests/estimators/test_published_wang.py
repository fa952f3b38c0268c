"""Practices that sample their people: who estimates which average, against theory and an independent program."""

import numpy as np
import polars as pl
import pytest

from simtrial.estimands import Estimand, in_simulated_practices, true_values
from simtrial.generate import simulate
from simtrial.generate.generators.wang_2024 import Wang2024
from simtrial.kernels.segments import sum_by
from simtrial.run.block import block_rows
from simtrial.scenario import load

OVER_PRACTICES = Estimand(name="over practices", kind="itt", response="y", unit="cluster")
OVER_PEOPLE = Estimand(name="over people", kind="itt", response="y", unit="cluster", weights="register_size")
FACTORS = ("mechanism.generator.practices", "mechanism.generator.sampling")
ELSEWHERE = {  # practices, sampling: mean of the estimates in an independent numpy program, with its Monte Carlo error
    (100, "informative"): {"practice means": (6.11, 0.063), "weighted by register": (8.64, 0.056),
                           "rows alike": (9.99, 0.058), "mixed model": (7.67, 0.043)},
    (30, "non-informative"): {"mixed model": (6.27, 0.07)},
    (100, "non-informative"): {"mixed model": (5.96, 0.06)},
}  # fmt: skip
TRUE = {"practice means": 6.0, "weighted by register": 26 / 3}
IN_R = {  # mean and SD of 500 estimates, R 4.2.2 with lme4 1.1.31, whole source populations drawn and then sampled
    (100, "informative"): {"practice means": (6.209, 2.995), "weighted by register": (8.825, 2.591),
                           "rows alike": (10.146, 2.676), "mixed model": (7.722, 1.927)},
    (100, "non-informative"): {"practice means": (5.901, 2.552), "weighted by register": (8.603, 2.355),
                               "rows alike": (5.902, 2.557), "mixed model": (6.090, 1.388)},
}  # fmt: skip


def difference(batch, weights):
    """Difference between the arms in the weighted mean of practice means (trials,)."""
    index = batch.index
    people = sum_by(np.ones(index.participants), index.participant_practice, index.practices)
    means = sum_by(batch.at("y_followup"), index.participant_practice, index.practices) / people
    arm = batch.at("arm", "practice")
    sides = [w * weights for w in (arm, 1 - arm)]
    treated, control = (
        sum_by(w * means, index.practice_trial, index.trials) / sum_by(w, index.practice_trial, index.trials)
        for w in sides
    )
    return treated - control


def estimates(cell, blocks):
    """Estimates of every trial by method, the two comparisons of practice means among them."""
    found = {name: [] for name in ("practice means", "weighted by register", "rows alike", "mixed model")}
    scenario = cell.scenario
    for block in range(blocks):
        batch = simulate(scenario.mechanism, scenario.run.block, scenario.run.seed, cell.key, block).observed()
        register = batch.at("register_size", "practice")
        found["practice means"].append(difference(batch, np.ones_like(register)))
        found["weighted by register"].append(difference(batch, register))
        rows = block_rows(cell, block).filter(pl.col("estimand") == "over people")
        assert (rows["status"] == "ok").all()
        for name in ("rows alike", "mixed model"):
            found[name].append(rows.filter(method=name)["estimate"].to_numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def compare(blocks, errors):
    """Hold every cell against the independent programs, and the two design-based estimates against the true values."""
    for cell in load("published/wang-2024")[1]:
        key = tuple(cell.factors[name] for name in FACTORS)
        for name, values in estimates(cell, blocks).items():
            n, mean, sd = len(values), values.mean(), values.std(ddof=1)
            error = sd / np.sqrt(n)
            if name in ELSEWHERE.get(key, {}):
                there, mcse = ELSEWHERE[key][name]
                assert mean == pytest.approx(there, abs=errors * np.hypot(error, mcse) + 0.005), (key, name)
            if name in IN_R.get(key, {}):
                there, spread = IN_R[key][name]
                assert mean == pytest.approx(there, abs=errors * np.hypot(error, spread / np.sqrt(500))), (key, name)
                of_sds = np.hypot(sd / np.sqrt(2 * n), spread / np.sqrt(1000))
                assert sd == pytest.approx(spread, abs=errors * of_sds), (key, name)
            if key[0] == 100 and name in TRUE:
                assert mean == pytest.approx(TRUE[name], abs=errors * error + 0.02), (key, name)


@pytest.mark.parametrize(("sizes", "over_practices", "over_people"), [
    ("two", 6.0, 26 / 3), ("range", 5.5, np.mean(np.arange(10, 101) ** 2) / 10 / 55),
])  # fmt: skip
@pytest.mark.parametrize("sampling", ["informative", "non-informative"])
def test_the_published_true_values_in_closed_form_and_by_simulation(sizes, over_practices, over_people, sampling):
    mechanism = {"generator": Wang2024(sizes=sizes, sampling=sampling)}
    asked = [OVER_PRACTICES, OVER_PEOPLE]
    known = true_values(asked, mechanism, 1, "")
    assert [t.value for t in known] == pytest.approx([over_practices, over_people], rel=1e-14)
    assert [t.mcse for t in known] == [0.0, 0.0]
    for found, given in zip(in_simulated_practices(asked, mechanism, 1, ""), known, strict=True):
        assert 0 < found.mcse < 0.02
        assert found.value == pytest.approx(given.value, abs=4.5 * found.mcse)


def test_other_averages_are_not_claimed_to_be_known():
    step = Wang2024()
    for change in ({"unit": "participant", "weights": None}, {"weights": "c2"}, {"kind": "full-availability"}):
        assert step.known(OVER_PEOPLE.model_copy(update=change)) is None
    finite = OVER_PEOPLE.model_copy(update={"finite": True})
    assert true_values([finite], {"generator": step}, 1, "")[0].mcse > 0


@pytest.mark.parametrize(("sizes", "h"), [("two", 1), ("range", 2)])
def test_numbers_sampled_follow_the_published_rule(sizes, h):
    batch = simulate({"generator": Wang2024(sizes=sizes)}, 200, 1, "", 0)
    n, c2, arm = (batch.at(name, "practice") for name in ("register_size", "c2", "arm"))
    people = np.bincount(batch.index.participant_practice, minlength=batch.index.practices)
    assert (people[arm == 1] == (np.round(n / (5 * h)) + 5 * c2)[arm == 1]).all()
    assert (people[arm == 0] == np.where(n > 27.5 * h, 6, 3)[arm == 0]).all()
    assert (people <= n).all()
    assert set(n) == ({10.0, 50.0} if h == 1 else set(np.arange(10.0, 101.0)))
    other = simulate({"generator": Wang2024(sizes=sizes, sampling="non-informative")}, 200, 1, "", 0)
    assert set(np.bincount(other.index.participant_practice)) == {9, 10}


def test_distributions_are_the_stated_ones():
    """Means given the practice, 4.5 standard errors (a false alarm in 7,000 over all)."""
    batch = simulate({"generator": Wang2024()}, 500, 1, "", 0)
    n, c1, c2, arm = (batch.at(name, "practice") for name in ("register_size", "c1", "c2", "arm"))
    x1, x2, control, treated = (batch.at(name) for name in ("x1", "x2", "y_if_control", "y_if_intervention"))
    big, sign = batch.at("register_size"), 2 * batch.at("c2") - 1
    common = np.sin(batch.at("c1")) * sign * big / 30 + 5 * np.exp(x1) * np.abs(x2)
    first = np.unique(batch.index.participant_practice, return_index=True)[1]  # one person of each practice
    independent = {
        "c1": (c1 - n / 10) / 2, "c2": c2 - 1 / (1 + np.exp(-c1 * np.log(n / 10))), "arm": arm - 0.5, "n": n - 30,
        "x1": (x1 - big / 50)[first], "x2, all with x1 = 1": ((x2 - sign) / 3)[first][n == 50],
        "x2, one in five": (x2 - 0.2 * sign)[first][n == 10],
        "treated": (treated - common - big / 5)[first], "control": (control - common)[first],
    }  # fmt: skip
    for name, values in independent.items():
        assert abs(values.mean()) < 4.5 * values.std() / np.sqrt(len(values)), name
    for values, variance in ((independent["c1"], 1), (independent["treated"], 1), (independent["control"], 2),
                             (independent["x2, all with x1 = 1"], 1),
                             (independent["x2, one in five"], 9 + 0.16 / 10)):  # fmt: skip
        assert values.var() == pytest.approx(variance, abs=4.5 * variance * np.sqrt(2 / len(values)))


def test_the_mean_of_x2_is_that_of_the_whole_practice():
    """Small practices, x1 one in five: given those sampled, the slope on their mean of x1 is the share sampled.

    X2 = +-mean over 10 people of X1 + noise; the 3 sampled in control contribute 3/10 of it, the others 7/10 * 0.2.
    """
    batch = simulate({"generator": Wang2024()}, 2000, 1, "", 0)
    index = batch.index
    n, arm, c2 = (batch.at(name, "practice") for name in ("register_size", "arm", "c2"))
    size = np.bincount(index.participant_practice, minlength=index.practices)
    x1, x2 = (np.bincount(index.participant_practice, weights=batch.at(v), minlength=index.practices) / size
              for v in ("x1", "x2"))  # fmt: skip
    used = (n == 10) & (arm == 0)
    x, y = x1[used] - 0.2, (x2 * (2 * c2 - 1))[used] - 0.2
    slope = (x * y).sum() / (x * x).sum()
    error = (y - slope * x).std() / np.sqrt((x * x).sum())
    assert error < 0.06
    assert slope == pytest.approx(0.3, abs=4.5 * error)


def test_a_few_hundred_trials_meet_the_independent_program():
    compare(2, 4.5)


@pytest.mark.verify
def test_two_thousand_trials_meet_the_independent_program():
    compare(16, 3.3)
