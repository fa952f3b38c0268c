"""Replicates are added until results are precise enough, along one sequence whatever happens on the way."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from commands import simtrial
from polars.testing import assert_frame_equal
from runs import chunks, drop, go, quick, rows
from tomls import SMALL, changed, written

from simtrial.performance import Options, performance
from simtrial.run import precision
from simtrial.run.precision import Look, first_look, look, next_look
from simtrial.store.directory import read_run

__all__ = ["quick"]
SWEEP = SMALL + '\n[vary.cross]\n"mechanism.outcomes.mansa.residual_sd" = [0.3, 0.8]\n'
BIAS = {"bias": 0.03}


@pytest.fixture(autouse=True)
def early(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first look after 40 replicates."""
    monkeypatch.setattr(precision, "FIRST", 40)


def ended(folder: Path) -> dict[str, tuple[int, list[str]]]:
    """Replicates of each cell, and what was not met."""
    found = [json.loads(file.read_text()) for file in (folder / "stops").iterdir()]
    return {stop["cell"]: (stop["replicates"], stop["missed"]) for stop in found}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that ran until its biases were known to 0.03, at most 1,000 replicates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("simtrial.estimands.values.PRACTICES", 2000)
        patch.setattr(precision, "FIRST", 40)
        folder = tmp_path_factory.mktemp("precision") / "whole"
        go(folder, 1000, text=SWEEP, until=BIAS)
    return folder


def test_cells_end_once_every_method_is_precise_enough(whole: Path) -> None:
    """The quieter cell needs fewer; one block less would not have been enough at some earlier look."""
    numbers = {cell: n for cell, (n, _) in ended(whole).items()}
    assert all(missed == [] for _, missed in ended(whole).values())
    assert len(set(numbers.values())) == 2
    assert 40 <= min(numbers.values()) < max(numbers.values()) < 1000
    frame, cells = rows(whole), pl.read_parquet(whole / "cells.parquet")
    assert dict(frame.group_by("cell").agg(pl.col("replicate").max()).iter_rows()) == numbers
    errors = performance(frame, cells, Options(["bias"])).filter(measure="bias")
    assert errors["mcse"].max() <= 0.03
    for (cell,), part in frame.group_by("cell"):
        early = performance(part.filter(pl.col("replicate") <= 40), cells, Options(["bias"])).filter(measure="bias")
        assert (early["mcse"].max() > 0.03) == (numbers[cell] > 40)


HOW = {
    "other chunks": {"chunk_replicates": 60},
    "processes": {"engine_name": "processes", "workers": 2},
}


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_the_sequence_does_not_depend_on_how_the_work_is_spread(how: dict, whole: Path, tmp_path: Path) -> None:
    go(tmp_path / "run", 1000, text=SWEEP, until=BIAS, **how)
    assert ended(tmp_path / "run") == ended(whole)
    assert_frame_equal(rows(tmp_path / "run"), rows(whole), check_exact=True)


def test_the_sequence_does_not_depend_on_what_is_there(whole: Path, tmp_path: Path) -> None:
    """Begun without a limit, interrupted, with blocks beyond the end and blocks missing."""
    go(tmp_path / "run", 200, text=SWEEP)
    for file in chunks(tmp_path / "run")[1::3]:
        drop(file)
    go(tmp_path / "run", 1000, text=SWEEP, until=BIAS)
    assert ended(tmp_path / "run") == ended(whole)
    assert_frame_equal(rows(tmp_path / "run"), rows(whole), check_exact=True)
    for file in [*(tmp_path / "run" / "stops").iterdir()]:
        file.unlink()
    assert go(tmp_path / "run", 1000, text=SWEEP, until=BIAS).chunks == 0
    assert ended(tmp_path / "run") == ended(whole)


def test_the_most_replicates_end_a_cell_and_what_is_missed_is_kept(tmp_path: Path) -> None:
    go(tmp_path / "run", 60, until={"bias": 0.001, "coverage": 0.4})
    ((number, missed),) = ended(tmp_path / "run").values()
    assert number == 60
    assert missed == ["bias of mixed model", "bias of imputed", "bias of two-stage least squares"] or len(missed) == 3


def test_a_method_that_is_added_is_made_precise_as_well(whole: Path, tmp_path: Path) -> None:
    noisy = changed(
        "[run]",
        '[[methods]]\nname = "few"\nkind = "ols"\nsubset = "mansa_baseline > 5.2"\nestimand = "itt"\n\n[run]',
        SWEEP,
    )
    go(tmp_path / "run", 1000, text=SWEEP, until=BIAS)
    go(tmp_path / "run", 1000, text=noisy, until=BIAS)
    go(tmp_path / "alone", 1000, text=noisy, until=BIAS)
    assert_frame_equal(rows(tmp_path / "run"), rows(tmp_path / "alone"), check_exact=True)
    before = {cell: n for cell, (n, _) in ended(whole).items()}
    after = dict(rows(tmp_path / "run").group_by("cell").agg(pl.col("replicate").max()).iter_rows())
    assert all(after[cell] >= before[cell] for cell in before)
    assert after != before


