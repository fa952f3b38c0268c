"""The batch: columns are only added, and what a method sees holds nothing latent and nothing missing."""

import re
from typing import Any

import numpy as np
import pytest
from simulated import draw
from trials import fit

from simtrial.batch import Column, Index, ObservedBatch, TrialBatch, hidden_by
from simtrial.errors import SimtrialError
from simtrial.estimators.ols import OrdinaryLeastSquares


@pytest.fixture(scope="module")
def batch() -> TrialBatch:
    """Trials with every kind of missingness, and a potential outcome far from the observed one."""
    changes = {
        "outcomes.mansa": {"effect": 1.0, "effect_among": "sessions >= 1"},
        "missingness": {"baseline": 0.2, "followup": 0.2},
        "dropout": {"rate": 0.3, "practice_rate": 0.1},
    }
    return draw(changes, trials=30)


def test_latent_columns_are_absent_from_what_is_observed(batch: TrialBatch) -> None:
    latent = {name for name, c in batch.columns.items() if c.latent}
    potential = {f"mansa_if_{arm}" for arm in ("control", "intervention")}
    assert potential | {"practice_effect", "engagement", "sessions_offered"} <= latent
    assert all(f"_if_{arm}" not in name for name in batch.observed().columns for arm in ("control", "intervention"))
    assert set(batch.observed().columns) == set(batch.columns) - latent


@pytest.mark.parametrize("name", ["mansa_if_control", "mansa_if_intervention", "practice_effect", "engagement"])
def test_a_method_that_asks_for_a_latent_column_fails(batch: TrialBatch, name: str) -> None:
    observed = batch.observed()
    with pytest.raises(SimtrialError, match=f"unknown column '{name}'"):
        observed.column(name)
    with pytest.raises(SimtrialError, match=f"unknown column '{name}'"):
        observed.at(name)


def test_covariates_and_expressions_cannot_reach_a_latent_column(batch: TrialBatch) -> None:
    observed = batch.observed()
    for options in ({"adjust": ["mansa_if_control"]}, {"subset": "engagement > 0", "adjust": []}):
        method = OrdinaryLeastSquares.model_validate({"name": "cheat", **options})
        with pytest.raises(SimtrialError, match="unknown column"):
            fit(observed, method)


def test_no_object_behind_an_observed_batch_leads_back_to_the_complete_data(batch: TrialBatch) -> None:
    """Walk over everything that hangs on it: no array equals, or is a view of, hidden values."""
    observed = batch.observed()
    hidden = [batch.at(n) for n in ("mansa_if_control", "mansa_if_intervention", "engagement", "mansa_followup")]
    found = reachable(observed)
    assert len(found) > 10
    for array in found:
        for values in hidden:
            assert array.shape != values.shape or not np.array_equal(array, values)
            assert not np.shares_memory(array, values)


def test_columns_cut_from_one_array_do_not_lead_to_each_other() -> None:
    both = np.arange(6.0).reshape(2, 3)
    index = Index(1, np.zeros(1, dtype=np.intp), np.zeros(3, dtype=np.intp))
    columns = {"seen": Column(both[0], "participant"), "secret": Column(both[1], "participant", latent=True)}
    found = reachable(TrialBatch(index, columns).observed())
    assert any(np.array_equal(array, both[0]) for array in found)
    for array in found:
        assert not np.shares_memory(array, both)


def reachable(root: Any) -> list[np.ndarray]:
    """Arrays that attributes, containers and array bases lead to."""
    seen: set[int] = set()
    found, stack = [], [root]
    while stack:
        value = stack.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, np.ndarray):
            found.append(value)
            stack.append(value.base)
        elif isinstance(value, dict):
            stack += value.values()
        elif isinstance(value, (list, tuple)):
            stack += value
        elif hasattr(value, "__dict__"):
            stack += vars(value).values()
    return found


def test_masked_values_are_blank_and_the_others_are_the_complete_ones(batch: TrialBatch) -> None:
    observed = batch.observed()
    masks = {n: [m for m, c in batch.columns.items() if hidden_by(n, c.hides)] for n in observed.columns}
    assert masks["mansa_followup"] == ["followed_up", "followup_complete"]
    for name, hiding in masks.items():
        seen = np.ones(batch.index.participants, dtype=bool)
        for mask in hiding:
            seen &= batch.at(mask) == 1
        mine, complete = observed.at(name), batch.at(name)
        assert np.array_equal(mine[seen], complete[seen], equal_nan=not batch.columns[name].categories), name
        assert (mine[~seen] == -1).all() if batch.columns[name].categories else np.isnan(mine[~seen]).all(), name


