"""Exported results: columns that rsimsum and siman take, labels that survive, and the same numbers when read back."""

import csv
import json
import math
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from commands import simtrial
from runs import go
from tomls import SMALL

from simtrial.estimands import values
from simtrial.files.exports.names import RESERVED, factor_names
from simtrial.files.exports.results import exported
from simtrial.files.exports.write import csv_bytes, write_results
from simtrial.files.formats.stata_file import stata_source
from simtrial.files.read_results import Reading, results
from simtrial.store.reading import read_rows

FORMULA = """
[[methods]]
name = "=1+1"
kind = "ols"
estimand = "itt"
adjust = ["mansa_baseline"]

[[methods]]
name = "Anderson-Rubin"
kind = "iv"
estimand = "cace"
received = "sessions >= 6"
ci = "anderson-rubin"
adjust = ["mansa_baseline"]

[[methods]]
name = "few, ~normal"
kind = "cluster-means"
estimand = "itt"
adjust = ["mansa_baseline"]
df = "clusters-2"

[[estimands]]
name = "own effect"
kind = "itt"
finite = true

[[methods]]
name = "own"
kind = "ols"
estimand = "own effect"
adjust = ["mansa_baseline"]

[performance]
reference = "mixed model"

[vary.cross]
"mechanism.outcomes.mansa.icc" = [0.0, 0.1]
"mechanism.dropout.rate" = [0.15, 0.3]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four cells, seven methods, three estimands, 40 replicates: some fits fail, some sets are no intervals."""
    folder = tmp_path_factory.mktemp("exports") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "PRACTICES", 2000)
        go(folder, 40, text=SMALL + FORMULA)
    return folder


def export(run: Path, folder: Path, form: str, *options: str) -> Path:
    found = simtrial("export", run, "--format", form, "-o", folder, *options)
    assert found.code == 0, found.err
    return folder


def lines_of(file: Path) -> list[list[str]]:
    with file.open(newline="") as handle:
        return list(csv.reader(handle))


def dictionaries(file: Path) -> list[dict[str, str]]:
    header, *rows = lines_of(file)
    return [dict(zip(header, row, strict=True)) for row in rows]


def performance(*arguments: object) -> dict[tuple[object, ...], tuple[float, ...]]:
    """Measures by the number of the cell, method, estimand and measure."""
    found = simtrial("summarise", *arguments, "--format", "json")
    assert found.code == 0, found.err
    lines = json.loads(found.out)["rows"]
    cells = list(dict.fromkeys(line["cell"] for line in lines))
    numbers = ("value", "mcse", "n", "mc_lower", "mc_upper", "true_value", "true_value_mcse")
    return {
        (cells.index(line["cell"]) + 1, line["method"], line["estimand"], line["measure"]): tuple(
            line[name] for name in numbers
        )
        for line in lines
    }


@pytest.mark.parametrize(("form", "ending"), [("csv", "csv"), ("dta", "dta"), ("parquet", "parquet"),
                                              ("rsimsum", "csv"), ("siman", "dta")])  # fmt: skip
def test_read_back_the_numbers_are_the_same(run: Path, tmp_path: Path, form: str, ending: str) -> None:
    """Every value, error, count and interval, to the last bit; own true values, failures and odd sets among them."""
    folder = export(run, tmp_path / "out", form)
    known = performance(run)
    found = performance(folder / f"results.{ending}", "--reference", "mixed model")
    assert {m for _, _, _, m in known} >= {"own_true_value", "coverage", "bias_difference", "failures"}
    assert found == known


def test_rows_are_those_of_the_run(run: Path, tmp_path: Path) -> None:
    frame = pl.read_parquet(export(run, tmp_path / "out", "parquet") / "results.parquet")
    rows, cells, _ = read_rows(run)
    assert frame.height == rows.height
    numbers = dict(zip(cells["cell"].unique(maintain_order=True), range(1, 5), strict=True))
    key = ["dgm", "method", "target", "rep"]
    ours = rows.select(
        pl.col("cell").cast(pl.String).replace_strict(numbers, return_dtype=pl.Int64).alias("dgm"),
        pl.col("method").cast(pl.String), pl.col("estimand").cast(pl.String).alias("target"),
        pl.col("replicate").cast(pl.Int64).alias("rep"), "estimate", "std_error", "ci_lower", "ci_upper", "p_value",
        pl.col("status").cast(pl.String),
    )  # fmt: skip
    theirs = frame.select(*key, "estimate", "se", "lci", "uci", "p", "status")
    both = theirs.sort(key), ours.sort(key)
    assert both[0].rows() == both[1].rows()
    order = frame.select(key[:3]).unique(maintain_order=True)
    assert order.height * 40 == frame.height
    assert frame["rep"].to_list() == [*range(1, 41)] * order.height  # rows of a method side by side with the others


