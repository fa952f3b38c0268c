"""Expectations held against what was found, in Monte Carlo standard errors."""

import io
import math
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from scipy.stats import binom, binomtest, norm
from tomls import head

from simtrial.check.expectations import check
from simtrial.cli import cli
from simtrial.errors import ScenarioError
from simtrial.performance import SHARES
from simtrial.scenario import load

CASES = Path(__file__).parents[1] / "data" / "cases" / "check"
SCENARIO = (
    head("small", 10, 4.0, 0.6)
    + """\
[[methods]]
name = "lmm"
kind = "lmm"
adjust = []
[run]
replicates = 60
block = 30
"""
)


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


@pytest.mark.parametrize(("value", "side", "verdict"), [
    (0.95, 0, "ok"), (0.93, 0, "ok"), (0.97, 0, "ok"), (0.90, -1, "FAIL"), (0.972, 1, "ok"),
])  # fmt: skip
def test_bounds_allow_for_the_error_on_the_far_side_only(value, side, verdict):
    """Of 1,000: the exact binomial tail beyond the bound, as a normal deviate."""
    distance = {0: 0.0, -1: norm.ppf(binom.cdf(900, 1000, 0.93)), 1: norm.isf(binom.sf(971, 1000, 0.97))}[side]
    found = judged(value, 0.007, measure="coverage", lower=0.93, upper=0.97)
    assert found == (pytest.approx(distance), verdict)


@pytest.mark.parametrize(("value", "side"), [(0.90, -1), (0.972, 1)])
def test_bounds_of_a_mean_are_judged_by_its_own_error(value, side):
    found = judged(value, 0.007, measure="bias", lower=0.93, upper=0.97)[0]
    assert found == pytest.approx((value - (0.93 if side < 0 else 0.97)) / 0.007)


def test_a_share_of_nought_is_not_certainty():
    distance, verdict = judged(0.0, 0.0, n=50, measure="rejection_rate", value=0.05)
    assert distance == pytest.approx(norm.ppf(0.95**50))  # 2.5 expected: the exact probability of none
    assert verdict == "ok"
    assert judged(0.0, 0.0, n=5000, measure="rejection_rate", value=0.05)[1] == "FAIL"


@pytest.mark.parametrize("measure", sorted(SHARES))
@pytest.mark.parametrize(("observed", "n", "wanted", "tail"), [
    (0.0, 40, {"value": 0.025}, 0.975**40),  # shared/cases/check/miss.toml: none of 40 under 0.025
    (1.0, 40, {"value": 0.975}, -(0.975**40)),
    (2 / 20, 20, {"upper": 0.001}, -(1 - 0.999**20 - 20 * 0.001 * 0.999**19)),
    (18 / 20, 20, {"lower": 0.999}, 1 - 0.999**20 - 20 * 0.001 * 0.999**19),
    (1 / 30, 30, {"value": 0.2, "margin": 0.01}, 0.81**30 + 30 * 0.19 * 0.81**29),
])  # fmt: skip
def test_every_share_near_0_or_1_is_judged_by_the_exact_binomial_tail(measure, observed, n, wanted, tail):
    """By hand: probability of as many or fewer (more: minus), as a normal deviate."""
    distance, verdict = judged(observed, 0.0, n=n, measure=measure, **wanted)
    assert distance == pytest.approx(norm.ppf(tail) if tail > 0 else -norm.ppf(-tail), rel=1e-9)
    assert verdict == ("ok" if abs(distance) < 3.3 else "FAIL")


def test_a_share_expected_never_or_always_fails_at_the_first_exception():
    assert judged(1 / 1000, 0.001, n=1000, measure="type_s_rate", value=0.0)[1] == "FAIL"
    assert judged(999 / 1000, 0.001, n=1000, measure="convergence_rate", lower=1.0)[1] == "FAIL"
    assert judged(1.0, 1.0, n=1000, measure="failures", upper=0.0) == (math.inf, "FAIL")
    assert judged(0.0, 0.0, n=1000, measure="failures", upper=0.0) == (0.0, "ok")


@pytest.mark.parametrize("n", [20, 200, 10_000, 1_000_000])
@pytest.mark.parametrize("expected", [1e-4, 0.025, 0.05, 0.5, 0.95, 0.9999])
@pytest.mark.parametrize("errors", [-4.5, -2.0, 0.7, 3.0, 6.0])
def test_distances_of_shares_are_tail_probabilities_of_the_binomial_test(n, expected, errors):
    """scipy's own binomtest, on the side of the deviation."""
    seen = round(n * expected + errors * math.sqrt(n * expected * (1 - expected)))
    seen = min(max(seen, 0), n)
    side = "less" if seen < n * expected else "greater"
    tail = binomtest(seen, n, expected, alternative=side).pvalue
    found = judged(seen / n, 0.0, n=n, measure="coverage", value=expected)[0]
    assert norm.sf(abs(found)) == pytest.approx(min(tail, 0.5), rel=1e-6)


def test_a_share_so_far_off_that_no_double_holds_its_tail_has_a_distance_all_the_same():
    found = judged(0.5, 0.0, n=1_000_000, measure="coverage", value=0.95)
    assert found == (pytest.approx(-0.45 / math.sqrt(0.95 * 0.05 / 1_000_000)), "FAIL")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_intervals_that_never_miss_on_one_side_pass(seed):
    """shared/cases/check/miss.toml: with seed 1 no interval of 40 lies above the true value, where 0.025 are due."""
    done = CliRunner().invoke(cli, ["check", str(CASES / "miss.toml"), "--seed", str(seed), "--format", "csv"])
    assert done.exit_code == 0, done.output
    found = pl.read_csv(io.StringIO(done.stdout))
    row = found.filter(measure="lower_miss").row(0, named=True)
    if seed == 1:
        assert (row["value"], row["distance"]) == (0.0, pytest.approx(norm.ppf(0.975**40)))


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


STATED = ("verify/itt-sweep", "verify/informative-size", "verify/clda", "verify/twenty-practices", "verify/null-39")


@pytest.mark.verify
@pytest.mark.slow
@pytest.mark.parametrize("name", STATED)
def test_built_in_expectations_hold_at_their_own_seed(name):
    """At full size; fresh seeds and the other scenarios: test_exact_scenarios.py."""
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


def test_performance_may_list_what_is_always_given(tmp_path):
    """docs/measures.md lists failures and flags among the measures."""
    file = tmp_path / "s.toml"
    file.write_text(SCENARIO + '[performance]\nmeasures = ["failures", "bias", "flag:boundary"]\n')
    done = CliRunner().invoke(cli, ["run", str(file), "-o", str(tmp_path / "run"), "--format", "csv"])
    assert done.exit_code == 0, done.output
    assert set(pl.read_csv(io.StringIO(done.stdout))["measure"]) == {"failures", "bias", "flag:boundary"}
    file.write_text(SCENARIO + '[performance]\nmeasures = ["failure"]\n')
    with pytest.raises(ScenarioError, match="did you mean 'failures'"):
        load(str(file))