def test_the_complete_data_survive(batch: TrialBatch) -> None:
    batch.observed()
    assert not np.isnan(batch.at("mansa_followup")).any()
    assert not np.isnan(batch.at("mansa_baseline")).any()


def test_observed_arrays_are_read_only(batch: TrialBatch) -> None:
    for name, column in batch.observed().columns.items():
        with pytest.raises(ValueError, match="read-only"):
            column.values[0] = 0
        assert not column.values.flags.writeable, name


def small() -> TrialBatch:
    index = Index(2, np.array([0, 0, 1]), np.array([0, 0, 1, 2, 2, 2]))
    return TrialBatch(index).add({
        "arm": Column(np.array([0, 1, 1]), "practice"),
        "region": Column(np.array([1, 0, 1]), "practice", ("north", "south")),
        "score": Column(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), "participant"),
    })  # fmt: skip


def test_columns_are_only_added() -> None:
    batch = small()
    longer = batch.add({"age": Column(np.arange(6.0), "participant")})
    assert set(longer.columns) == {"arm", "region", "score", "age"}
    assert "age" not in batch.columns
    with pytest.raises(SimtrialError, match="only added, and score exists"):
        batch.add({"score": Column(np.zeros(6), "participant")})


@pytest.mark.parametrize(("level", "rows"), [("participant", 3), ("practice", 6), ("trial", 3)])
def test_a_column_of_the_wrong_length_is_refused(level: Any, rows: int) -> None:
    with pytest.raises(SimtrialError, match=re.escape(f"'new' has shape ({rows},) at {level} level")):
        small().add({"new": Column(np.zeros(rows), level)})


def test_values_spread_to_the_level_below_and_never_upwards() -> None:
    batch = small().add({"name": Column(np.array([7.0, 8.0]), "trial")})
    assert batch.at("arm").tolist() == [0, 0, 1, 1, 1, 1]
    assert batch.at("name").tolist() == [7, 7, 7, 8, 8, 8]
    assert batch.at("name", "practice").tolist() == [7, 7, 8]
    with pytest.raises(SimtrialError, match="no single value per practice"):
        batch.at("score", "practice")


def test_a_mask_blanks_numbers_as_nan_and_factors_as_minus_one() -> None:
    mask = Column(np.array([1, 0, 1, 1, 1, 0]), "participant", hides=("score", "region"))
    observed = small().add({"complete": mask}).observed()
    assert np.array_equal(observed.at("score"), [1, np.nan, 3, 4, 5, np.nan], equal_nan=True)
    assert observed.at("region").tolist() == [1, -1, 0, 1, 1, -1]
    assert observed.column("region").level == "participant"
    assert observed.column("complete").hides == ()


def test_one_trial_alone_is_a_slice(batch: TrialBatch) -> None:
    observed = batch.observed()
    for trial in (0, 13, 29):
        alone = observed.only(trial)
        people, practices = observed.index.participant_trial == trial, observed.index.practice_trial == trial
        assert alone.index.trials == 1
        assert alone.index.practices == practices.sum()
        assert alone.index.participant_practice[0] == 0
        for name, column in observed.columns.items():
            here = {"participant": people, "practice": practices, "trial": [trial]}[column.level]
            assert np.array_equal(alone.column(name).values, column.values[here], equal_nan=not column.categories)
            assert np.array_equal(alone.at(name), observed.at(name)[people], equal_nan=not column.categories)


def test_an_unknown_column_is_told_with_the_nearest_name(batch: TrialBatch) -> None:
    with pytest.raises(SimtrialError, match="did you mean 'mansa_baseline'"):
        batch.observed().column("mansa_basline")


def test_added_columns_of_an_observed_batch_leave_the_first_one_alone(batch: TrialBatch) -> None:
    observed = batch.observed()
    changed = observed.with_columns({"sex": Column(np.zeros(batch.index.participants), "participant")})
    assert isinstance(changed, ObservedBatch)
    assert not changed.at("sex").any()
    assert observed.at("sex").any()
