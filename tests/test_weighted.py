"""Least squares with a weight per practice, against clubSandwich 0.5.8 on weighted lm, and identities."""

import csv

import numpy as np
import pytest
from commands import simtrial
from reference import FILES, MODELS, ORACLE, method
from trials import batch, fit, ragged

from simtrial.batch import Column
from simtrial.data import read_trials

ADJUST = ["mansa_baseline", "region", "practice_size"]


def reference():
    with open(ORACLE / "weighted.csv", newline="") as handle:
        return list(csv.DictReader(handle))


ROWS = reference()
TRIALS = sorted({row["trial_id"] for row in ROWS})


def trial(name, adjust):
    """One trial, and register sizes 20 + 7 (k mod 9) for the k-th analysed practice in the order of their names."""
    file = next(f for f in FILES if f.stem.split("_")[0] == name)
    _, observed = read_trials([file], {"arm", "mansa_followup", *ADJUST}, {})
    seen = ~np.isnan(observed.at("mansa_followup"))
    if "mansa_baseline" in adjust:
        seen &= ~np.isnan(observed.at("mansa_baseline"))
    analysed = np.unique(observed.index.participant_practice[seen])
    with open(file, newline="") as handle:
        names = list(dict.fromkeys(row["practice"] for row in csv.DictReader(handle)))
    size = np.full(observed.index.practices, np.nan)
    for place, practice in enumerate(sorted(analysed, key=lambda at: names[at]), start=1):
        size[practice] = 20 + 7 * (place % 9)
    return observed.with_columns({"register_size": Column(size, "practice")})


@pytest.mark.parametrize("name", TRIALS)
@pytest.mark.parametrize("model", MODELS)
def test_estimate_error_and_df_are_those_of_the_reference(name, model):
    observed = trial(name, MODELS[model])
    rows = [row for row in ROWS if (row["trial_id"], row["model"]) == (name, model)]
    assert len(rows) == 10
    for row in rows:
        weights = {"w1": "inverse-size", "w2": "source-size"}[row["weights"]]
        found = fit(observed, method("ols", adjust=MODELS[model], weights=weights, se=row["se"]))
        mine = [float(x[0, 0]) for x in (found.estimate, found.std_error, found.df)]
        assert mine[0] == pytest.approx(float(row["estimate"]), rel=0, abs=1e-9 * float(row["std_error"]))
        assert mine[1:] == pytest.approx([float(row["std_error"]), float(row["df"])], rel=1e-7)


def test_inverse_size_is_the_difference_of_practice_means():
    data = batch(ragged(7))
    weighted = fit(data, method("ols", adjust=[], weights="inverse-size"))
    means = fit(data, method("cluster-means", adjust=[]))
    assert weighted.estimate == pytest.approx(means.estimate, rel=1e-12)


def test_cr2_without_covariates_is_the_error_of_welch():
    """With one mean per arm the leverage-adjusted sandwich is s_1^2/k_1 + s_0^2/k_0 where practices are of one size."""
    data = ragged(3, practices=11)
    first = {key: np.concatenate([np.flatnonzero(data["practice"] == p)[:1] for p in np.unique(data["practice"])])
             for key in ["rows"]}["rows"]  # fmt: skip
    one = {key: values[first] for key, values in data.items()}
    weighted = fit(batch(one), method("ols", adjust=[], weights="inverse-size"))
    welch = fit(batch(one), method("cluster-means", adjust=[], variance="welch"))
    assert weighted.std_error == pytest.approx(welch.std_error, rel=1e-12)


@pytest.mark.parametrize("se", ["CR0", "CR1", "CR1S", "CR2", "CR3"])
def test_registers_in_proportion_to_analysed_sizes_leave_the_unweighted_fit(se):
    """Weights that are all alike, through the general formulas: every number is that of the fit without weights."""
    data = batch(ragged(9))
    size = np.bincount(data.index.participant_practice).astype(float)
    data = data.with_columns({"register_size": Column(3.0 * size, "practice")})
    plain = fit(data, method("ols", adjust=["mansa_baseline"], se=se), every_term=True)
    weighted = fit(data, method("ols", adjust=["mansa_baseline"], se=se, weights="source-size"), every_term=True)
    for name in ("estimate", "std_error", "df", "p_value"):
        assert getattr(weighted, name) == pytest.approx(getattr(plain, name), rel=1e-9)
    assert weighted.terms == plain.terms


def test_a_practice_without_a_register_is_left_out():
    data = batch(ragged(9))
    size = np.full(data.index.practices, 50.0)
    size[0] = np.nan
    found = fit(
        data.with_columns({"register_size": Column(size, "practice")}), method("ols", adjust=[], weights="source-size")
    )
    assert found.clusters_used[0] == data.index.practices - 1


@pytest.mark.parametrize("options", [{"se": "HC1"}, {"se": "classical"}, {"interaction": "region"}])
def test_what_weights_do_not_go_with_is_refused(options):
    with pytest.raises(ValueError, match="weights"):
        method("ols", weights="inverse-size", **options)


def test_data_without_registers_are_refused(tmp_path):
    methods = tmp_path / "methods.toml"
    methods.write_text('[[methods]]\nname = "x"\nkind = "ols"\nadjust = []\nweights = "source-size"\n')
    done = simtrial("analyse", FILES[0], "--methods", methods)
    assert done.code == 2
    assert "register_size" in done.err
