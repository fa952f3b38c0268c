"""People and practices that imputation leaves out are counted, flagged, and said why."""

import numpy as np
import pytest
from reference import method
from trials import batch, fit, ragged

from simtrial.flags import text

ENGINES = ["random-intercept", "single-level", "mean", "pmm", "joint"]


def lacking(seed=8, practices=20):
    data, rng = ragged(seed, practices=practices), np.random.default_rng(seed)
    gone = rng.random(len(data["arm"])) < 0.2
    return {**data, "mansa_followup": np.where(gone, np.nan, data["mansa_followup"])}


def imputed(data, **options):
    options = {"adjust": ["age"], "m": 3, **options}
    return fit(batch(data), method("mi", analysis={"kind": "lmm"}, **options))


@pytest.mark.parametrize("engine", ENGINES)
def test_people_without_a_covariate_are_counted_with_or_without_an_outcome(engine):
    data = lacking()
    blank = np.zeros(len(data["arm"]), dtype=bool)
    blank[[0, 5, 11, 12]] = True
    blank |= data["practice"] == 7  # all of a practice
    found = imputed({**data, "age": np.where(blank, np.nan, data["age"])}, imputation=engine)
    assert not found.failed[0]
    assert found.extras["n_left_out"][0] == blank.sum() == len(blank) - found.n_used[0]
    alone = {p for p in np.unique(data["practice"]) if blank[data["practice"] == p].all()}
    assert found.extras["practices_left_out"][0] == len(alone) >= 1
    assert "people_left_out" in text(int(found.flags[0]))
    words = str(found.notes["left_out"][0])
    assert words.startswith(f"{blank.sum()} people, all of {len(alone)} practices among them, left out: ")
    assert words.endswith(f"{blank.sum()} without 'age'")


@pytest.mark.parametrize("engine", [*ENGINES, "fcs"])
def test_nobody_is_left_out_of_complete_covariates(engine):
    found = imputed(lacking(), imputation=engine)
    assert found.extras["n_left_out"][0] == found.extras["practices_left_out"][0] == 0
    assert "people_left_out" not in text(int(found.flags[0]))
    assert "left_out" not in found.notes


def test_chained_equations_leave_nobody_out():
    data = lacking()
    data["age"][[0, 5, 11]] = np.nan
    found = imputed(data, imputation="fcs")
    assert found.extras["n_left_out"][0] == 0
    assert found.n_used[0] == len(data["arm"])


def test_people_outside_the_conditions_are_not_left_out():
    data = lacking()
    data["list_size"] = data["list_size"] + 0.0
    inside = data["age"] > np.median(data["age"])
    found = imputed(data, adjust=["list_size"], subset=f"age > {np.median(data['age'])}")
    assert found.n_used[0] == inside.sum()
    assert found.extras["n_left_out"][0] == 0


def test_each_column_says_how_many_lack_it():
    data = lacking()
    data["age"][[0, 1]] = np.nan
    data["mansa_baseline"][[3]] = np.nan  # is imputed, and keeps nobody out
    gone = np.flatnonzero(np.isnan(data["mansa_followup"]))[-1]
    data["received"][[gone, 9]] = np.nan  # who has an outcome is analysed: the analysis does not read it
    assert np.isfinite(data["mansa_followup"][9])
    found = imputed(data, adjust=["mansa_baseline", "age"], auxiliary=["received"])
    assert found.extras["n_left_out"][0] == 3
    assert str(found.notes["left_out"][0]) == "3 people, left out: 2 without 'age', 1 without 'received'"


def test_people_whose_baseline_is_carried_forward_and_missing_are_counted():
    data = lacking()
    gone = np.flatnonzero(np.isnan(data["mansa_followup"]))[:2]
    data["mansa_baseline"][gone] = np.nan
    found = imputed(data, adjust=["age"], imputation="baseline")
    assert found.extras["n_left_out"][0] == 2
    assert str(found.notes["left_out"][0]) == "2 people, left out: without an outcome that could be imputed"


def test_a_trial_that_failed_has_no_counts():
    data = lacking()
    found = imputed({**data, "mansa_followup": np.full(len(data["arm"]), np.nan)})
    assert found.failed[0]
    assert np.isnan(found.extras["n_left_out"][0])
    assert "people_left_out" not in text(int(found.flags[0]))
