"""Rows that are too many to be held give what a frame of them gives, in memory that does not grow with them."""

import io
import os
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from commands import simtrial
from rows import measured, truths

from simtrial.errors import EnvironmentFailure
from simtrial.kernels.interval_sets import KINDS
from simtrial.performance import Options, long_rows, performance
from simtrial.performance.groups import UNKNOWN
from simtrial.performance.long_rows import LongRows
from simtrial.performance.rows import first_failures, groups_of
from simtrial.report.tables import beside_published

NUMBERS = ("estimate", "std_error", "ci_lower", "ci_upper", "p_value")
PARTS = [("a", "itt"), ("b", "itt"), ("b", "cace"), ("c", "cace")]
TOLERANCE = 1e-9
"""Relative: as in test_tiled.py."""


def tiles_of(size: int, patch: pytest.MonkeyPatch) -> None:
    """Make tiles of so many replicates."""
    for module in ("tiled", "long_rows", "rows"):
        patch.setattr(f"simtrial.performance.{module}.TILE", size)


@dataclass
class Cut:
    """A frame of one cell in pieces, as they come from chunks."""

    pieces: Sequence[pl.DataFrame]
    replicates: int
    parts: Sequence[tuple[str, str]]
    cell: str = "base"

    def frames(self) -> Iterator[pl.DataFrame]:
        """The pieces."""
        return iter(self.pieces)


