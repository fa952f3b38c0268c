"""The biases that `verify/missing-outcomes` states are those of large trials, for every method in every cell."""

import pytest
from missing_outcomes import BIASES

from simtrial.scenario import load

KEYS = (
    "mechanism.dropout.slopes_intervention.mansa_baseline",
    "mechanism.dropout.sessions_slope",
    "mechanism.outcomes.mansa.leavers_shift_intervention",
)


def test_every_bias_is_stated_once_and_is_the_closed_form():
    scenario = load("verify/missing-outcomes")[0]
    biases = [one for one in scenario.expect if one.measure == "bias"]
    stated = {(tuple(float(one.cell[key]) for key in KEYS), one.method): one.value for one in biases}
    assert len(stated) == len(biases)
    assert stated.keys() == {(cell, method) for cell, values in BIASES.items() for method in values}
    for (cell, method), value in stated.items():
        assert value == pytest.approx(BIASES[cell][method], abs=2e-6), (cell, method)


def test_engines_that_sweep_have_the_biases_of_exact_draws():
    """Their models are the same where one outcome is missing and depends linearly on a normal baseline."""
    scenario = load("verify/imputation-engines")[0]
    biases = [one for one in scenario.expect if one.measure == "bias"]
    stated = {(tuple(float(one.cell[key]) for key in KEYS), one.method): one.value for one in biases}
    assert stated.keys() == {(cell, method.name) for cell in BIASES for method in scenario.methods}
    for (cell, _), value in stated.items():
        assert value == pytest.approx(BIASES[cell]["imputation"], abs=2e-6), cell


def test_biases_that_theory_knows_without_sums():
    random, by_baseline, by_sessions, worse = (BIASES[cell] for cell in BIASES)
    wrong = {"imputation, half a point worse", "mean imputed", "baseline carried forward"}
    assert {method for method, bias in random.items() if abs(bias) > 1e-9} == wrong
    assert random["imputation, half a point worse"] == pytest.approx(-0.5 * 0.3)
    assert random["mean imputed"] == pytest.approx(random["baseline carried forward"])  # both -0.3 times the effect
    assert worse["imputation"] == pytest.approx(0.5 * 0.3)
    assert abs(by_baseline["imputation"]) < 1e-9
    assert 0.01 < by_sessions["imputation with sessions, by arm"] < 0.5 * by_sessions["imputation"]
    assert by_sessions["imputation with six sessions, by arm"] == pytest.approx(0.0, abs=1e-12)
