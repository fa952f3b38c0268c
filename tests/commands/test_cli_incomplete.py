"""What a summary says of replicates that it leaves out: blocks that are missing, and fits that failed elsewhere."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from commands import simtrial
from rows import made
from runs import go, quick
from tomls import SMALL

from simtrial.report.layout import aligned
from simtrial.store.chunks import stored_chunks
from simtrial.store.directory import read_run
from simtrial.store.identity import from_json

__all__ = ["quick"]

TWO_CELLS = SMALL + '\n[vary.cross]\n"mechanism.practices.number" = [12, 15]\n'


def remove(folder: Path, cell: str, most: int | None = None) -> None:
    """Remove some stored chunks of a cell, or all."""
    for chunk in list(stored_chunks(folder, cell, from_json(read_run(folder))))[:most]:
        chunk.file.unlink()


def test_a_summary_of_what_is_there_says_what_is_not(tmp_path: Path) -> None:
    go(tmp_path / "run", 60, text=TWO_CELLS, chunk_replicates=20)
    first, second = read_run(tmp_path / "run")["cells"]
    remove(tmp_path / "run", first, 1)
    remove(tmp_path / "run", second)
    refused = simtrial("summarise", tmp_path / "run")
    assert refused.code == 3
    assert "or take what is there with --partial" in refused.err
    found = simtrial("summarise", tmp_path / "run", "--partial")
    assert found.code == 0
    assert re.search(r"incomplete, blocks that are missing: number=12: \d of \d; number=15: all", found.err)
    again = simtrial("summarise", tmp_path / "run", "--partial", "--format", "csv")
    assert "incomplete" in again.err
    assert "incomplete" not in again.out


def test_runs_of_different_sizes_are_named_with_them(tmp_path: Path) -> None:
    go(tmp_path / "few", 20)
    go(tmp_path / "many", 40)
    for names in (("few", "many"), ("many", "few")):
        found = simtrial("summarise", *(tmp_path / name for name in names))
        assert found.code == 0, "the larger run holds all that the smaller one lacks"
    go(
        tmp_path / "other",
        40,
        text=SMALL.replace('kind = "lmm"', 'kind = "ols"').replace("mixed model", "least squares"),
    )
    for names in (("few", "other"), ("other", "few")):
        found = simtrial("summarise", *(tmp_path / name for name in names))
        assert found.code == 3
        assert f"{tmp_path / 'few'} is of 20 replicates and {tmp_path / 'other'} of 40: extend the first" in found.err
        assert simtrial("summarise", *(tmp_path / name for name in names), "--partial").code == 0


MORE = """
[[methods]]
name = "first"
kind = "ols"
estimand = "itt"

[[methods]]
name = "mixed model"
kind = "lmm"
estimand = "itt"
"""


def test_the_order_of_methods_is_that_of_the_request_whichever_chunk_is_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first half of the blocks lacks a method; a frame and a file of the rows are summarised alike."""
    head = SMALL[: SMALL.index("[[methods]]")]
    both = head + MORE + SMALL[SMALL.index("[run]") :]
    only = head + MORE[MORE.index('[[methods]]\nname = "mixed') :] + SMALL[SMALL.index("[run]") :]
    go(tmp_path / "run", 40, text=only, shard=(1, 2), chunk_replicates=10)
    go(tmp_path / "run", 40, text=both, shard=(2, 2), chunk_replicates=10)
    found = []
    for size in (1 << 15, 16):
        for module in ("tiled", "long_rows", "rows"):
            monkeypatch.setattr(f"simtrial.performance.{module}.TILE", size)
        found.append(simtrial("summarise", tmp_path / "run", "--partial"))
        found.append(simtrial("summarise", tmp_path / "run", "--partial", "--measure", "bias"))
    assert [one.code for one in found] == [0] * 4
    assert found[0].out == found[2].out
    assert found[1].out == found[3].out
    assert found[0].out.index("first ") < found[0].out.index("mixed model ")


def test_failures_are_counted_in_all_replicates_whichever_the_measures_are_of(tmp_path: Path) -> None:
    numbers = {"estimate": [1.0, 2, 3, 4, 6], "std_error": [1.0, 1, 1, 1, 2]}
    holed = {name: [*values[:3], None, None] for name, values in numbers.items()}
    flagged = made("b", {**holed, "flags": ["", "", "boundary", "not_converged", "not_converged"]})
    pl.concat([made("a", numbers), flagged]).with_columns(true_value=pl.lit(2.0)).write_csv(tmp_path / "r.csv")
    found = simtrial("summarise", tmp_path / "r.csv", "--common", "--measure", "bias,convergence_rate")
    assert found.code == 0
    counts, table = found.out.split("Performance")
    assert re.search(r"a +5 +0 +0 +0", counts)
    assert re.search(r"b +5 +2 +1 +2", counts)
    assert "of the replicates in which every method has an estimate (--common)" in counts
    assert re.search(r"a +itt +2\.0000 +3 +0\.0000 .* 1\.000", table)
    assert re.search(r"b +itt +2\.0000 +3 +0\.0000 .* 0\.600", table)


@pytest.mark.parametrize(
    ("pairs", "digits", "shown"),
    [
        ([(0.951, 0.0069), (0.9, 0.0)], 3, ["0.951 (0.007)", "0.900 (0.000)"]),
        ([(0.95071, 0.00022), (0.94614, 0.00023)], 3, ["0.9507 (0.0002)", "0.9461 (0.0002)"]),
        ([(0.9507, 0.00022), (0.5, 0.01)], 3, ["0.951 (0.000)", "0.500 (0.010)"]),
        ([(1.0, 0.0), (1.0, 0.0)], 3, ["1.000 (0.000)", "1.000 (0.000)"]),
        ([(1.0, 1e-17), (1.0, None)], 3, ["1.000 (0.000)", "1.000        "]),
        ([(1.0, np.nan)], 2, ["1.00"]),
    ],
)
def test_errors_are_not_rounded_away(pairs: list[tuple[float, float]], digits: int, shown: list[str]) -> None:
    assert aligned(pairs, digits) == shown
