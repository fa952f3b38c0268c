"""check --against: published performance with its own errors."""

import io

import polars as pl
import pytest
from commands import simtrial
from test_fresh import SMALL

VALUE = '[[expect]]\nmeasure = "empirical_se"\nmethod = "means"\nvalue = {value}\nmcse = {mcse}\n'
CELL = 'cell = {{ "mechanism.outcomes.mansa.icc" = {icc} }}\n'


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("against")
    (folder / "s.toml").write_text(SMALL)
    assert simtrial("run", folder / "s.toml", "-o", folder / "run").code == 0
    return folder / "run"


def against(run, text, *options):
    file = run.parent / "published.toml"
    file.write_text(text)
    return simtrial("check", run, "--against", file, *options)


def test_both_errors_are_combined(run):
    done = against(run, VALUE.format(value=0.3, mcse=0.04) + CELL.format(icc=0.2), "--format", "csv")
    row = pl.read_csv(io.StringIO(done.out)).row(0, named=True)
    assert row["distance"] == pytest.approx((row["value"] - 0.3) / (row["mcse"] ** 2 + 0.04**2) ** 0.5)
    assert row["expected"] == "0.3 (0.04)"


@pytest.mark.parametrize(("value", "code"), [(0.5, 0), (5.0, 1)])
def test_the_exit_code_is_that_of_a_check_and_all_values_are_summed_up(run, value, code):
    text = "".join(VALUE.format(value=v, mcse=0.4) for v in (0.4, value))
    done = against(run, 'title = "t"\nsource = "s"\n' + text)
    assert done.code == code
    assert f"errors off: {2 * code} of 4" in done.out


def test_a_scenario_without_expectations_is_run_and_held_against_the_file(run):
    file = run.parent / "published.toml"
    file.write_text(VALUE.format(value=0.5, mcse=0.4))
    assert simtrial("check", run.parent / "s.toml", "--against", file, "--fresh").code == 0


@pytest.mark.parametrize(("text", "messages"), [
    ("", ["no [[expect]] tables"]),
    ("x = 1\n" + VALUE.format(value=1, mcse=1), ["unknown key 'x'"]),
    ('[[expect]]\nmeasure = "bias"\nmethod = "means"\nvalue = 1.0\n', [":1: expect[1]", "missing key 'mcse'"]),
    ('[[expect]]\nmeasure = "bias"\nmethod = "means"\nlower = 1.0\nmcse = 1.0\n', ["a value, not a bound"]),
    ('[[expect]]\nmeasure = "bia"\nmethod = "mean"\nvalue = 1.0\nmcse = 1.0\n',
     [":2:", "did you mean 'bias'", ":3:", "did you mean 'means'"]),
    (VALUE.format(value=1.0, mcse=1.0) + CELL.format(icc=0.3), ["0.3 is not among the values"]),
    (VALUE.format(value=1.0, mcse=-1.0), ["mcse must be >= 0"]),
    ("expect = 3\n", ["no [[expect]] tables"]),
    ("[[expect]\n", ["not valid TOML"]),
])  # fmt: skip
def test_a_file_with_mistakes_is_refused_with_all_of_them(run, text, messages):
    done = against(run, text)
    assert done.code == 2
    for message in messages:
        assert message in done.err
    assert "published.toml" in done.err


def test_a_file_that_is_not_there_is_refused(run):
    done = simtrial("check", run, "--against", run.parent / "none.toml")
    assert (done.code, "none.toml: cannot be read" in done.err) == (2, True)
