"""Studies and results from Python: the same numbers as from the command line, to the last digit."""

import gc
import io
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
from commands import simtrial
from runs import quick
from tomls import SMALL, changed, written

import simtrial as st
from simtrial.errors import DataError, IncompleteRunError, RunError, ScenarioError, SimtrialError

pytestmark = pytest.mark.usefixtures("quick")
__all__ = ["quick"]
SWEPT = SMALL + '\n[vary.cross]\n"mechanism.outcomes.mansa.icc" = [0.1, 0.2]\n"mechanism.practices.number" = [12, 16]\n'
OWN = """
import simtrial as st

@st.plain_method("arm-mean")
def arm_mean(trial):
    return {"estimate": float(trial["arm"].mean()), "std_error": 1.0}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    return written(tmp_path, SMALL)


def stripped(frame: pl.DataFrame) -> pl.DataFrame:
    """A frame as it comes back from CSV."""
    return pl.read_csv(io.StringIO(frame.write_csv()), infer_schema_length=None)


@pytest.mark.parametrize("text", [SMALL, SWEPT], ids=["one cell", "a sweep"])
def test_performance_is_that_of_the_command_line_to_the_last_digit(tmp_path: Path, text: str) -> None:
    file = written(tmp_path, text)
    made = simtrial("run", file, "-o", tmp_path / "run", "--replicates", 40, "--format", "csv")
    assert made.code == 0
    printed = pl.read_csv(io.StringIO(made.out), infer_schema_length=None)
    result = st.load(file).run(tmp_path / "mine", 40)
    assert stripped(result.performance()).equals(printed)
    assert stripped(st.open(tmp_path / "run").performance()).equals(printed)
    assert st.open(tmp_path / "run").estimates.equals(result.estimates)
    assert not st.load(file).run(replicates=40).estimates.equals(st.load(file, {"run.seed": 6}).run(None, 40).estimates)


def test_a_comparison_is_that_of_the_command_line(file: str, tmp_path: Path) -> None:
    result = st.load(file).run(tmp_path / "run", 40)
    out = simtrial(
        "summarise", tmp_path / "run", "--reference", "imputed", "--mcse", "normal", "--common", "--format", "csv"
    )
    printed = pl.read_csv(io.StringIO(out.out), infer_schema_length=None)
    mine = result.performance(reference="imputed", mcse="normal", common=True)
    assert stripped(mine).equals(printed)
    assert mine["measure"].is_in(["bias_difference"]).any()


def test_settings_are_those_of_set(file: str, tmp_path: Path) -> None:
    sets = ["--set", "mechanism.practices.number=14", "--set", "mechanism.practices.regions={ North = 1, East = 1 }"]
    made = simtrial("run", file, "-o", tmp_path / "run", "--replicates", 20, *sets)
    assert made.code == 0
    settings = {"mechanism.practices.number": 14, "mechanism.practices.regions": {"North": 1, "East": 1}}
    mine = st.load(Path(file), settings).run(tmp_path / "mine", 20)
    assert mine.estimates.equals(st.open(tmp_path / "run").estimates)
    assert st.load(file, settings).run(tmp_path / "run", 20).estimates.equals(mine.estimates)  # and the same request


def test_wrong_settings_are_named_as_settings(file: str) -> None:
    with pytest.raises(ScenarioError, match=r"^setting mechanism.practices.numbr=20: unknown key 'numbr'"):
        st.load(file, {"mechanism.practices.numbr": 20})
    with pytest.raises(ScenarioError, match="no value of a scenario"):
        st.load(file, {"title": None})
    with pytest.raises(ScenarioError, match="unknown scenario 'partnes'; did you mean 'partners'"):
        st.load("partnes")


def test_a_trial_is_what_the_methods_of_a_run_are_given(file: str) -> None:
    study = st.load(file)
    rows = study.run(replicates=40).estimates.filter(replicate=33)
    again = st.fit(study.trial(33), study)
    for method in ("mixed model", "two-stage least squares"):
        stored, mine = (f.filter(pl.col("method") == method).row(0, named=True) for f in (rows, again))
        assert mine["flags"] == stored["flags"]
        for name in ("estimate", "std_error", "df", "p_value", "n_used", "clusters_used"):
            assert mine[name] == pytest.approx(stored[name], rel=1e-12, abs=0), (method, name)
    assert [name for name in study.trial(1).columns if name.endswith(("_if_control", "_if_intervention"))] == []
    assert study.trial(1)["practice"].min() == 1
    assert study.trial(1)["region"].dtype == pl.String


def test_cells_of_a_sweep(tmp_path: Path) -> None:
    study = st.load(written(tmp_path, SWEPT))
    assert [cell.label for cell in study.cells][:2] == ["icc=0.1, number=12", "icc=0.1, number=16"]
    sizes = {number: study.trial(1, f"number={number}, icc=0.1")["practice"].n_unique() for number in (12, 16)}
    assert sizes == {12: 12, 16: 16}
    with pytest.raises(SimtrialError, match="unknown cell 'icc=3'"):
        study.trial(1, "icc=3")
    with pytest.raises(SimtrialError, match="numbered from 1"):
        study.trial(0)


def test_means_over_the_other_factors(tmp_path: Path) -> None:
    result = st.load(written(tmp_path, SWEPT)).run(replicates=40)
    every = result.performance("bias")
    by = result.performance(["failures", "bias"], by="icc")
    assert by.columns[:2] == ["mechanism.outcomes.mansa.icc", "cells"]
    for row in by.filter(measure="bias").iter_rows(named=True):
        level = row["mechanism.outcomes.mansa.icc"]
        same = pl.col("method").eq(row["method"]) & pl.col("mechanism.outcomes.mansa.icc").eq(level)
        parts = every.filter(same, measure="bias")
        assert row["cells"] == parts.height == 2
        assert row["value"] == pytest.approx(parts["value"].mean(), rel=1e-12)
        assert row["mcse"] == pytest.approx((parts["mcse"] ** 2).sum() ** 0.5 / 2, rel=1e-12)
        assert row["n"] == 80
    assert (by.filter(measure="failures")["value"] == 0).all()
    both = result.performance("bias", by=["number", "icc"])
    assert sorted(both.filter(measure="bias")["value"]) == sorted(every.filter(measure="bias")["value"])
    common = st.load(written(tmp_path, SWEPT), {"run.streams": "common"}).run(replicates=20)
    assert common.performance("bias", by="icc")["mcse"].null_count() == 6
    with pytest.raises(SimtrialError, match="unknown factor 'ic'; did you mean 'icc'"):
        result.performance(by="ic")


def test_what_is_asked_of_performance_is_checked(file: str) -> None:
    result = st.load(file).run(replicates=20)
    shown = result.performance(["bias"], methods="imputed")
    assert shown["measure"].to_list() == ["bias"]
    assert shown["method"].unique().to_list() == ["imputed"]
    assert result.performance("failures")["measure"].unique().to_list() == ["failures"]
    for options, message in (
        ({"measures": "bais"}, "unknown measure 'bais'; did you mean 'bias'"),
        ({"measures": "power"}, "unknown measure 'power'; did you mean 'rejection_rate'"),
        ({"methods": ["imputd"]}, "unknown method 'imputd'; did you mean 'imputed'"),
        ({"reference": "imputd"}, "unknown method 'imputd'"),
        ({"mcse": "robsut"}, "did you mean 'robust'"),
        ({"measures": "bias_difference"}, "needs a reference"),
    ):
        with pytest.raises(SimtrialError, match=message):
            result.performance(**options)  # type: ignore[arg-type]


def test_frames_of_a_result(tmp_path: Path) -> None:
    file = written(tmp_path, changed("number = 12", "number = 4", changed("rate = 0.15", "rate = 0.8", SMALL)))
    result = st.load(file).run(replicates=20)
    failed = result.estimates.filter(status="failed")
    assert result.failures.height == failed.height > 0
    assert result.failures["cause"].str.len_chars().min() > 10  # type: ignore[operator]
    assert failed["estimate"].null_count() == failed.height
    assert result.true_values["estimand"].to_list() == ["itt", "cace"]
    assert repr(result).endswith("3 methods, 1 cell")
    assert repr(st.load(file)) == "Study of 'small': 3 methods, 1 cell, 100 replicates"


def test_a_run_without_a_folder_leaves_nothing(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = st.load(file).run(replicates=20)
    assert result.folder is not None
    assert result.folder.is_dir()
    folder = result.folder
    del result
    gc.collect()
    assert not folder.exists()


def test_runs_are_extended_and_others_refused(file: str, tmp_path: Path) -> None:
    study = st.load(file)
    small = study.run(tmp_path / "run", 20).estimates
    large = study.run(tmp_path / "run", 40)
    assert large.estimates.filter(pl.col("replicate") <= 20).equals(small)
    assert study.run(tmp_path / "run", 20).estimates.equals(small)  # the part that is asked for
    with pytest.raises(RunError, match="belongs to a different request"):
        st.load(file, {"run.seed": 9}).run(tmp_path / "run")
    with pytest.raises(RunError, match="not a run directory"):
        st.open(tmp_path)
    next((tmp_path / "run" / "records").rglob("0*.json")).unlink()
    with pytest.raises(IncompleteRunError):
        st.open(tmp_path / "run")
    assert st.open(tmp_path / "run", partial=True).estimates.height > 0


def test_replicates_until_results_are_precise(file: str) -> None:
    result = st.load(file).run(replicates=3000, until={"bias": 0.05})
    assert result.estimates["replicate"].max() == 1000
    assert result.performance("bias", methods="mixed model").filter(measure="bias")["mcse"][0] < 0.05
    for until, message in (({"bais": 1}, "unknown measure"), ({"bias": 0}, "above 0")):
        with pytest.raises(SimtrialError, match=message):
            st.load(file).run(until=until)
    for options in ({"workers": 0}, {"chunk": 0}, {"replicates": 0}, {"engine": "proceses"}):
        with pytest.raises(SimtrialError):
            st.load(file).run(**options)  # type: ignore[arg-type]


def test_results_of_other_programs(tmp_path: Path) -> None:
    file = tmp_path / "estimates.csv"
    lines = [
        f"{g},{m},{r},{0.5 + (r * 37 % 11 - 5) / 50 * m},{0.1}" for g in "ab" for m in (1, 2) for r in range(1, 21)
    ]
    file.write_text("\n".join(["dgm,method,rep,theta,se", *lines]))
    out = simtrial("summarise", file, "--true", 0.5, "--by", "dgm", "--reference", 1, "--format", "csv").out
    printed = pl.read_csv(io.StringIO(out), infer_schema_length=None)
    result = st.read(file, 0.5, by="dgm")
    assert stripped(result.performance(reference="1")).equals(printed)
    assert result.methods == ["1", "2"]
    assert result.performance("bias", by="dgm")["dgm"].unique(maintain_order=True).to_list() == ["a", "b"]
    assert result.true_values["true_value"].to_list() == [0.5, 0.5]
    assert result.failures.height == 0
    with pytest.raises(SimtrialError, match="no expectations"):
        result.check()
    with pytest.raises(DataError, match="no such file"):
        st.read("missing.csv")


def test_a_run_is_checked_as_by_the_command(tmp_path: Path) -> None:
    expected = '[[expect]]\nmethod = "mixed model"\nmeasure = "bias"\nvalue = {}\n'
    for value, code in ((0.0, 0), (0.5, 1)):
        folder = tmp_path / f"run{code}"
        result = st.load(written(tmp_path, SMALL + expected.format(value))).run(folder, 40)
        verdict = result.check()
        assert simtrial("check", folder).code == code
        assert verdict.passed is bool(verdict) is (code == 0)
        assert verdict.findings.filter(source="expectation").height == 1
        assert ("1 fail" in repr(verdict)) == (code == 1)
    simtrial("check", folder, "--baseline", tmp_path / "b.parquet", "--update-baseline", "--reason", "first")
    beside = result.check(tmp_path / "b.parquet")
    assert set(beside.findings.filter(source="baseline")["verdict"]) == {"identical"}
    with pytest.raises(SimtrialError, match="no \\[\\[expect\\]\\]"):
        st.load(written(tmp_path, SMALL)).run(replicates=20).check()


def script(text: str, folder: Path, *arguments: str) -> str:
    """What a program of the user prints; it has no ``if __name__ == "__main__"``."""
    file = folder / "program.py"
    file.write_text(text)
    command = [sys.executable, *(arguments or (str(file),))]
    given = None if arguments != ("-",) else text
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd=folder, input=given)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("arguments", [(), ("-",)], ids=["a script", "a session"])
def test_workers_start_from_scripts_and_sessions(file: str, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    text = f"""
import simtrial as st
print("begun")
result = st.load({file!r}, {{"run.block": 10}}).run(replicates=40, workers=2)
print(result.estimates.equals(st.load({file!r}, {{"run.block": 10}}).run(replicates=40).estimates))
"""
    assert script(text, tmp_path, *arguments).split() == ["begun", "True"]


def test_a_method_of_a_session(file: str, tmp_path: Path) -> None:
    """It runs in the session; what a run directory or a worker would have to find again is refused."""
    file = written(tmp_path, SMALL + '\n[[methods]]\nname = "own"\nkind = "arm-mean"\n')
    program = f"""{OWN}
