"""Interactions of arm with a covariate: joint tests against R, the cases where they are one coefficient, and bounds."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from commands import simtrial
from pydantic import ValidationError
from reference import FILES, ORACLE, method
from runs import go, quick, rows
from scipy.stats import chi2
from scipy.stats import f as f_distribution
from slow_twin import least_squares, optimum, same_practice
from tomls import SMALL, complaint, written
from trials import batch, fit, ragged

from simtrial.analyse import analyse
from simtrial.batch import Column
from simtrial.data import read_trials
from simtrial.estimators import FATAL
from simtrial.flags import text
from simtrial.performance import MEASURES, Options, Sample, performance
from simtrial.store import read_rows
from simtrial.testing import check_method

__all__ = ["quick"]  # a fixture
FACTORS = ("region", "practice_size", "mansa_baseline", "provider", "diagnosis")
LMM = ("between-within", "satterthwaite", "satterthwaite-observed", "kenward-roger", "residual", "normal")
OLS = {
    **{f"ols.{se}.HTZ": {"se": se, "df": "satterthwaite"} for se in ("CR1", "CR2", "CR3")},
    **{f"ols.{se}.Naive-F": {"se": se, "df": "clusters-1"} for se in ("CR1", "CR2", "CR3")},
    "ols.classical": {"se": "classical", "df": "residual"},
}
EVERY = {
    **{f"lmm {df}": ("lmm", {"df": df}) for df in LMM},
    "lmm ml": ("lmm", {"df": "satterthwaite-observed", "estimation": "ml"}),
    **{f"ols {se}": ("ols", {"se": se}) for se in ("CR2", "CR1S", "CR3", "HC1", "classical")},
    **{f"ols CR2 {df}": ("ols", {"df": df}) for df in ("clusters-1", "clusters-2", "clusters-p", "residual", "normal")},
}
ADJUST = ["mansa_baseline", "size"]


def coded(seed=3, practices=14, most=7, people_in="group"):
    """Return a trial whose participants, or practices, fall into three groups."""
    data = ragged(seed, practices, most)
    rng = np.random.default_rng(seed)
    labels = np.array(["a", "b", "c"])
    by_person = labels[rng.integers(0, 3, len(data["arm"]))]
    by_practice = labels[rng.permutation(np.arange(practices) // 2 % 3)][data["practice"]]
    return {**data, people_in: by_person, "district": by_practice}


def examined(data, name, interaction, every_term=False, adjust=ADJUST):
    kind, options = EVERY[name]
    return fit(batch(data), method(kind, adjust=adjust, interaction=interaction, **options), every_term)


# --- other software ---------------------------------------------------------------------------------------------------


def compared():
    """Rows of R beside ours: key, what we say, what R says."""
    options = {f"lmm.{df}": ("lmm", {"df": df}) for df in LMM} | {name: ("ols", said) for name, said in OLS.items()}
    adjust = ["mansa_baseline", "region", "practice_size"]
    methods = [
        method(kind, name=f"{factor}/{name}", adjust=adjust, interaction=factor, **said)
        for factor in FACTORS
        for name, (kind, said) in options.items()
    ]
    ids, observed = read_trials(FILES, set().union(*(m.reads() for m in methods)), {})
    rows = analyse(ids, observed, methods).iter_rows(named=True)
    ours = {(row["trial_id"].split("_")[0], *row["method"].split("/")): row for row in rows}
    with (ORACLE / "interaction.csv").open(newline="") as handle:
        for row in csv.DictReader(handle):
            key = (row.pop("trial_id"), row.pop("factor"), row.pop("method"))
            yield key, ours[key], {name: float(value) for name, value in row.items() if value}


def test_joint_tests_are_those_of_lmertest_pbkrtest_and_clubsandwich():
    # lmerTest differentiates numerically (its df 1e-8 here), CR2 takes matrix roots of practices of leverage near one.
    count, off = 0, []
    for key, mine, theirs in compared():
        if "CR3" in key[2] and "leverage_one" in mine["flags"]:
            continue  # undefined: clubSandwich inverts a singular matrix, we take the pseudo-inverse and say so
        extra = json.loads(mine["extra"])
        square = mine["statistic"] if mine["estimate"] is None else mine["statistic"] ** 2
        found = {**mine, "statistic": square, "df_num": extra["df_num"], "df_den": extra["df_den"]}
        for name, expected in theirs.items():
            if found[name] is None and name in ("estimate", "std_error"):
                continue  # a trial with two of the four regions: one coefficient there, a joint test here
            count += 1
            if not math.isclose(found[name], expected, rel_tol=1e-7, abs_tol=1e-10):
                off.append((key, name, found[name], expected))
    assert count > 5000
    assert off == []


# --- own arithmetic ---------------------------------------------------------------------------------------------------


def dense(data, columns, tests):
    """REML fit by whole matrices: coefficients, covariance, its two derivatives, inverse information; tested ones."""
    y, n, p = data["mansa_followup"], len(data["arm"]), columns.shape[1]
    shared = same_practice(data["practice"])
    gamma = optimum(y, columns, shared)
    h = np.linalg.inv(np.eye(n) + gamma * shared)
    beta = np.linalg.solve(columns.T @ h @ columns, columns.T @ h @ y)
    sigma2 = (y - columns @ beta) @ h @ (y - columns @ beta) / (n - p)
    v = h / sigma2
    phi = np.linalg.inv(columns.T @ v @ columns)
    projection = v - v @ columns @ phi @ columns.T @ v
    parts = (shared, np.eye(n))
    information = [[np.trace(projection @ a @ projection @ b) / 2 for b in parts] for a in parts]
    derivatives = [(phi @ columns.T @ v @ part @ v @ columns @ phi)[np.ix_(tests, tests)] for part in parts]
    return beta[tests], phi[np.ix_(tests, tests)], derivatives, np.linalg.inv(information)


@pytest.mark.parametrize("seed", range(5))
def test_satterthwaite_by_expected_information_against_whole_matrices(seed):
    data = coded(seed)
    groups = [(data["group"] == g).astype(float) for g in "bc"]
    x = np.column_stack(
        [np.ones(len(data["arm"])), data["mansa_baseline"], data["size"] == "small", *groups, data["arm"]]
        + [g * data["arm"] for g in groups]
    ).astype(float)
    b, covariance, derivatives, w = dense(data, x, [6, 7])
    values, vectors = np.linalg.eigh(covariance)
    gradients = [[u @ d @ u for d in derivatives] for u in vectors.T]
    each = [2 * value**2 / (np.array(g) @ w @ g) for value, g in zip(values, gradients, strict=True)]
    expected = sum(nu / (nu - 2) for nu in each)
    df = 2 * expected / (expected - 2) if min(each) > 2 else 2.0
    found = examined(data, "lmm satterthwaite", "group")
    square = b @ np.linalg.solve(covariance, b) / 2
    assert found.extras["statistic"][0] == pytest.approx(square, rel=1e-8)
    assert found.df[0, 0] == found.extras["df_den"][0] == pytest.approx(df, rel=1e-7)
    assert found.p_value[0, 0] == pytest.approx(f_distribution.sf(square, 2, df), rel=1e-7)
    normal = examined(data, "lmm normal", "group")
    assert normal.p_value[0, 0] == pytest.approx(chi2.sf(2 * square, 2), rel=1e-8)


def with_a_category_nobody_has(data, factor):
    """Return the batch with one more category of a factor, so that its test is a joint one."""
    observed = batch(data)
    column = observed.columns[factor]
    return observed.with_columns({factor: Column(column.values, column.level, (*column.categories, "nobody"))})


@pytest.mark.parametrize("name", EVERY)
def test_a_joint_test_of_one_coefficient_is_its_t_test(name):
    data = coded(4)
    kind, options = EVERY[name]
    chosen = method(kind, adjust=ADJUST, interaction="size", **options)
    one, joint = fit(batch(data), chosen), fit(with_a_category_nobody_has(data, "size"), chosen)
    assert one.terms == ("arm:size=small",)
    assert joint.terms == ("arm:size",)
    assert not joint.failed[0]
    assert np.isnan([joint.estimate, joint.std_error, joint.ci_lower, joint.ci_upper]).all()
    assert joint.p_value == pytest.approx(one.p_value, rel=1e-9)
    assert joint.df == pytest.approx(one.df, rel=1e-9)
    assert joint.extras["statistic"] == pytest.approx(one.extras["statistic"] ** 2, rel=1e-9)
    assert [joint.extras["df_num"][0], one.extras["df_num"][0]] == [1.0, 1.0]


@pytest.mark.parametrize("interaction", ["group", "age", "district", "size", "list_size"])
def test_every_term_in_the_units_of_the_data(interaction):
    """Coefficients of the written-out regression; arm's is the effect in the first category or at the mean."""
    data = coded(6)
    found = examined(data, "ols classical", interaction, every_term=True, adjust=["mansa_baseline"])
    values, columns = data[interaction], {"intercept": np.ones_like(data["arm"])}
    columns["mansa_baseline"] = data["mansa_baseline"]
    if values.dtype.kind == "U":
        labels = np.unique(values)[1:]
        main = {f"{interaction}={label}": (values == label).astype(float) for label in labels}
        columns |= main | {"arm": data["arm"]} | {f"arm:{name}": data["arm"] * one for name, one in main.items()}
    else:
        columns |= {interaction: values, "arm": data["arm"]}
        columns[f"arm:{interaction}"] = data["arm"] * (values - values.mean())
    beta, _ = least_squares(data["mansa_followup"], np.column_stack(list(columns.values())))
    ours = dict(zip(found.terms, found.estimate[:, 0], strict=True))
    several = len([name for name in columns if name.startswith("arm:")]) > 1
    assert found.terms[0] == (f"arm:{interaction}" if several else [*columns][-1])
    assert set(ours) == {found.terms[0], *columns}
    for name, expected in zip(columns, beta, strict=True):
        assert ours[name] == pytest.approx(expected, rel=1e-9, abs=1e-11), name


