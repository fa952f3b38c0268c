"""simtrial summarise: factors as columns, a choice of cells, methods and measures, and tables that papers take."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from commands import PROGRAM, simtrial
from runs import go, quick
from tomls import SMALL

from simtrial.estimands import values
from simtrial.report.layout import Table, grouped, latex, markdown
from simtrial.store.reading import read_rows

__all__ = ["quick"]

SWEEP = (
    SMALL
    + """
[performance]
reference = "mixed model"

[vary.cross]
"mechanism.practices.number" = [12, 15]
"mechanism.outcomes.mansa.icc" = [0.0, 0.1]

[[methods]]
name = "=a_b & 100%|#~^$ \\\\\\\\ [x] {y} <z>"
kind = "ols"
estimand = "itt"
adjust = ["mansa_baseline"]
"""
)
AWKWARD = "=a_b & 100%|#~^$ \\\\ [x] {y} <z>"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("summarise") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "PRACTICES", 2000)
        go(folder, 40, text=SWEEP)
    return folder


def lines(*arguments: object) -> list[dict[str, str]]:
    found = simtrial("summarise", *arguments, "--format", "csv")
    assert found.code == 0, found.err
    return list(csv.DictReader(io.StringIO(found.out)))


def test_each_factor_has_a_column_and_is_printed_where_it_changes(run: Path) -> None:
    text = simtrial("summarise", run).out
    first = text[: text.index("Performance")].splitlines()
    assert first[2].split()[:3] == ["number", "icc", "method"]
    named = [line.split()[:2] for line in first[4:] if re.match(r" \d", line)]
    assert named == [["12", "0.0"], ["15", "0.0"]]
    assert "number=12" not in text
    assert "icc=" not in text


def test_points_stand_below_each_other(run: Path) -> None:
    text = simtrial("summarise", run, "--measure", "relative_error_model_se").out
    block = text[text.index("Performance") :].splitlines()
    ends = {len(line.rstrip()) for line in block if line.rstrip().endswith(")") and "MC" not in line and "." in line}
    assert len(ends) == 1
    assert len({line.rindex(".", 0, line.rindex("(")) for line in block if re.search(r"\d +\(", line)}) == 1


def test_machine_readable_forms_end_with_the_true_value_and_its_error(run: Path) -> None:
    rows = lines(run)
    assert [*rows[0]] == [
        "cell", "mechanism.outcomes.mansa.icc", "mechanism.practices.number", "method", "estimand", "measure", "value",
        "mcse", "n", "mc_lower", "mc_upper", "true_value", "true_value_mcse",
    ]  # fmt: skip
    cells = read_rows(run)[1]
    known = {(r["cell"], r["estimand"]): r for r in cells.iter_rows(named=True)}
    for row in rows:
        truth = known[row["cell"], row["estimand"]]
        assert float(row["true_value"]) == truth["true_value"]
        assert float(row["true_value_mcse"]) == truth["true_value_mcse"]
    document = json.loads(simtrial("summarise", run, "--format", "json").out)
    assert document["rows"][0]["true_value"] == float(rows[0]["true_value"])
    assert {"bias_difference", "width_difference"} <= {row["measure"] for row in rows}
    assert all(row["mcse"] for row in rows if row["measure"] == "bias_difference")


def test_measures_methods_and_cells_are_chosen_by_name(run: Path) -> None:
    every = lines(run)
    some = lines(run, "--measure", "bias,coverage", "--method", "mixed model", "--cell", "number=12, icc=0.10")
    assert [(r["measure"]) for r in some] == ["bias", "coverage"]
    assert all(row in every for row in some)
    assert {r["mechanism.practices.number"] for r in lines(run, "--cell", "number=12")} == {"12"}
    both = lines(run, "--cell", "icc=0.1, number=12", "--cell", "number=15,icc=0.1", "--measure", "mse")
    assert len({r["cell"] for r in both}) == 2
    assert {r["measure"] for r in lines(run, "--measure", "failures")} == {"failures"}
    assert {r["measure"] for r in lines(run, "--measure", "bias_difference")} == {"bias_difference"}


def test_a_choice_does_not_change_what_the_run_stores(run: Path) -> None:
    simtrial("summarise", run)
    before = (run / "performance.parquet").read_bytes()
    simtrial("summarise", run, "--measure", "bias", "--cell", "number=12")
    assert (run / "performance.parquet").read_bytes() == before
    stored = pl.read_parquet(run / "performance.parquet")
    assert stored["cell"].n_unique() == 4


def test_a_chosen_cell_still_names_its_factors(run: Path) -> None:
    text = simtrial("summarise", run, "--cell", "number=15, icc=0.1").out
    assert re.search(r"^ 15 +0\.1 +mixed model", text, flags=re.M)


def test_a_factor_across_columns(run: Path) -> None:
    found = simtrial("summarise", run, "--across", "icc", "--measure", "coverage", "--method", "mixed model")
    table = found.out[found.out.index("Coverage by icc") :].splitlines()
    assert table[2].split() == ["number", "method", "estimand", "icc=0.0", "icc=0.1"]
    stated = {(r["mechanism.practices.number"], r["mechanism.outcomes.mansa.icc"]): float(r["value"])
              for r in lines(run, "--measure", "coverage", "--method", "mixed model")}  # fmt: skip
    for row in table[4:6]:
        number, *shares = re.findall(r"(?:^| )(\d\d|\d\.\d{3}) ", row)
        assert [float(s) for s in shares] == [round(stated[number, icc], 3) for icc in ("0.0", "0.1")]
    assert simtrial("summarise", run, "--across", "mechanism.outcomes.mansa.icc").code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--measure", "bais"], "--measure: unknown measure 'bais'; did you mean 'bias'?"),
        (["--method", "mixed modle"], "--method: unknown method 'mixed modle'; did you mean 'mixed model'?"),
        (["--cell", "number=13"], "unknown cell 'number=13'; did you mean 'icc=0.1, number=12'?"),
        (["--across", "iccs"], "--across: unknown factor 'iccs'; did you mean 'icc'?"),
        (["--across", "icc", "--format", "csv"], "--across icc: csv has a column for every factor"),
        (["--by", "icc"], "--by is for a FILE of results; a run has its own; --across puts a factor across columns"),
    ],
)
def test_mistakes(run: Path, options: list[str], message: str) -> None:
    found = simtrial("summarise", run, *options)
    assert found.code == 2
    head = message.split(";")[0] if "number=13" in message else message
    assert head in found.err
    assert "Traceback" not in found.err


def test_a_paired_measure_wants_a_reference(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("rep,method,b,se\n1,x,0.1,0.2\n2,x,0.3,0.2\n1,y,0.2,0.2\n2,y,0.1,0.2\n")
    found = simtrial("summarise", file, "--measure", "bias_difference")
    assert found.code == 2
    assert "--measure bias_difference: compares with a reference method; name it with --reference" in found.err
    assert simtrial("summarise", file, "--measure", "bias_difference", "--reference", "x").code == 0


@pytest.mark.parametrize("form", ["table", "csv", "json", "markdown", "latex"])
def test_a_reader_that_has_enough_is_no_error(run: Path, form: str) -> None:
    """As `simtrial summarise RUN | head -1`: the pipe is closed before everything is written."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, str(PROGRAM), "summarise", str(run), "--format", form]
    with os.fdopen(writer, "wb") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, timeout=120, check=False)
    assert done.returncode == 0
    assert done.stderr == b""