study = st.load({file!r})
print(study.run(replicates=20).estimates.filter(method="own").height)
for options in ({{"folder": "kept"}}, {{"workers": 2}}):
    try:
        study.run(replicates=20, **options)
    except st.SimtrialError as error:
        print(error)
"""
    lines = script(program, tmp_path).splitlines()
    assert lines[0] == "20"
    assert "kind 'arm-mean' is registered in this session, and a run directory keeps the source" in lines[1]
    assert "workers cannot see it; save it in a .py file and name that in plugins" in lines[2]
    (tmp_path / "own.py").write_text(OWN)
    kept = f"""
import simtrial as st
study = st.load({file!r}, plugins="own.py")
print(study.run("kept", replicates=20, workers=2).estimates.filter(method="own").height)
"""
    assert script(kept, tmp_path).split() == ["20"]


def test_importing_costs_nothing() -> None:
    lists = "import sys, time; t = time.perf_counter(); import simtrial; t = time.perf_counter() - t; "
    lists += (
        "print(t, *dir(simtrial)); print(*(m for m in ('numpy', 'polars', 'pydantic', 'click') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", lists], capture_output=True, text=True, check=True, timeout=60)
    names, heavy = done.stdout.splitlines()
    assert heavy == ""
    assert float(names.split()[0]) < 0.06
    assert {"load", "open", "read", "fit", "Study", "Result", "plain_method"} <= set(names.split())
    for name in dir(st):
        assert getattr(st, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        _ = st.laod


def test_figures_are_drawn_where_what_draws_is_installed(file: str, tmp_path: Path) -> None:
    result = st.load(file).run(replicates=40)
    if find_spec("simtrial.figures") is None:
        with pytest.raises(SimtrialError, match="draws no figures"):
            dir(result.figures)
        return
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    assert "zip" in dir(result.figures)
    result.figures.zip("mixed model").savefig(tmp_path / "zip.png")
    assert (tmp_path / "zip.png").stat().st_size > 1000
    with pytest.raises(AttributeError, match="did you mean 'zip'"):
        _ = result.figures.zp


def test_figures_and_page_of_a_part_of_a_run_show_the_part(file: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    study = st.load(file)
    study.run(tmp_path / "run", replicates=40)
    part = study.run(tmp_path / "run", replicates=20)
    again = st.open(tmp_path / "run")
    texts = [[t.get_text() for a in r.figures.zip("mixed model").axes for t in a.texts] for r in (part, again)]
    assert [text[0].rpartition(" ")[2] for text in texts] == ["20", "40"]
    words = part.report(tmp_path / "part.html").read_text(encoding="utf-8")
    assert "20 replicates per cell" in words
    assert "This is a part of a run of 40 replicates." in words
    assert "This is a part" not in again.report(tmp_path / "whole.html").read_text(encoding="utf-8")


def test_performance_has_the_rows_of_summarise(file: str, tmp_path: Path) -> None:
    result = st.load(file).run(tmp_path / "run", replicates=20)
    for measures in (["bias", "coverage"], ["failures", "bias"]):
        table = simtrial("summarise", tmp_path / "run", "--format", "csv", "--measure", ",".join(measures)).out
        theirs = pl.read_csv(io.StringIO(table))
        ours = result.performance(measures)
        assert ours.columns == theirs.columns
        keys = ["cell", "method", "measure"]
        assert ours.select(keys).rows() == theirs.select(keys).rows()