# --- what must not matter ---------------------------------------------------------------------------------------------


def same(one, other, sign=1.0, scale=1.0):
    assert not one.failed.any()
    close = {"rel": 1e-9, "abs": 1e-11, "nan_ok": True}
    assert one.estimate / scale == pytest.approx(sign * other.estimate, **close)
    assert one.std_error / scale == pytest.approx(other.std_error, **close)
    for number in ("df", "p_value", "n_used", "failed", "flags"):
        assert getattr(one, number) == pytest.approx(getattr(other, number), **close), number
    sign = sign if np.isfinite(one.estimate[0]).all() else 1.0  # an F has no sign
    assert one.extras["statistic"] == pytest.approx(sign * other.extras["statistic"], **close)


@pytest.mark.parametrize("interaction", ["group", "district", "age"])
@pytest.mark.parametrize("name", EVERY)
def test_shift_scale_arms_and_order_do_not_matter(name, interaction):
    data = coded(7)
    base = examined(data, name, interaction)
    moved = {**data, "mansa_followup": 250 * data["mansa_followup"] - 37}
    same(examined(moved, name, interaction), base, scale=250.0)
    same(examined({**data, "arm": 1 - data["arm"]}, name, interaction), base, sign=-1.0)
    shuffled = np.random.default_rng(1).permutation(len(data["arm"]))
    same(examined({k: v[shuffled] for k, v in data.items()}, name, interaction), base)
    if interaction == "age":
        same(examined({**data, "age": data["age"] + 1e4}, name, interaction), base)
    else:
        other = np.where(data[interaction] == "c", "A", data[interaction])  # another reference category
        if "satterthwaite" in EVERY[name][1].get("df", ""):  # Fai and Cornelius turn the coefficients as they are coded
            return
        same(examined({**data, interaction: other}, name, interaction), base)


