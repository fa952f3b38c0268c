"""Power of the planned trials: what an independent program found in 10,000 trials each, through [[expect]]."""

import json

import pytest
from commands import simtrial

from simtrial.scenario import load


@pytest.mark.verify
def test_power_of_the_planned_trials() -> None:
    """Eight rates within 3 combined errors: one false alarm in 46 seeds; the seed is the scenario's."""
    done = simtrial("check", "partners-design", "--format", "json")
    verdicts = [row["verdict"] for row in json.loads(done.out)["rows"]]
    assert (done.code, verdicts) == (0, ["ok"] * 8)


def test_show_puts_the_formula_beside_simulated_power() -> None:
    told = simtrial("show", "partners-design").out
    assert "Sample size by formula" in told
    for recruited in ("336", "270", "204"):
        assert recruited in told
    assert "0.893" in told  # formula, t, 56 practices


def test_a_design_may_be_varied() -> None:
    _, cells = load("partners-design")
    assert [c.scenario.design.power for c in cells if c.scenario.design] == [0.9, 0.9, 0.9, 0.8]


def test_a_wrong_design_is_refused() -> None:
    done = simtrial("show", "partners-design", "--set", "design.icc=1.0")
    assert done.code == 2
    assert "design.icc" in done.err
