"""Results made elsewhere, read through `simtrial summarise FILE`."""

import csv
import io
import json
import os
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from click.testing import CliRunner

from simtrial.cli import cli
from simtrial.errors import DataError
from simtrial.imported import Reading, read_results

ORACLE = Path(__file__).parent / "oracle"
ELSEWHERE = Path(os.environ.get("SIMTRIAL_ORACLE", Path(__file__).parents[2] / "shared" / "oracle"))
DIGITS = 1e-9  # both sides add some hundred doubles in their own order

RSIMSUM = {"thetamean": "mean_estimate", "thetamedian": "median_estimate", "bias": "bias", "empse": "empirical_se",
           "mse": "mse", "relprec": "relative_precision", "modelse": "model_se",
           "relerror": "relative_error_model_se", "cover": "coverage", "becover": "bias_eliminated_coverage",
           "power": "rejection_rate"}  # fmt: skip


def summarise(*arguments):
    """Long-form output of the command: (cell, method, measure) -> (value, mcse)."""
    done = CliRunner().invoke(cli, ["summarise", *map(str, arguments), "--format", "csv"], catch_exceptions=False)
    assert done.exit_code == 0
    rows = csv.DictReader(io.StringIO(done.stdout))
    return {
        (r["cell"], r["method"], r["measure"]): (float(r["value"] or "nan"), float(r["mcse"] or "nan")) for r in rows
    }


def printed(text):
    """Half a unit of the last digit printed, and what single precision (6e-8, Stata's floats) makes of a percentage."""
    return 0.5 * 10.0 ** -len(text.partition(".")[2]) + 6e-6


def rsimsum(table, options):
    with open(ORACLE / "perf_rsimsum.csv", newline="") as handle:
        rows = [r for r in csv.DictReader(handle) if (r["table_id"], r["options"]) == (table, options)]
    assert rows
    return [r for r in rows if r["stat"] in RSIMSUM and r["est"]]


@pytest.mark.parametrize("dgm", ["A", "B"])
@pytest.mark.parametrize(("options", "arguments"), [
    ("normal,reps complete for every method", ("--common", "--df", "inf")),
])  # fmt: skip
def test_rsimsum_table_through_the_command(dgm, options, arguments):
    file = ORACLE / "perf_results_table.csv"
    found = summarise(file, "--by", "dgm", "--reference", "lmm", "--mcse", "normal", *arguments)
    compared = 0
    for row in rsimsum(f"perf_results_table:{dgm}", options):
        key = (f"dgm={dgm}", row["method"], RSIMSUM[row["stat"]])
        if row["stat"] == "relprec" and row["method"] == "lmm":
            continue  # the reference against itself
        value, mcse = found[key]
        assert value == pytest.approx(float(row["est"]), rel=DIGITS, abs=DIGITS), key
        if row["mcse"]:
            assert mcse == pytest.approx(float(row["mcse"]), rel=DIGITS), key
        compared += 1
    assert compared == 3 * len(RSIMSUM) - 1


def test_stata_wide_file_through_the_command():
    file = ELSEWHERE / "perf_stata_check.csv"
    if not file.is_file():
        pytest.skip("perf_stata_check.csv is not there: set SIMTRIAL_ORACLE to the folder that holds it")
    names = {"Bias in point estimate": ("bias", 1), "Empirical standard error": ("empirical_se", 1),
             "Mean squared error": ("mse", 1), "Root mean squared error": ("rmse", 1),
             "RMS model-based standard error": ("model_se", 1), "Mean conf. interval width": ("mean_width", 1),
             "Relative % error in standard error": ("relative_error_model_se", 1),
             "% coverage of nominal 95% conf. interval": ("coverage", 100),
             "% power of 5% level test": ("rejection_rate", 100),
             "% precision gain relative to method b_1": ("relative_precision", 1)}  # fmt: skip
    compared = 0
    for options, arguments in (("true=0, normal", ()), ("true=0, df=5", ("--df", "5"))):
        found = summarise(file, "--true", "0", "--reference", "b_1", "--mcse", "normal", *arguments)
        with open(ELSEWHERE / "perf_stata_simsum.csv", newline="") as handle:
            for row in csv.DictReader(handle):
                if row["options"] != options or row["stata_label"] not in names or not row["est"]:
                    continue
                measure, scale = names[row["stata_label"]]
                if measure == "relative_precision" and row["method"] == "b_1":
                    continue
                value, mcse = found["base", row["method"], measure]
                assert value * scale == pytest.approx(float(row["est"]), abs=printed(row["est"]))
                if row["mcse"]:
                    assert mcse * scale == pytest.approx(float(row["mcse"]), abs=printed(row["mcse"]))
                compared += 1
    assert compared == 38