def test_columns_and_codebook(run: Path, tmp_path: Path) -> None:
    folder = export(run, tmp_path / "out", "csv")
    header = (folder / "results.csv").read_text().splitlines()[0].split(",")
    assert header[:6] == ["rep", "dgm", "icc", "icc_level", "rate", "rate_level"]
    assert header[6:15] == ["target", "method", "estimate", "se", "df", "lci", "uci", "p", "true"]
    assert not {"stat", "est", "mcse", "lower", "upper"} & {*header}
    book = {row["name"]: row for row in dictionaries(folder / "codebook.csv")}
    assert [*book] == header
    assert book["icc"]["source"] == "mechanism.outcomes.mansa.icc"
    assert book["rate_level"]["values"] == "1 = 0.15; 2 = 0.3"
    assert book["dgm"]["values"].startswith("1 = ")


def test_text_that_begins_a_formula_is_neutralised_in_csv(run: Path, tmp_path: Path) -> None:
    folder = export(run, tmp_path / "out", "csv")
    rows = [row for name in ("results.csv", "codebook.csv") for row in lines_of(folder / name)]
    cells = [cell for row in rows for cell in row]
    assert "'=1+1" in cells
    words = [cell for cell in cells if cell[:1] in ("=", "+", "@") or (cell[:1] == "-" and not _number(cell))]
    assert words == []


def _number(text: str) -> bool:
    try:
        return math.isfinite(float(text)) or text in ("Inf", "-Inf")
    except ValueError:
        return False


def test_a_failed_fit_is_missing_with_a_status(tmp_path: Path) -> None:
    rows = pl.DataFrame({
        "cell": ["a"] * 2, "replicate": [1, 2], "method": ["m"] * 2, "estimand": ["t"] * 2, "estimate": [1.0, 2.0],
        "std_error": [0.5, 0.1], "df": [math.inf, 3.0], "ci_lower": [-math.inf, 0.0], "ci_upper": [math.inf, 1.0],
        "p_value": [0.5, 0.5], "status": ["ok", "failed"], "flags": ["", "error"], "n_used": [5, 0],
        "clusters_used": [2, 0],
    })  # fmt: skip
    truth = {"true_value": [0.3], "true_value_mcse": [0.1]}
    cells = pl.DataFrame({"cell": ["a"], "factors": ["{}"], "estimand": ["t"], **truth})
    found = exported([rows], cells, "")
    lines = csv_bytes(found.frame).decode().splitlines()
    assert lines[1] == "1,1,t,m,1.0,0.5,,-Inf,Inf,0.5,0.3,0.1,ok,,5,2"
    assert lines[2] == "2,1,t,m,,,,,,,0.3,0.1,failed,error,0,0"


@pytest.mark.parametrize(("form", "ending"), [("csv", "csv"), ("dta", "dta"), ("parquet", "parquet")])
def test_unbounded_sets_and_sets_that_are_no_intervals_come_back(tmp_path: Path, form: str, ending: str) -> None:
    """Infinite limits (Stata has none), two rays, an empty set, and no estimand named."""
    kinds = ["ray", "whole-line", "two-rays", "empty", "interval"]
    n = len(kinds)
    rows = pl.DataFrame({
        "cell": ["a"] * n, "replicate": [*range(1, n + 1)], "method": ["m"] * n, "estimand": [""] * n,
        "estimate": [0.5] * n, "std_error": [0.5] * n, "df": [math.inf] * n,
        "ci_lower": [0.2, -math.inf, 0.1, None, 0.0], "ci_upper": [math.inf, math.inf, 0.9, None, 1.0],
        "p_value": [0.5] * n, "status": ["ok"] * n, "flags": [""] * n, "n_used": [5] * n, "clusters_used": [2] * n,
        "ci_type": kinds,
    })  # fmt: skip
    cells = pl.DataFrame({"cell": "a", "factors": "{}", "estimand": "", "true_value": 0.3, "true_value_mcse": 0.1})
    found = exported([rows], cells, "A title")
    assert found.odd_sets == 2
    write_results(found, tmp_path, form, {})
    back = results(tmp_path / f"results.{ending}", Reading()).rows
    assert back["ci_lower"].to_list() == rows["ci_lower"].to_list()
    assert back["ci_upper"].to_list() == rows["ci_upper"].to_list()
    assert back["ci_type"].fill_null("interval").to_list() == kinds
    assert set(back["estimand"]) == {""}


