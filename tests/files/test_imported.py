"""Results made elsewhere, read through `simtrial summarise FILE`."""

import csv
import io
import json
import re
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from click.testing import CliRunner

from simtrial.cli import cli
from simtrial.errors import DataError
from simtrial.files.read_results import Reading, read_results

ORACLE = Path(__file__).parents[1] / "oracle"


def summarise(*arguments):
    """Long-form output of the command: (cell, method, measure) -> (value, mcse)."""
    done = CliRunner().invoke(cli, ["summarise", *map(str, arguments), "--format", "csv"], catch_exceptions=False)
    assert done.exit_code == 0
    rows = csv.DictReader(io.StringIO(done.stdout))
    return {
        (r["cell"], r["method"], r["measure"]): (float(r["value"] or "nan"), float(r["mcse"] or "nan")) for r in rows
    }


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


def test_intervals_of_the_file_are_kept_and_made_for_methods_that_have_none(tmp_path):
    text = "method,est,se,lci,uci,p\nA,1,1,0.5,1.5,0.2\nA,1,1,,,\nA,1,1,0.5,,\nB,1,1,,,\n"
    (tmp_path / "r.csv").write_text(text)
    rows = read_results(tmp_path / "r.csv", Reading())[0]
    assert rows["ci_lower"].to_list() == [0.5, None, None, pytest.approx(1 - 1.959963984540054)]
    assert rows["ci_upper"].to_list() == [1.5, None, None, pytest.approx(2.959963984540054)]
    assert rows["p_value"].to_list() == [0.2, None, None, pytest.approx(0.31731050786291415)]  # two-sided p of z = 1


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


@pytest.mark.parametrize("gap", ["", " ", ",,", '"",""', "NA,.,,"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("row", "message"), [
    ("1,A,x,1", "'estimate' must hold numbers; 'x' given"),
    ("1,,1,1", "method is blank"),
    ("1,A,1,-1", "a standard error is negative; -1 given"),
])  # fmt: skip
def test_lines_are_those_of_the_file_whatever_blank_lines_there_are(tmp_path, row, message, end, gap):
    lines = ["", "rep,method,est,se", gap, gap, "1,B,1,1", gap, row, gap]
    (tmp_path / "r.csv").write_bytes(end.join(lines).encode())
    with pytest.raises(DataError, match=re.escape(f"r.csv:7: {message}")):
        read_results(tmp_path / "r.csv", Reading())


def test_a_row_after_a_cell_of_two_lines_has_the_line_it_begins_on(tmp_path):
    (tmp_path / "r.csv").write_text('est,se,note\n1,1,"a\nb"\n\nx,1,\n')
    with pytest.raises(DataError, match=re.escape("r.csv:5: 'estimate' must hold numbers")):
        read_results(tmp_path / "r.csv", Reading())


def test_a_row_of_a_parquet_file_is_no_line(tmp_path):
    frame = pl.DataFrame({"est": [1.0, None, 2.0], "se": [1.0, None, -1.0]})
    frame.write_parquet(tmp_path / "r.parquet")
    with pytest.raises(DataError, match=re.escape("r.parquet: row 3: a standard error is negative")):
        read_results(tmp_path / "r.parquet", Reading())


def test_two_true_values_are_no_trouble_in_two_cells(tmp_path):
    (tmp_path / "r.csv").write_text("dgm,est,se,true\n1,1,1,0\n2,2,1,0.5\n")
    cells = read_results(tmp_path / "r.csv", Reading())[1]
    assert dict(zip(cells["cell"], cells["true_value"], strict=True)) == {"dgm=1": 0.0, "dgm=2": 0.5}
    assert [json.loads(f) for f in cells["factors"]] == [{"dgm": "1"}, {"dgm": "2"}]


def test_an_unknown_reference_is_refused(tmp_path):
    (tmp_path / "r.csv").write_text("method,est,se\nlmm,1,1\n")
    done = CliRunner().invoke(cli, ["summarise", str(tmp_path / "r.csv"), "--reference", "lm"])
    assert "did you mean 'lmm'" in str(done.exception)


def test_a_factor_named_as_a_column_of_ours_is_told_apart(tmp_path):
    (tmp_path / "r.csv").write_text("n,est,se\n50,1,1\n50,2,1\n250,1,1\n250,3,1\n")
    done = CliRunner().invoke(cli, ["summarise", str(tmp_path / "r.csv"), "--by", "n", "--format", "csv"])
    found = pl.read_csv(io.StringIO(done.stdout))
    assert found.filter(measure="mean_estimate").select("by:n", "value", "n").rows() == [(50, 1.5, 2), (250, 2.0, 2)]
