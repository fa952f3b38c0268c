"""Which core computes: how it is named, recorded, and kept to when a run goes on."""

import json
from pathlib import Path

import pytest
from commands import simtrial
from cores import needs_compiled
from polars.testing import assert_frame_equal
from runs import chunks, go, quick, record, rows
from tomls import SMALL, written

import simtrial as st
from simtrial import core
from simtrial.errors import RunError, SimtrialError
from simtrial.run.block import block_rows
from simtrial.scenario import load

pytestmark = pytest.mark.usefixtures("quick")
__all__ = ["quick"]


@pytest.fixture(autouse=True)
def left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever core the tests run with, here the choice is the test's own."""
    monkeypatch.delenv(core.VARIABLE, raising=False)


@pytest.fixture
def none_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the compiled kernels."""
    monkeypatch.setattr(core, "_extension", None)
    monkeypatch.setattr(core, "_missing", "this installation was made without it")


@needs_compiled
def test_the_compiled_core_serves_where_it_is_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert core.serving() == "compiled"
    assert core.version() == f"compiled {core.VERSION}"
    monkeypatch.setenv(core.VARIABLE, "numpy")
    assert (core.serving(), core.compiled()) == ("numpy", None)
    with core.using("compiled"):
        assert core.compiled() is not None
        with core.using(None):
            assert core.serving() == "compiled"
    assert core.version() == "numpy"


@needs_compiled
def test_a_block_is_computed_by_the_core_that_serves_when_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (cell,) = load(written(tmp_path, SMALL))
    with core.using("numpy"):
        expected = block_rows(cell, 0)
    compiled = block_rows(cell, 0)
    assert not compiled.equals(expected)  # the last digits tell which core it was
    monkeypatch.setenv(core.VARIABLE, "numpy")
    assert block_rows(cell, 0).equals(expected)
    monkeypatch.delenv(core.VARIABLE)
    assert block_rows(cell, 0).equals(compiled)


def test_a_core_that_does_not_exist_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SimtrialError, match=r"core: unknown core 'nunpy'; did you mean 'numpy'"), core.using("nunpy"):
        pass
    monkeypatch.setenv(core.VARIABLE, "fortran")
    with pytest.raises(SimtrialError, match=r"SIMTRIAL_CORE: unknown core 'fortran' \(allowed: compiled, numpy\)"):
        core.serving()


@pytest.mark.usefixtures("none_built")
def test_where_it_was_not_built_numpy_serves_and_asking_for_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (core.serving(), core.compiled()) == ("numpy", None)
    found = simtrial("analyse", "nowhere.csv", "--methods", "partners", "--core", "compiled")
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith("error: --core compiled: this installation was made without it; the other one is numpy")
    monkeypatch.setenv(core.VARIABLE, "compiled")
    with pytest.raises(SimtrialError, match="SIMTRIAL_CORE compiled: this installation was made without it"):
        core.serving()


def test_doctor_says_which_serves() -> None:
    assert any(line.split()[:2] == ["kernels", core.serving()] for line in simtrial("doctor").out.splitlines())


@pytest.mark.usefixtures("none_built")
def test_doctor_says_why_the_compiled_one_does_not() -> None:
    assert "numpy (compiled: this installation was made without it)" in simtrial("doctor").out


def made_by(folder: Path) -> list[str]:
    """Core of every chunk, as its record has it."""
    return [json.loads(record(file).read_text())["versions"]["core"] for file in chunks(folder)]


@needs_compiled
@pytest.mark.parametrize("named", ["numpy", "compiled"])
def test_a_run_goes_on_with_the_core_that_began_it(tmp_path: Path, named: str) -> None:
    with core.using(named):
        go(tmp_path / "run", 20)
        go(tmp_path / "whole", 40, engine_name="processes", workers=2)
        version = core.version()
    go(tmp_path / "run", 40)
    assert made_by(tmp_path / "run") == made_by(tmp_path / "whole") == [version, version]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["versions"]["core"] == version
    assert_frame_equal(rows(tmp_path / "run"), rows(tmp_path / "whole"))
    code = simtrial("replay", tmp_path / "run", "--replicate", 33).code
    assert code == 0


@needs_compiled
def test_another_core_goes_on_when_it_is_named_and_the_run_says_so(tmp_path: Path) -> None:
    file, run = written(tmp_path, SMALL), tmp_path / "run"
    assert simtrial("run", file, "-o", run, "--replicates", 20, "--core", "compiled").code == 0
    found = simtrial("run", file, "-o", run, "--replicates", 40, "--core", "numpy", "--engine", "serial")
    assert found.code == 0
    begun = f"was begun with core compiled {core.VERSION} and goes on with numpy: rows agree but for rounding"
    assert begun in found.err
    assert made_by(run) == [f"compiled {core.VERSION}", "numpy"]
    again = simtrial("run", file, "-o", run, "--replicates", 40)
    assert "goes on with" not in again.err


@needs_compiled
def test_a_run_whose_core_is_not_here_is_refused_in_one_message_that_names_the_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with core.using("compiled"):
        go(tmp_path / "run", 20)
    before = (tmp_path / "run" / "run.json").read_bytes()
    monkeypatch.setattr(core, "_missing", "this installation was made without it")
    monkeypatch.setattr(core, "_extension", None)
    begun = f"begun with core compiled {core.VERSION}"
    with pytest.raises(RunError, match=rf"{begun}, which is not here .*; --core numpy goes on"):
        go(tmp_path / "run", 40)
    assert (tmp_path / "run" / "run.json").read_bytes() == before
    with core.using("numpy"):
        go(tmp_path / "run", 40)
    assert made_by(tmp_path / "run")[1] == "numpy"


@needs_compiled
def test_a_run_that_holds_all_that_is_wanted_needs_no_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, run = written(tmp_path, SMALL), tmp_path / "run"
    assert simtrial("run", file, "-o", run, "--replicates", 40, "--core", "compiled").code == 0
    monkeypatch.setattr(core, "VERSION", core.VERSION + 1)
    for replicates in (40, 20):
        found = simtrial("run", file, "-o", run, "--replicates", replicates)
        assert found.code == 0, found.err
        assert "nothing to run" in found.err
        assert "goes on" not in found.err
        assert "Performance" in found.out
    before = (run / "run.json").read_bytes()
    found = simtrial("run", file, "-o", run, "--replicates", 60)
    assert found.code == 2
    assert "which is not here" in found.err
    assert (run / "run.json").read_bytes() == before


@needs_compiled
def test_from_python_the_core_is_an_argument(tmp_path: Path) -> None:
    study = st.load(written(tmp_path, SMALL))
    study.run(tmp_path / "run", replicates=20, core="numpy")
    assert set(made_by(tmp_path / "run")) == {"numpy"}
    with pytest.raises(SimtrialError, match="unknown core 'C'"):
        study.run(replicates=20, core="C")


@needs_compiled
def test_a_baseline_of_the_other_core_is_no_regression(tmp_path: Path) -> None:
    file, base = written(tmp_path, SMALL), tmp_path / "base.parquet"
    wanted = ("check", file, "--replicates", 40, "--baseline", base)
    assert simtrial(*wanted, "--update-baseline", "--reason", "first", "--core", "numpy").code == 0
    found = simtrial(*wanted, "--core", "compiled", "--identical")
    assert found.code == 0, found.out + found.err
    assert f"core numpy in the baseline, compiled {core.VERSION} here" in found.out + found.err