def test_stata_keeps_labels_of_variables_values_and_data(run: Path, tmp_path: Path) -> None:
    file = export(run, tmp_path / "out", "siman") / "results.dta"
    with pd.read_stata(file, iterator=True) as reader:
        frame = reader.read(convert_categoricals=False)
        labels, words, title = reader.variable_labels(), reader.value_labels(), reader.data_label
    assert title == "Twelve practices, quick to analyse"
    assert labels["se"] == "standard error"
    assert labels["icc"] == "factor mechanism.outcomes.mansa.icc"
    assert words["icc_level"] == {1: "0.0", 2: "0.1"}
    assert words["status"] == {1: "ok", 2: "failed"}
    assert words["method"][1] == "mixed model"
    assert set(words["dgm"]) == {1, 2, 3, 4}
    for name in ("rep", "dgm", "method", "target", "icc_level"):
        assert frame[name].to_numpy().dtype.kind == "i"
    assert stata_source(file).columns == list(frame.columns)


def test_scripts_name_what_is_there(run: Path, tmp_path: Path) -> None:
    folder = export(run, tmp_path / "out", "csv")
    script = (folder / "analyse.R").read_text()
    assert 'ci.limits = c("lci", "uci")' in script
    assert 'char.sep = "!"' in script  # a method has ~ in its name
    stata = (folder / "analyse.do").read_text()
    keep = next(line for line in stata.splitlines() if line.startswith("keep"))
    setup = next(line for line in stata.splitlines() if line.startswith("siman setup"))
    assert all(f"({name})" in setup for name in keep.split()[1:])  # siman refuses a variable that it is not told of
    assert "true(true)" in setup
    assert not (export(run, tmp_path / "r", "rsimsum") / "analyse.do").exists()
    assert not (export(run, tmp_path / "s", "siman") / "analyse.R").exists()


def test_cells_and_methods_are_chosen(run: Path, tmp_path: Path) -> None:
    folder = export(run, tmp_path / "out", "parquet", "--cell", "icc=0.1", "--method", "mixed model")
    frame = pl.read_parquet(folder / "results.parquet")
    assert frame.height == 80
    assert set(frame["icc"]) == {0.1}
    assert set(frame["method"]) == {"mixed model"}


def test_mistakes(run: Path, tmp_path: Path) -> None:
    found = simtrial("export", run, "-o", tmp_path / "x", "--method", "mixed modl")
    assert found.code == 2
    assert "did you mean 'mixed model'?" in found.err
    found = simtrial("export", run, "-o", tmp_path / "x", "--cell", "icc=0.2")
    assert found.code == 2
    assert "unknown cell 'icc=0.2'" in found.err
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "mine.csv").write_text("a\n")
    found = simtrial("export", run, "-o", tmp_path / "y")
    assert found.code == 2
    assert "another data file, mine.csv" in found.err
    assert simtrial("export", tmp_path / "no", "-o", tmp_path / "z").code == 2


def test_names_of_factors_are_taken_by_nobody() -> None:
    keys = ["mechanism.a.se", "mechanism.b.lower", "mechanism.c.if", "mechanism.d.2nd", "mechanism.e.x",
            "mechanism.f.X", "mechanism.g.long_" + "x" * 40, "mechanism.g.long_" + "x" * 41, "mechanism.x.y",
            "mechanism.h.y", "mechanism.i.x_level"]  # fmt: skip
    names = [*factor_names(keys).values()]
    every = [*names, *(f"{name}_level" for name in names)]
    assert len({name.lower() for name in every}) == len(every)
    assert all(len(name) <= 32 and name.isidentifier() and name not in RESERVED for name in every)


@pytest.fixture(scope="module")
def rscript() -> str:
    found = shutil.which("Rscript")
    if found is None:
        pytest.skip("R is not installed: its numbers are compared where it is")
    return found