def test_a_plain_request_afterwards_is_for_all_replicates(whole: Path, tmp_path: Path) -> None:
    go(tmp_path / "run", 200, text=SWEEP, until=BIAS)
    go(tmp_path / "run", 200, text=SWEEP)
    assert rows(tmp_path / "run").height == 2 * 200 * 3


def test_a_share_of_one_is_not_taken_for_certainty() -> None:
    lines = [("m", "coverage", 1.0, 0.0, 40), ("m", "bias", 0.0, None, 40)]
    frame = pl.DataFrame(lines, schema=["method", "measure", "value", "mcse", "n"], orient="row")
    (_, _, share), (_, _, bias) = precision._ratios(frame, {"coverage": 0.01, "bias": 0.01})
    assert share == pytest.approx(np.sqrt((42 / 44) * (2 / 44) / 44) / 0.01)
    assert bias == np.inf


def test_a_look_asks_for_no_more_than_four_times_as_much(whole: Path) -> None:
    run = {**read_run(whole), "until": {"bias": 1e-6}}
    cell = next(iter(run["cells"]))
    assert look(whole, run, cell, 2, 50).blocks == 8
    assert look(whole, run, cell, 2, 5).blocks == 5
    assert look(whole, {**run, "until": {"bias": 1.0}}, cell, 2, 50) == Look(None, ())
    assert (first_look(20, 50), first_look(60, 50), first_look(20, 1)) == (2, 1, 1)


def test_the_command_says_that_the_number_was_adaptive(tmp_path: Path) -> None:
    file = written(tmp_path, SMALL)
    found = simtrial("run", file, "-o", tmp_path / "run", "--until", "bias=0.05, coverage=0.1", "--replicates", 400)
    assert found.code == 0, found.err
    assert "Replicates were added to each cell until these Monte Carlo errors were reached" in found.out
    assert "bias 0.05, coverage 0.1" in found.out
    assert "at most 400 replicates" in simtrial("status", tmp_path / "run").out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("coverrage=0.01", "--until: unknown measure 'coverrage'; did you mean 'coverage'?"),
        ("bias", "--until bias: a Monte Carlo error above 0 is wanted, e.g. coverage=0.005"),
        ("bias=-1", "--until bias=-1: a Monte Carlo error above 0"),
        ("bias=0.1,bias=nan", "--until bias=nan: a Monte Carlo error above 0"),
    ],
)
def test_what_is_no_precision_is_refused(text: str, words: str, tmp_path: Path) -> None:
    found = simtrial("run", written(tmp_path, SMALL), "-o", tmp_path / "run", "--until", text)
    assert found.code == 2
    assert words in found.err
    assert not (tmp_path / "run").exists()


def test_shards_cannot_know_where_a_cell_ends(tmp_path: Path) -> None:
    file = written(tmp_path, SMALL)
    found = simtrial("run", file, "-o", tmp_path / "run", "--until", "bias=0.1", "--shard", "1/2")
    assert found.code == 2
    assert "leave out --shard" in found.err


DRAWS = {
    "normal": (lambda rng, n: rng.standard_normal(n), 0.0, [0.03, 0.02, 0.015]),
    "skew": (lambda rng, n: rng.standard_exponential(n) ** 1.5, 0.75 * np.sqrt(np.pi), [0.05, 0.03]),
    "share 0.5": (lambda rng, n: (rng.random(n) < 0.5).astype(float), 0.5, [0.01]),
    "share 0.95": (lambda rng, n: (rng.random(n) < 0.95).astype(float), 0.95, [0.006, 0.005, 0.004]),
    "share 0.99": (lambda rng, n: (rng.random(n) < 0.99).astype(float), 0.99, [0.003, 0.002]),
}
TRIED = 3000


@pytest.mark.verify
@pytest.mark.parametrize("name", DRAWS)
def test_what_an_adaptive_number_does_to_estimates_and_errors(name: str) -> None:
    """The figures of docs/measures.md: bias in Monte Carlo errors, and mean error over the true one.

    Bounds are those figures plus four standard errors of this simulation (0.018 for the bias, 0.013 for the ratio).
    """
    draw, truth, targets = DRAWS[name]
    rng, most, size = np.random.default_rng(1), 400, 250
    share = name.startswith("share")
    for target in targets:
        values, errors = [], []
        for _ in range(TRIED):
            blocks, sample = 4, draw(rng, 4 * size)
            while (excess := _wanted_error(sample, share) / target) > 1 and blocks < most:
                further = next_look(blocks, excess, most)
                sample = np.append(sample, draw(rng, (further - blocks) * size))
                blocks = further
            values.append(sample.mean())
            errors.append(sample.std(ddof=1) / np.sqrt(len(sample)))
        true_error = np.std(values, ddof=1)
        bias, ratio = (np.mean(values) - truth) / true_error, np.mean(errors) / true_error
        print(f"{name} to {target}: bias {bias:+.3f} errors, error {ratio:.3f} of the true one")
        near = name == "share 0.99"
        assert abs(bias) < (0.18 if near else 0.11) + 4 * 0.018
        assert ratio > (0.90 if near else 0.97) - 4 * 0.013


def _wanted_error(sample: np.ndarray, share: bool) -> float:
    """Error by which a look decides."""
    error = float(sample.std(ddof=1) / np.sqrt(len(sample)))
    return precision._error("coverage" if share else "bias", float(sample.mean()), error, len(sample))
