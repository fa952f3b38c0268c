"""Replicates for wanted Monte Carlo errors: the formulas, and that a run of so many is as precise as was wanted."""

import json
from math import inf
from pathlib import Path

import pytest
from commands import simtrial
from runs import go, quick
from tomls import SMALL, written

from simtrial.performance import Options, performance
from simtrial.run.replicates import PROBED, most, wanted
from simtrial.scenario import load
from simtrial.store.reading import read_rows

__all__ = ["quick"]


def silent(done: int, total: int, seconds: float) -> None:
    pass


def replicates(text: str, folder: Path, **errors: float) -> dict[tuple[str, str], float]:
    scenario, cells = load(written(folder, text))
    return {(w.measure, w.method): w.replicates for w in wanted(scenario, cells, errors, silent)}


@pytest.mark.parametrize(("error", "n"), [(0.005, 1900), (0.01, 475), (0.0025, 7600), (0.5, 1)])
def test_coverage_is_taken_to_be_nominal(tmp_path: Path, error: float, n: int) -> None:
    """0.95 x 0.05 / MCSE^2: half a point takes 1,900 replicates (Morris, White and Crowther 2019, section 5.3)."""
    assert replicates(SMALL, tmp_path, coverage=error)["coverage", "mixed model"] == n


def test_power_is_the_worst_case_unless_a_design_foretells_it(tmp_path: Path) -> None:
    assert replicates(SMALL, tmp_path, rejection_rate=0.01)["rejection_rate", "mixed model"] == 2500
    design = "\n[design]\ndifference = 0.5\nsd = 0.9\ncluster_size_mean = 5.0\nicc = 0.05\n"
    found = replicates(SMALL + design, tmp_path, rejection_rate=0.01)
    assert found["rejection_rate", "mixed model"] < 2500
    assert found["rejection_rate", "two-stage least squares"] == 2500


@pytest.mark.usefixtures("quick")
def test_a_run_of_so_many_is_as_precise_as_wanted(tmp_path: Path) -> None:
    """Errors scale with 1/sqrt(n); the standard deviation of `PROBED` values is known to 5%, so n to 10%."""
    names = ("bias", "empirical_se", "model_se", "mean_width")
    text = SMALL
    go(tmp_path / "run", 1000, text=text)
    found, cells, _ = read_rows(tmp_path / "run")
    frame = performance(found, cells, Options(names))
    errors = {n: e / 0.7 for n, m, e in frame.select("measure", "method", "mcse").iter_rows()
              if m == "mixed model" and n in names}  # fmt: skip
    needed = replicates(text, tmp_path, **errors)
    for name in names:
        allowed = 0.45 if name == "empirical_se" else 0.33  # of n, twice as much as of the error; kurtosis beside it
        assert needed[name, "mixed model"] == pytest.approx(490, rel=allowed), name


def test_an_error_below_that_of_the_true_value_has_no_number(tmp_path: Path) -> None:
    assert replicates(SMALL, tmp_path, bias=1e-9)["bias", "mixed model"] == inf


def test_failed_fits_are_made_up_for(tmp_path: Path) -> None:
    """Where a method gives no estimate in some trials, so many more are needed."""
    scenario, cells = load(written(tmp_path, SMALL))
    (line,) = [w for w in wanted(scenario, cells, {"bias": 0.05}, silent) if w.method == "two-stage least squares"]
    assert f"{PROBED} trials" in line.basis


def test_of_a_sweep_the_cell_that_needs_most(tmp_path: Path) -> None:
    sweep = SMALL + '\n[vary.cross]\n"mechanism.practices.number" = [12, 40]\n'
    scenario, cells = load(written(tmp_path, sweep))
    lines = wanted(scenario, cells, {"bias": 0.05, "coverage": 0.01}, silent)
    assert {w.cell for w in lines if w.measure == "bias"} == {"number=12"}
    assert {w.cell for w in lines if w.measure == "coverage"} == {"every cell"}
    assert most(lines) == max(w.replicates for w in lines)


def test_the_command_prints_replicates_and_time(tmp_path: Path) -> None:
    file = written(tmp_path, SMALL)
    found = simtrial("show", file, "--for", "coverage=0.005,bias=0.02")
    assert found.code == 0
    assert "1,900" in found.out
    assert "every method" in found.out
    assert "replicates meet all of them: about" in found.out
    assert "--replicates" in found.out
    document = json.loads(simtrial("show", file, "--for", "coverage=0.005", "--format", "json").out)
    assert {row["replicates"] for row in document["rows"]} == {1900}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bais=0.1", "--for: unknown measure 'bais'; did you mean 'bias'?"),
        ("bias=0", "--for bias=0: a Monte Carlo error above 0 is wanted"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    found = simtrial("show", written(tmp_path, SMALL), "--for", text)
    assert found.code == 2
    assert message in found.err


def test_too_small_an_error_is_said_to_be_so(tmp_path: Path) -> None:
    found = simtrial("show", written(tmp_path, SMALL), "--for", "coverage=0.0000001")
    assert found.code == 0
    assert "no run of up to 100,000,000 replicates is as precise as that" in found.err