def has(rscript: str, package: str) -> bool:
    command = [rscript, "-e", f'quit(status = !requireNamespace("{package}", quietly = TRUE))']
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("form", ["rsimsum", "siman"])
def test_r_finds_our_numbers_by_the_published_formulas(run: Path, tmp_path: Path, rscript: str, form: str) -> None:
    """R reads the file, by haven if it is Stata's, and computes values and normal errors by itself."""
    if form == "siman" and not has(rscript, "haven"):
        pytest.skip("R's package haven is not installed")
    (data,) = export(run, tmp_path / "out", form).glob("results.*")
    script, result = Path(__file__).parent / "definitions.R", tmp_path / "r.csv"
    done = subprocess.run([rscript, str(script), str(data), str(result)], capture_output=True, text=True, timeout=120,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    _compare(run, dictionaries(result))


@pytest.mark.parametrize("form", ["csv", "dta"])
def test_the_r_script_reads_the_file(run: Path, tmp_path: Path, rscript: str, form: str) -> None:
    """Its lines up to the analysis are run, for which no package but haven is needed."""
    if form == "dta" and not has(rscript, "haven"):
        pytest.skip("R's package haven is not installed")
    folder = export(run, tmp_path / "out", form)
    script = (
        'lines <- parse("analyse.R"); for (line in lines[2:length(lines)]) { if (identical(line[[1]], as.name("for"))) '
        "break; eval(line) }; stopifnot(is.factor(x$dgm), is.numeric(x$estimate), is.numeric(x$lci), is.character("
        'x$method), is.character(x$target), x$status %in% c("ok", "failed")); '
        "cat(nrow(x), length(unique(x$method)))"
    )
    done = subprocess.run([rscript, "-e", script], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{pl.read_parquet(export(run, tmp_path / 'p', 'parquet') / 'results.parquet').height} 7"


def test_rsimsum_finds_our_numbers(run: Path, tmp_path: Path, rscript: str) -> None:
    """The script that stands beside the data, run as it is."""
    if not has(rscript, "rsimsum"):
        pytest.skip("R's package rsimsum is not installed: analyse.R is run where it is")
    folder = export(run, tmp_path / "out", "rsimsum")
    done = subprocess.run([rscript, "analyse.R"], cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    ours = {"bias": "bias", "empse": "empirical_se", "mse": "mse", "modelse": "model_se", "cover": "coverage",
            "relerror": "relative_error_model_se", "relprec": "relative_precision"}  # fmt: skip
    lines = [line for line in dictionaries(folder / "rsimsum.csv") if line["stat"] in ours]
    lines = [{**line, "measure": ours[line["stat"]], "value": line["est"]} for line in lines]
    # its error of a bias is that of a true value which all trials share
    _compare(run, [line for line in lines if (line["measure"], line["target"]) != ("bias", "own effect")])


def _compare(run: Path, lines: list[dict[str, str]]) -> None:
    """Values and errors beside ours; rsimsum's leave out the error of a true value that was itself simulated."""
    compared = 0
    for line in lines:
        place = (int(float(line["dgm"])), line["method"].removeprefix("'"), line["target"])
        reference = {"itt": "mixed model", "cace": "two-stage least squares", "own effect": "own"}[line["target"]]
        known = _normal(run, reference)
        if line["measure"] == "relative_precision" and line["method"] == reference:
            continue
        value, mcse, n, *_, truth_mcse = known[(*place, line["measure"])]
        if "n" in line:
            assert int(line["n"]) == n
        assert float(line["value"]) == pytest.approx(value, rel=1e-9, abs=1e-12), line
        times = {"bias": 1.0, "mse": 2 * abs(known[(*place, "bias")][0])}.get(line["measure"], 0.0)
        error = times * (truth_mcse or 0.0)
        lost = (
            200 * math.sqrt(16 * 2.2e-16 / 39) if line["measure"] == "relative_precision" else 1e-12
        )  # 1 - rho^2 at 1
        assert math.hypot(float(line["mcse"]), error) == pytest.approx(mcse, rel=1e-9, abs=lost), line
        compared += 1
    assert compared > 150


_KNOWN: dict[tuple[Path, str], dict[tuple[object, ...], tuple[float, ...]]] = {}


def _normal(run: Path, reference: str) -> dict[tuple[object, ...], tuple[float, ...]]:
    """Our performance with normal errors."""
    if (run, reference) not in _KNOWN:
        _KNOWN[run, reference] = performance(run, "--mcse", "normal", "--reference", reference)
    return _KNOWN[run, reference]


def test_json_of_an_exported_file_has_the_true_value(run: Path, tmp_path: Path) -> None:
    folder = export(run, tmp_path / "out", "csv")
    found = simtrial("summarise", folder / "results.csv", "--format", "json", "--measure", "bias")
    rows = json.loads(found.out)["rows"]
    assert all(row["true_value"] is not None for row in rows if row["estimand"] != "own effect")