@pytest.mark.parametrize("interaction", ["group", "district", "list_size"])
@pytest.mark.parametrize("name", EVERY)
def test_a_batch_is_the_loop_over_its_trials(name, interaction):
    data = [coded(seed) for seed in range(20, 26)]
    data[2]["mansa_followup"] = np.where(data[2]["arm"] * (data[2]["district"] == "b"), np.nan, 1.0 + data[2]["age"])
    stacked = {column: np.concatenate([one[column] for one in data]) for column in data[0]}
    stacked["trial"] = np.repeat(np.arange(len(data)), [len(one["arm"]) for one in data])
    together, alone = (
        examined(stacked, name, interaction, True),
        [examined(one, name, interaction, True) for one in data],
    )
    for number in ("estimate", "std_error", "df", "p_value", "failed", "flags"):
        loop = np.concatenate([getattr(one, number) for one in alone], axis=-1)
        assert getattr(together, number) == pytest.approx(loop, rel=1e-8, abs=1e-11, nan_ok=True), number


# --- what is missing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arm", [0, 1])
@pytest.mark.parametrize("gone", ["a", "b"])  # the first category, and another
@pytest.mark.parametrize("name", EVERY)
def test_a_category_emptied_in_one_arm_costs_one_df_and_is_flagged(name, gone, arm):
    data = coded(8, practices=24)
    lost = (data["group"] == gone) & (data["arm"] == arm)
    found = examined({**data, "mansa_followup": np.where(lost, np.nan, data["mansa_followup"])}, name, "group")
    assert not found.failed[0]
    assert found.extras["df_num"][0] == 1
    assert text(int(found.flags[0])).split(";")[-1] == "aliased"
    assert 0 < found.p_value[0, 0] < 1
    assert np.isnan(found.estimate[0, 0])