@pytest.fixture
def results():
    return pl.DataFrame({
        "rep": [1, 1, 2, 2, 3, 3],
        "method": ["a", "b"] * 3,
        "est": [0.1, 0.2, 0.3, 0.4, 0.2, None],
        "se": [0.1, 0.1, 0.2, 0.1, 0.1, None],
    })  # fmt: skip


def test_csv_parquet_and_stata_files_are_read_alike(results, tmp_path):
    results.write_csv(tmp_path / "r.csv")
    results.write_parquet(tmp_path / "r.parquet")
    pd.DataFrame(results.to_dict(as_series=False)).to_stata(tmp_path / "r.dta", write_index=False)
    frames = [read_results(tmp_path / f"r.{kind}", Reading(true="0.25"))[0] for kind in ("csv", "parquet", "dta")]
    assert frames[0].equals(frames[1])
    assert frames[0].equals(frames[2])
    assert frames[0]["status"].to_list() == ["ok"] * 5 + ["failed"]


def test_long_and_wide_files_give_the_same_rows(results, tmp_path):
    results.write_csv(tmp_path / "long.csv")
    wide = results.pivot(on="method", index="rep", values=["est", "se"], separator="")
    wide.write_csv(tmp_path / "siman.csv")
    renamed = {f"{kind}{m}": m if kind == "est" else f"se_{m}" for kind in ("est", "se") for m in "ab"}
    wide.rename(renamed).write_csv(tmp_path / "simsum.csv")
    keys = ["method", "replicate"]
    expected = read_results(tmp_path / "long.csv", Reading())[0].sort(keys)
    for name in ("siman", "simsum"):
        assert read_results(tmp_path / f"{name}.csv", Reading())[0].sort(keys).equals(expected), name


def test_intervals_of_the_file_are_kept_and_missing_ones_made(tmp_path):
    (tmp_path / "r.csv").write_text("est,se,lci,uci,p\n1,1,0.5,,0.2\n1,1,,,\n")
    rows = read_results(tmp_path / "r.csv", Reading())[0]
    assert rows["ci_lower"].to_list() == pytest.approx([0.5, 1 - 1.959963984540054])
    assert rows["ci_upper"].to_list() == pytest.approx([2.959963984540054] * 2)
    assert rows["p_value"].to_list() == pytest.approx([0.2, 0.31731050786291415])  # two-sided normal p of z = 1


@pytest.mark.parametrize(("text", "reading", "message"), [
    ("est,se,true\n1,1,0\n2,1,0.5\n", Reading(), "two true values, 0 and 0.5, for one estimand"),
    ("est,se\nx,1\n", Reading(), "r.csv:2: 'estimate' must hold numbers; 'x' given"),
    ("value,error\n1,1\n", Reading(), "no column of estimates"),
    ("est,se\n1,1\n", Reading(by=("dmg",)), "--by dmg: no such column"),
    ("est,se\n1,1\n", Reading(true="truth"), "--true truth: neither a number nor a column"),
    ("est,se\n1,1\n", Reading({"estimate": "beta"}), "no column 'beta'"),
    ("est,se\n1,1\n", Reading({"estimat": "est"}), "unknown column 'estimat'"),
    ("", Reading(), "the file is empty"),
])  # fmt: skip
def test_what_cannot_be_read_is_refused_with_the_reason(tmp_path, text, reading, message):
    (tmp_path / "r.csv").write_text(text)
    with pytest.raises(DataError, match=message.replace("(", "\\(")):
        read_results(tmp_path / "r.csv", reading)


def test_two_true_values_are_no_trouble_in_two_cells(tmp_path):
    (tmp_path / "r.csv").write_text("dgm,est,se,true\n1,1,1,0\n2,2,1,0.5\n")
    cells = read_results(tmp_path / "r.csv", Reading())[1]
    assert dict(zip(cells["cell"], cells["true_value"], strict=True)) == {"dgm=1": 0.0, "dgm=2": 0.5}
    assert [json.loads(f) for f in cells["factors"]] == [{"dgm": "1"}, {"dgm": "2"}]


def test_an_unknown_reference_is_refused(tmp_path):
    (tmp_path / "r.csv").write_text("method,est,se\nlmm,1,1\n")
    done = CliRunner().invoke(cli, ["summarise", str(tmp_path / "r.csv"), "--reference", "lm"])
    assert "did you mean 'lmm'" in str(done.exception)
