"""Expectations held against what was found, in Monte Carlo standard errors."""

import math

import polars as pl
import pytest
from click.testing import CliRunner

from simtrial.check import check
from simtrial.cli import cli
from simtrial.errors import ScenarioError
from simtrial.scenario import builtin_names, load

SCENARIO = """
schema = 1
name = "small"
[mechanism.practices]
number = 10
cluster_size_mean = 4.0
cluster_size_cv = 0.6
[mechanism.allocation]
method = "complete"
[mechanism.outcomes.mansa]
baseline_slope = 0.0
items = 0
[[estimands]]
name = "itt"
kind = "itt"
[[methods]]
name = "lmm"
kind = "lmm"
adjust = []
[run]
replicates = 60
block = 30
"""


def judged(observed, error, n=1000, measure="bias", **wanted):
    frame = pl.DataFrame({"cell": ["base"], "method": ["m"], "estimand": ["e"], "measure": [measure],
                          "value": [observed], "mcse": [error], "n": [n]})  # fmt: skip
    cells = pl.DataFrame({"cell": ["base"], "factors": ["{}"]})
    row = check(frame, cells, [{"measure": measure, "method": "m", **wanted}]).row(0, named=True)
    return row["distance"], row["verdict"]


def test_a_theory_value_is_judged_in_combined_errors():
    assert judged(0.5, 0.03, value=0.4, mcse=0.04) == (pytest.approx(2.0), "ok")  # 0.1 / hypot(0.03, 0.04)
    assert judged(0.5, 0.003, value=0.4, mcse=0.004) == (pytest.approx(20.0), "FAIL")


def test_z_and_margin_are_the_user_s():
    assert judged(0.5, 0.05, value=0.4, z=1.9)[1] == "FAIL"
    assert judged(0.5, 0.05, value=0.4, z=1.9, margin=0.01) == (pytest.approx(1.8), "ok")


@pytest.mark.parametrize(("value", "distance", "verdict"), [
    (0.95, 0.0, "ok"), (0.93, 0.0, "ok"), (0.97, 0.0, "ok"), (0.90, -0.03 / math.sqrt(0.93 * 0.07 / 1000), "FAIL"),
    (0.972, 0.002 / math.sqrt(0.97 * 0.03 / 1000), "ok"),
])  # fmt: skip
def test_bounds_allow_for_the_error_on_the_far_side_only(value, distance, verdict):
    found = judged(value, 0.007, measure="coverage", lower=0.93, upper=0.97)
    assert found == (pytest.approx(distance), verdict)


def test_a_share_of_nought_is_not_certainty():
    distance, verdict = judged(0.0, 0.0, n=50, measure="rejection_rate", value=0.05)
    assert distance == pytest.approx(-0.05 / math.sqrt(0.05 * 0.95 / 50))
    assert verdict == "ok"
    assert judged(0.0, 0.0, n=5000, measure="rejection_rate", value=0.05)[1] == "FAIL"


def test_flags_and_failures_are_judged_as_shares():
    assert judged(230.0, 13.3, n=1000, measure="failures", value=0.23) == (0.0, "ok")
    assert judged(400.0, 15.0, n=1000, measure="failures", upper=0.3)[1] == "FAIL"


def test_a_measure_that_cannot_be_computed_fails():
    assert judged(None, None, value=0.0)[1] == "FAIL"


def written(folder, expect):
    file = folder / "s.toml"
    file.write_text(SCENARIO + expect)
    return str(file)


def test_the_command_exits_1_when_an_expectation_fails_and_0_when_none_does(tmp_path):
    good = '[[expect]]\nmeasure = "coverage"\nmethod = "lmm"\nlower = 0.5\n'
    bad = '[[expect]]\nmeasure = "bias"\nmethod = "lmm"\nvalue = 5.0\n'
    assert CliRunner().invoke(cli, ["check", written(tmp_path, good)]).exit_code == 0
    done = CliRunner().invoke(cli, ["check", written(tmp_path, good + bad), "-o", str(tmp_path / "run")])
    assert done.exit_code == 1
    assert "1 hold, 1 fail" in done.stdout
    assert CliRunner().invoke(cli, ["check", str(tmp_path / "run")]).exit_code == 1


@pytest.mark.parametrize(("expect", "message"), [
    ('measure = "coverage"\nmethod = "lm"\nlower = 0.9', "did you mean 'lmm'"),
    ('measure = "coverag"\nmethod = "lmm"\nlower = 0.9', "did you mean 'coverage'"),
    ('measure = "coverage"\nmethod = "lmm"', "either a value, or a lower and/or an upper bound"),
    ('measure = "coverage"\nmethod = "lmm"\nvalue = 0.95\nlower = 0.9', "either a value, or"),
    ('measure = "flag:boundry"\nmethod = "lmm"\nvalue = 0.1', "did you mean 'flag:boundary'"),
])  # fmt: skip
def test_an_expectation_about_nothing_is_refused(tmp_path, expect, message):
    with pytest.raises(ScenarioError, match=message):
        load(written(tmp_path, f"[[expect]]\n{expect}\n"))


def test_a_cell_that_is_not_varied_is_refused(tmp_path):
    vary = '[vary.cross]\n"mechanism.practices.number" = [8, 10]\n'
    expect = '[[expect]]\nmeasure = "bias"\nmethod = "lmm"\nvalue = 0.0\ncell = { "mechanism.practices.numbers" = 8 }\n'
    with pytest.raises(ScenarioError, match="unknown varied key"):
        load(written(tmp_path, vary + expect))


LONG = ("verify/itt-sweep", "verify/informative-size", "verify/clda", "verify/twenty-practices")
"""Half a minute or more."""


@pytest.mark.verify
@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in builtin_names()
    if name.startswith(("verify/", "published/"))
])  # fmt: skip
def test_built_in_expectations_hold(name):
    done = CliRunner().invoke(cli, ["check", name, "--format", "csv"], catch_exceptions=False)
    assert done.exit_code == 0, done.stdout


@pytest.mark.verify
def test_a_check_that_should_fail_does():
    """Normal degrees of freedom at ICC 0.2 reject in 6.4%: held against 5% the check must notice."""
    expect = [{"measure": "rejection_rate", "method": "normal", "value": 0.05, "z": 3.3,
               "cell": {"mechanism.outcomes.mansa.icc": 0.2}}]  # fmt: skip
    done = CliRunner().invoke(cli, ["check", "verify/null-39", "--format", "json", "--set", f"expect={toml(expect)}"])
    assert done.exit_code == 1


def toml(rows):
    told = []
    for row in rows:
        cell = ", ".join(f'"{k}" = {v}' for k, v in row["cell"].items())
        told.append(f'{{ measure = "{row["measure"]}", method = "{row["method"]}", value = {row["value"]}, '
                    f"z = {row['z']}, cell = {{ {cell} }} }}")  # fmt: skip
    return "[" + ", ".join(told) + "]"