@pytest.mark.parametrize("interaction", ["group", "size"])
@pytest.mark.parametrize("name", EVERY)
def test_no_product_left_is_a_failure_with_its_cause(name, interaction):
    data = coded(8, practices=24)
    lost = (data["arm"] == 1) & (data[interaction] != data[interaction][0])
    found = examined(
        {**data, "mansa_followup": np.where(lost, np.nan, data["mansa_followup"])}, name, interaction, True
    )
    assert found.failed[0]
    assert "arm_aliased" in text(int(found.flags[0]))
    assert np.isnan(found.p_value[:, 0]).all()


BASE = coded(3)
OUTCOME, TREATED = BASE["mansa_followup"], np.unique(BASE["practice"][BASE["arm"] == 1])
AWKWARD = {
    "nobody": np.full_like(OUTCOME, np.nan),
    "all equal": np.full_like(OUTCOME, 4.2),
    "explained exactly": 1 + 2 * BASE["mansa_baseline"] + BASE["arm"],
    "one arm empty": np.where(BASE["arm"] == 1, np.nan, OUTCOME),
    "one practice in an arm": np.where(np.isin(BASE["practice"], TREATED[1:]), np.nan, OUTCOME),
    "one practice in all": np.where(BASE["practice"] == TREATED[0], OUTCOME, np.nan),
    "one person per practice": np.where(np.append(1, np.diff(BASE["practice"])) > 0, OUTCOME, np.nan),
    "three people": np.where(np.arange(len(OUTCOME)) % 20 == 0, OUTCOME, np.nan),
    "two practices an arm": np.where(np.isin(BASE["practice"], [*TREATED[2:], *np.arange(4, 14)]), np.nan, OUTCOME),
}


@pytest.mark.parametrize("case", AWKWARD)
@pytest.mark.parametrize("interaction", ["group", "district", "size", "age", "list_size"])
@pytest.mark.parametrize("name", EVERY)
def test_awkward_trials_have_a_status(name, interaction, case):
    found = examined({**BASE, "mansa_followup": AWKWARD[case]}, name, interaction, every_term=True)
    if found.failed[0]:
        assert found.flags[0] & FATAL
        assert np.isnan(found.p_value).all()
    else:
        assert 0 <= found.p_value[0, 0] <= 1
        assert found.df[0, 0] > 0
        assert found.extras["df_num"][0] >= 1


# --- where it may stand -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("iv", {"received": "received == 1", "interaction": "size"}, "kind 'iv' tests no interaction"),
        ("mi", {"analysis": {"kind": "lmm"}, "interaction": "size"}, "kind 'mi' tests no interaction"),
        ("mi", {"analysis": {"kind": "lmm", "interaction": "size"}}, "kind 'mi' tests no interaction"),
        ("per-protocol", {"keep": "age > 3", "analysis": {"kind": "iv", "received": "received == 1"},
                          "interaction": "size"}, "kind 'iv' tests no interaction"),
        ("lmm", {"interaction": "arm"}, "name a covariate"),
    ],
)  # fmt: skip
def test_a_kind_that_cannot_refuses_when_it_is_read(kind, options, said):
    with pytest.raises(ValidationError, match=said):
        method(kind, **options)


def test_per_protocol_hands_the_interaction_down():
    data, inner = coded(9), {"kind": "ols", "adjust": ADJUST}
    outer = method("per-protocol", keep="age >= 35", interaction="group", analysis=inner)
    subset = method("ols", adjust=ADJUST, interaction="group", subset="age >= 35")
    one, other = fit(batch(data), outer), fit(batch(data), subset)
    assert one.terms == other.terms == ("arm:group",)
    assert one.p_value == pytest.approx(other.p_value, rel=1e-14)


@pytest.mark.parametrize("interaction", ["region", "practice_size", "mansa_baseline"])
@pytest.mark.parametrize("kind", ["lmm", "ols"])
def test_the_contract_of_methods_is_kept(kind, interaction):
    baseline = interaction == "mansa_baseline"  # its products do not scale with the scores
    check_method({"kind": kind, "interaction": interaction}, equivariant=not baseline)


REGIONS = SMALL.replace("{ North = 2, South = 1 }", "{ North = 2, South = 1, East = 1 }").replace("= 12", "= 24")
BY = """
[[methods]]
name = "by {factor}"
kind = "{kind}"
interaction = "{factor}"
"""