@pytest.mark.parametrize(("columns", "room"), [("", 120), ("80", 80)])
def test_tables_keep_to_the_width(run: Path, columns: str, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for options in ([], ["--across", "number"]):
        text = simtrial("summarise", run, "--method", "mixed model", *options).out
        assert max(len(line.rstrip()) for line in text.splitlines()) <= room


def test_markdown_rows_have_the_cells_of_their_heading(run: Path) -> None:
    text = simtrial("summarise", run, "--format", "markdown").out
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1
    assert r"=a\_b & 100%\|\#\~^\$" in text


def test_latex_escapes_what_it_would_take_for_its_own() -> None:
    table = Table(title="50% & more_", headings=["a", "b"], rows=[[AWKWARD, "-0.1 (0.2)"], ["[*", "-"]], text_columns=1)
    text = latex(table)
    assert r"\caption{50\% \& more\_}" in text
    assert (
        r"=a\_b \& 100\%\textbar{}\#\textasciitilde{}\textasciicircum{}\$ \textbackslash{}\textbackslash{} "
        r"{[}x{]} \{y\} \textless{}z\textgreater{} & $-$0.1 (0.2) \\" in text
    )
    assert r"{[}{*} & -- \\" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(run: Path, tmp_path: Path) -> None:
    chosen = (["--measure", "bias,coverage,mse"], [], ["--measure", "coverage", "--across", "icc"])
    tables = "".join(simtrial("summarise", run, "--format", "latex", *options).out for options in chosen)
    page = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n" + tables + "\\end{document}\n"
    (tmp_path / "a.tex").write_text(page)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "a.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([0-9.]+)pt too wide", done.stdout)]
    assert max(wide, default=0.0) < 1.0, done.stdout


def test_an_estimand_that_all_rows_share_is_told_in_the_caption() -> None:
    rows = [["0", "a", "itt", "1.0"], ["3", "a", "itt", "2.0"]]
    headings = ["effect", "method", "estimand", "rejection rate of tests"]
    table = Table(title="Bias", headings=headings, rows=rows, text_columns=3, outer=1, label="performance")
    text = latex(table)
    assert "\\caption{Bias, estimand itt}\n\\label{tab:performance}\n" in text
    assert "effect & method & \\shortstack[r]{rejection\\\\rate of\\\\tests} \\\\" in text
    assert "\\begin{tabular}{llr}" in text
    two = Table(title="Bias", headings=headings, rows=[rows[0], ["3", "a", "cace", "2.0"]], text_columns=3, outer=1)
    assert "effect & method & estimand & " in latex(two)
    assert "\\label{tab:bias}" in latex(two)


@pytest.mark.parametrize("form", ["table", "markdown", "latex"])
def test_only_what_is_in_the_table_is_explained(run: Path, form: str) -> None:
    text = simtrial("summarise", run, "--format", form, "--measure", "bias,model_se").out
    assert "model SE: root mean squared standard error." in " ".join(text.split())
    assert "rejected" not in text
    assert "empirical SE" not in text
    assert "root mean" not in simtrial("summarise", run, "--format", form, "--measure", "bias,coverage").out


def test_a_caption_of_ones_own(run: Path) -> None:
    asked = ("summarise", run, "--measure", "coverage", "--caption", "Coverage of 4 methods")
    assert "\\caption{Coverage of 4 methods" in simtrial(*asked, "--format", "latex").out
    assert "**Coverage of 4 methods**" in simtrial(*asked, "--format", "markdown").out
    assert "--caption: csv has no title" in simtrial(*asked, "--format", "csv").err


def test_names_of_groups_stand_where_they_change() -> None:
    rows = [["1", "a", "x"], ["1", "b", "y"], ["1", "b", "z"], ["2", "b", "z"]]
    table = Table(title="", headings=["f", "g", "m"], rows=rows, text_columns=3, outer=2)
    assert grouped(table) == [["1", "a", "x"], ["", "b", "y"], ["", "", "z"], ["2", "b", "z"]]
    assert markdown(table).count("\n| ") == 6
