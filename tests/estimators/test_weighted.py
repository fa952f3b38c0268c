"""Least squares with a weight per practice, against clubSandwich 0.5.8 on weighted lm, and identities."""

import csv

import numpy as np
import pytest
import slow_twin
import test_degenerate as degenerate
from commands import simtrial
from reference import FILES, MODELS, ORACLE, method
from trials import batch, fit, ragged

from simtrial.batch import Column
from simtrial.files.read_trials import read_trials
from simtrial.flags import text

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


def dense(y, x, practice, weight, correction):
    """Weighted coefficients, their cluster-robust covariance and df under independent errors, from N x N matrices."""
    n, p = x.shape
    w = np.diag(weight)
    bread = np.linalg.inv(x.T @ w @ x)
    beta = bread @ x.T @ w @ y
    rest = np.eye(n) - x @ bread @ x.T @ w
    residual, meat, columns = y - x @ beta, np.zeros((p, p)), [[] for _ in range(p)]
    for label in np.unique(practice):
        rows = practice == label
        spread = (rest @ rest.T if correction == "CR2" else rest)[np.ix_(rows, rows)]
        exponent = slow_twin.EXPONENTS[correction]
        adjust = slow_twin.power((spread + spread.T) / 2, exponent) if exponent else np.eye(rows.sum())
        own = adjust @ np.diag(weight[rows]) @ x[rows]
        score = own.T @ residual[rows]
        meat += np.outer(score, score)
        for k in range(p):
            columns[k].append(rest[rows].T @ own @ bread[:, k])
    grams = [np.column_stack(parts).T @ np.column_stack(parts) for parts in columns]
    return beta, bread @ meat @ bread, np.array([np.trace(g) ** 2 / np.sum(g**2) for g in grams])


@pytest.mark.parametrize("correction", ["CR0", "CR2", "CR3"])
@pytest.mark.parametrize("weights", ["inverse-size", "source-size"])
def test_every_coefficient_is_that_of_whole_matrices(weights, correction):
    for seed in range(12):
        data = ragged(seed, practices=10, most=8)
        data["register_size"] = np.random.default_rng(seed).integers(200, 20000, 10)[data["practice"]].astype(float)
        weight = 1 / np.bincount(data["practice"])[data["practice"]]
        if weights == "source-size":
            weight = weight * data["register_size"]
        for adjust in ([], ["mansa_baseline", "size"], ["mansa_baseline", "age", "list_size"]):
            x = slow_twin.design(data, adjust)
            beta, covariance, df = dense(data["mansa_followup"], x, data["practice"], weight, correction)
            found = fit(
                batch(data), method("ols", adjust=adjust, weights=weights, se=correction), every_term=True
            )  # fmt: skip
            at = [*range(1, len(found.terms)), 0]
            std_error = np.sqrt(np.diag(covariance))
            assert (found.estimate[at, 0] - beta) / std_error == pytest.approx(0 * beta, abs=1e-9)
            assert found.std_error[at, 0] == pytest.approx(std_error, rel=1e-9)
            assert found.df[at, 0] == pytest.approx(df, rel=1e-9)


PLAIN = {
    case: claim[1:] for case, claims in degenerate.EXPECTED.items() for claim in claims if "ols" in claim[0]
}  # fmt: skip


@pytest.mark.parametrize("weights", ["inverse-size", "source-size"])
@pytest.mark.parametrize("case", degenerate.CASES)
def test_a_degenerate_trial_has_the_status_it_has_without_weights(case, weights):
    data = degenerate.observed(case)
    sizes = 1000.0 + 10.0 * np.arange(data.index.practices)
    data = data.with_columns({"register_size": Column(sizes, "practice")})
    for se in ("CR0", "CR1", "CR1S", "CR2", "CR3"):
        found = fit(data, method("ols", adjust=degenerate.CASES[case][1], weights=weights, se=se), every_term=True)
        numbers = [getattr(found, name)[0, 0] for name in degenerate.NUMBERS]
        flags = set(filter(None, text(int(found.flags[0])).split(";")))
        assert ("failed" if found.failed[0] else "ok") == PLAIN[case][0], se
        # CR0 and its kin take no leverage into account
        without = {"leverage_one"} if se not in ("CR2", "CR3") else set()
        assert flags - without == set(filter(None, PLAIN[case][1].split(";"))) - without, se
        if found.failed[0]:
            assert np.isnan(numbers).all(), se
        else:
            assert np.isfinite(numbers).all(), se
            assert numbers[1] > 0, se
            assert numbers[2] > 0, se