@pytest.mark.usefixtures("quick")
def test_power_of_an_interaction_in_a_scenario(tmp_path):
    said = BY.format(factor="region", kind="lmm") + BY.format(factor="practice_size", kind="ols")
    go(tmp_path / "run", 20, text=REGIONS.replace("[run]", f"{said}\n[run]"))
    stored = rows(tmp_path / "run").filter(pl.col("method") == "by region")
    assert stored["estimand"].unique().to_list() == [""]
    assert stored["estimate"].null_count() == stored.height == 20
    assert stored.filter(status="ok").select("p_value", "statistic", "df_num", "df_den").null_count().row(0) == (0,) * 4
    everything, cells, _ = read_rows(tmp_path / "run")
    for common in (False, True):
        found = performance(everything, cells, Options(common=common, reference="by practice_size"))
        measures = {r["measure"]: r for r in found.filter(pl.col("method") == "by region").iter_rows(named=True)}
        share = (stored["p_value"] < 0.05).mean()
        assert measures["rejection_rate"]["value"] == pytest.approx(share)
        assert measures["rejection_rate"]["n"] == measures["convergence_rate"]["n"] == 20
        for name in ("bias", "empirical_se", "model_se", "mse", "coverage", "mean_width"):
            assert (measures[name]["value"], measures[name]["n"]) == (None, 0), name


def test_without_an_interval_anywhere_no_coverage_is_claimed():
    blank, p = np.full(4, np.nan), np.array([0.2, 0.01, 0.6, np.nan])
    sample = Sample(blank, blank, blank, blank, p, np.isnan(p), truth=0.3)
    for name, measure in MEASURES.items():
        found = measure(sample, "robust")
        if name in ("rejection_rate", "convergence_rate"):
            assert found.n in (3, 4)
        elif name not in ("n_estimates", "n_std_errors"):
            assert math.isnan(found.value), name
            assert found.n == 0, name


def test_a_scenario_names_an_interaction_that_is_there(tmp_path):
    def told(kind, factor):
        return complaint(tmp_path, REGIONS.replace("[run]", f"{BY.format(factor=factor, kind=kind)}\n[run]"))

    assert "did you mean 'region'" in told("lmm", "regoin")
    wrapped = BY.format(factor="region", kind="mi") + 'analysis = { kind = "lmm" }\n'
    refused = complaint(tmp_path, REGIONS.replace("[run]", f"{wrapped}\n[run]"))
    assert "kind 'mi' tests no interaction; lmm and ols do" in refused
    one = REGIONS.replace("{ North = 2, South = 1, East = 1 }", "{ North = 2 }")
    said = BY.format(factor="region", kind="lmm")
    assert "'region' has one category only" in complaint(tmp_path, one.replace("[run]", f"{said}\n[run]"))


def test_rows_of_analyse(tmp_path):
    file = written(tmp_path, BY.format(factor="region", kind="lmm") + 'adjust = ["mansa_baseline"]\n', "m.toml")
    data = str(next(f for f in FILES if f.name.startswith("D01")))
    answer = simtrial("analyse", data, "--methods", file, "--all-terms", "--format", "json")
    first, *others = json.loads(answer.out)["rows"]
    extra = json.loads(first["extra"])
    assert first["term"] == "arm:region"
    assert first["status"] == "ok"
    assert [first[n] for n in ("estimate", "std_error", "ci_lower", "ci_upper")] == [None] * 4
    assert first["p_value"] == pytest.approx(f_distribution.sf(first["statistic"], extra["df_num"], extra["df_den"]))
    assert first["df"] == extra["df_den"]
    assert [row["term"] for row in others] == [
        "arm", "intercept", "mansa_baseline", *(f"region={r}" for r in ("Plymouth", "Cornwall", "Somerset")),
        *(f"arm:region={r}" for r in ("Plymouth", "Cornwall", "Somerset")),
    ]  # fmt: skip
    for row in others:
        assert row["statistic"] == pytest.approx(row["estimate"] / row["std_error"])
        assert "df_num" not in row["extra"]


def test_no_covariate_means_no_product():
    with_nothing = method("lmm", adjust=ADJUST).spec()
    assert with_nothing.interaction is None
    assert method("lmm", adjust=["age"], interaction="size").spec().adjust == ("age", "size")
    assert method("lmm", adjust=["size", "age"], interaction="size").spec().adjust == ("size", "age")


def test_the_oracle_file_says_what_it_was_made_with():
    assert "interaction.csv" in (Path(ORACLE) / "README.md").read_text()
