"""Interactions of arm with a covariate: where the option may stand, and what is made of its rows."""

import json
import math

import numpy as np
import polars as pl
import pytest
from commands import simtrial
from interactions import ADJUST, coded
from pydantic import ValidationError
from reference import FILES, method
from runs import go, quick, rows
from scipy.stats import f as f_distribution
from tomls import SMALL, complaint, written
from trials import batch, fit

from simtrial.performance import MEASURES, Options, Sample, performance
from simtrial.store.reading import read_rows
from simtrial.testing import check_method

__all__ = ["quick"]  # a fixture


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("iv", {"received": "received == 1", "interaction": "size"}, "kind 'iv' tests no interaction"),
        ("mi", {"analysis": {"kind": "gee"}, "interaction": "size"}, "kind 'gee' tests no interaction"),
        ("mi", {"analysis": {"kind": "gee", "interaction": "size"}}, "kind 'gee' tests no interaction"),
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
    one = REGIONS.replace("{ North = 2, South = 1, East = 1 }", "{ North = 2 }")
    said = BY.format(factor="region", kind="lmm")
    assert "'region' has one category only" in complaint(tmp_path, one.replace("[run]", f"{said}\n[run]"))


def test_rows_of_analyse(tmp_path):
    order = '[categories]\nregion = ["Birmingham", "Plymouth", "Cornwall", "Somerset"]\n'
    file = written(tmp_path, order + BY.format(factor="region", kind="lmm") + 'adjust = ["mansa_baseline"]\n', "m.toml")
    data = str(next(f for f in FILES if f.name.startswith("D01")))
    answer = simtrial("analyse", data, "--methods", file, "--all-terms", "--format", "json")
    first, *others = json.loads(answer.out)["rows"]
    extra = json.loads(first["extra"])
    assert first["term"] == "arm:region"
    assert first["status"] == "ok"
    assert [first[n] for n in ("estimate", "std_error", "ci_lower", "ci_upper")] == [None] * 4
    assert first["p_value"] == pytest.approx(f_distribution.sf(first["statistic"], extra["df_num"], extra["df_den"]))
    assert first["df"] == extra["df_den"]
    assert extra["reference"] == {"region": "Birmingham"}
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