def drawn(rng: np.random.Generator, n: int) -> tuple[pl.DataFrame, Cut]:
    """Rows of four parts, each of most replicates, and their pieces in any order."""
    frames, sets, own = [], rng.random() < 0.4, rng.random() < 0.4
    for method, estimand in PARTS:
        if rng.random() < 0.1:
            continue
        e, s = 0.3 + rng.standard_normal(n), rng.uniform(0.5, 1.5, n)
        numbers = dict(zip(NUMBERS, (e, s, e - s, e + s, rng.random(n)), strict=True))
        holes = {name: np.where(rng.random(n) < 0.05, np.nan, values) for name, values in numbers.items()}
        failed = rng.random(n) < rng.choice([0.0, 0.1])
        frame = pl.DataFrame({
            "cell": ["base"] * n, "replicate": np.arange(1, n + 1), "method": [method] * n, "estimand": [estimand] * n,
            **holes, "status": np.where(failed, "failed", "ok"),
            "flags": rng.choice(["", "boundary", "aliased;boundary", "leverage_one"], n),
        }).with_columns(pl.col(pl.Float64).fill_nan(None))  # fmt: skip
        if sets and method != "a":
            frame = frame.with_columns(
                ci_type=pl.Series([[*KINDS, None][at] for at in rng.integers(0, 6, n)], dtype=pl.String)
            )
        if own:
            frame = frame.with_columns(own_true_value=pl.Series(rng.normal(1.0, 0.2, n)))
        frames.append(frame.filter(pl.Series(rng.random(n) < rng.choice([1.0, 0.8]))))
    pieces = [
        piece
        for frame in frames
        for piece in frame.with_columns(at=pl.col("replicate") // 13).partition_by("at", include_key=False)
    ]
    order = rng.permutation(len(pieces))
    text = pl.col(pl.String).cast(pl.Categorical)
    cut = Cut([pieces[at].with_columns(text) for at in order], n, PARTS)
    return pl.concat(frames, how="diagonal"), cut


@pytest.mark.parametrize("seed", range(60))
def test_performance_of_long_rows_is_that_of_a_frame(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.choice([3, 16, 50, 1000]))
    tiles_of(size, monkeypatch)
    rows, cut = drawn(rng, int(rng.choice([40, 131])))
    own = "own_true_value" in rows.columns
    known = pl.concat([truths(0.3, estimand=name) for name in ("itt", "cace")]).with_columns(own=pl.lit(own))
    options = Options(
        form=str(rng.choice(["robust", "jackknife", "normal"])),  # type: ignore[arg-type]
        reference=str(rng.choice(["a", "b"])) if rng.random() < 0.6 else None, common=bool(rng.random() < 0.4),
    )  # fmt: skip
    held = LongRows(cut)
    expected, found = performance(rows, known, options), performance(held, known, options)
    names = ["cell", "estimand", "method", "measure"]
    lines = expected.join(found, on=names, how="full", suffix="_found", coalesce=True, nulls_equal=True)
    assert expected.height == found.height == lines.height
    assert lines["n"].equals(lines["n_found"])
    for row in lines.iter_rows(named=True):
        size_of_it = abs(row["value"] or 0.0) + (row["mcse"] or 0.0) * max(row["n"], 1) ** 0.5
        for name in ("value", "mcse", "mc_lower", "mc_upper"):
            one, other = row[name], row[f"{name}_found"]
            assert one == other or other == pytest.approx(one, rel=TOLERANCE, abs=TOLERANCE * size_of_it), row
    assert first_failures(held) == first_failures(rows)


def test_what_is_shown_beside_published_results_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles_of(16, monkeypatch)
    rows, cut = drawn(np.random.default_rng(1), 131)
    published = [
        {"method": name, "estimate": 0.2, "ci_lower": -1.0, "ci_upper": 1.5} for name in ("a", "b", "c", "nobody")
    ]
    found = beside_published(LongRows(cut), published, {"base": ""})
    assert found == beside_published(rows, published, {"base": ""})
    assert found[3][2:] == ["-", "-", "1.250", "-", "-", "-"]


def test_published_results_beside_sets_without_an_end_are_no_error() -> None:
    rows, _ = drawn(np.random.default_rng(1), 40)
    wide = rows.filter(method="a").with_columns(ci_upper=pl.lit(float("inf")))
    line = {"method": "a", "estimate": 0.2, "ci_lower": -1.0, "ci_upper": 1.5}
    ((*_, half, _, off),) = beside_published(wide, [line], {"base": ""})
    assert (half, off) == ("inf", "-")


def test_a_failed_fit_that_still_has_numbers_is_no_estimate_for_the_common_replicates() -> None:
    rows, _ = drawn(np.random.default_rng(4), 40)
    rows = rows.filter(pl.col("estimand") == "itt").with_columns(estimate=pl.lit(1.0), std_error=pl.lit(1.0))
    failing = set(rows.filter(status="failed")["replicate"])
    both = set(rows.filter(method="a")["replicate"]) & set(rows.filter(method="b")["replicate"])
    for held in (rows, LongRows(Cut([rows], 40, PARTS))):
        found = measured(performance(held, truths(0.3), Options(common=True)))
        assert found["a", "bias"][2] == found["b", "bias"][2] == len(both - failing)
        of_b = rows.filter(method="b")
        assert found["b", "failures"][::2] == (of_b.filter(status="failed").height, of_b.height)
    assert failing & both


class Endless:
    """Rows made while they are read: 500 replicates of one method in a piece."""

    cell, parts = "base", [("m", "itt")]

    def __init__(self, replicates: int) -> None:
        self.replicates = replicates

    def frames(self) -> Iterator[pl.DataFrame]:
        """Pieces."""
        rng, n = np.random.default_rng(1), 500
        for first in range(0, self.replicates, n):
            e = rng.standard_normal(n)
            yield pl.DataFrame({
                "replicate": np.arange(first + 1, first + n + 1), "method": ["m"] * n, "estimand": ["itt"] * n,
                "estimate": e, "std_error": np.ones(n), "ci_lower": e - 2, "ci_upper": e + 2, "p_value": np.abs(e) / 9,
                "status": ["ok"] * n, "flags": [""] * n,
            })  # fmt: skip


def peak(replicates: int) -> int:
    """Bytes that numpy and Python hold at most while rows are read and summarised."""
    tracemalloc.start()
    try:
        performance(LongRows(Endless(replicates)), truths(0.0), Options())
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_replicates(monkeypatch: pytest.MonkeyPatch) -> None:
    """From ten tiles to 150. A single column that is held would be 2.2 MB more; half of that is allowed."""
    tiles_of(2000, monkeypatch)
    peak(4000)  # what is imported and kept on first use
    assert peak(300_000) < peak(20_000) + 8 * 280_000 / 2


class Reluctant(io.FileIO):
    """A file that reads a few bytes at a time, as a disk elsewhere may."""

    def readinto(self, into: Any) -> int:
        """Read less than there is room for."""
        return super().readinto(memoryview(into)[: min(7, len(into))])


def test_a_file_that_reads_a_little_at_a_time_is_read_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = performance(LongRows(Endless(500)), truths(0.0), Options(["bias", "coverage"]))
    monkeypatch.setattr(long_rows.tempfile, "TemporaryFile", lambda buffering: Reluctant(tmp_path / "rows", "w+b"))
    assert performance(LongRows(Endless(500)), truths(0.0), Options(["bias", "coverage"])).equals(whole)


def test_a_file_that_has_become_shorter_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(long_rows.tempfile, "TemporaryFile", lambda buffering: io.FileIO(tmp_path / "rows", "w+b"))
    held = LongRows(Endless(500))
    os.truncate(tmp_path / "rows", 1000)
    with pytest.raises(EnvironmentFailure, match="shorter than what was written"):
        performance(held, truths(0.0), Options(["bias"]))


def test_types_of_sets_that_nobody_knows_are_no_sets_of_another_type() -> None:
    rows, _ = drawn(np.random.default_rng(1), 300)
    rows = rows.filter(method="a").with_columns(ci_type=pl.format("odd {}", pl.col("replicate")))
    found = [
        performance(held, truths(0.3)).filter(measure="coverage") for held in (rows, LongRows(Cut([rows], 300, PARTS)))
    ]
    assert found[0]["value"].to_list() == found[1]["value"].to_list()


def test_a_disk_of_temporary_files_that_refuses_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(long_rows.tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(EnvironmentFailure, match=r"cannot hold the rows that are summarised .*TMPDIR"):
        LongRows(Endless(500))


def test_a_disk_that_is_full_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    monkeypatch.setattr(long_rows.tempfile, "TemporaryFile", lambda buffering: full.open("r+b", buffering=buffering))
    with pytest.raises(EnvironmentFailure, match="No space left on device"):
        LongRows(Endless(500))


def test_a_sample_outlives_the_rows_that_it_is_read_from() -> None:
    (group,) = groups_of(LongRows(Endless(500)))
    sample = group.judged("m", UNKNOWN).sample
    del group
    assert len(sample.estimate) == 500
    assert np.isfinite(sample.estimate.mean())


COMMANDS = (
    [], ["--common"], ["--reference", "primary, partial"],
    ["--measure", "trimmed_bias,median_width", "--mcse", "normal"],
)  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of the same trials, the second of more replicates."""
    folder = tmp_path_factory.mktemp("runs")
    for name, replicates in (("one", 150), ("two", 300)):
        chosen = ("-o", str(folder / name), "--replicates", str(replicates), "--workers", "1")
        assert simtrial("run", "partners", *chosen).code == 0
    return folder


@pytest.mark.parametrize("options", COMMANDS, ids=" ".join)
def test_summaries_of_runs_are_the_same(options: list[str], runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folders in (["one"], ["one", "two"]):
        command = ["summarise", *(str(runs / name) for name in folders), *options]
        expected = simtrial(*command)
        with monkeypatch.context() as patch:
            tiles_of(64, patch)
            found = simtrial(*command)
        assert expected.code == found.code == 0, (expected.err, found.err)
        assert found.out == expected.out
