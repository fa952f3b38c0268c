"""A run that was interrupted, at whatever moment, ends with the same rows when the command is given again."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from commands import simtrial
from polars.testing import assert_frame_equal
from runs import chunks, drop, go, quick, record, rows
from tomls import SMALL, written

from simtrial import interruption
from simtrial.errors import IncompleteRunError, StoreError
from simtrial.store.chunks import stored_chunks
from simtrial.store.directory import read_run
from simtrial.store.identity import from_json

pytestmark = pytest.mark.usefixtures("quick")
__all__ = ["quick"]
PROGRAM = Path(__file__).parents[2] / "cli.py"


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Path, pl.DataFrame]:
    """A run of five chunks, and its rows."""
    go(tmp_path / "run")
    return tmp_path / "run", rows(tmp_path / "run")


def missing_then_restored(folder: Path, expected: pl.DataFrame, absent: int) -> None:
    """The run is incomplete by some blocks; the same command mends just these."""
    with pytest.raises(IncompleteRunError, match=f"{absent} of 5 blocks are missing") as caught:
        rows(folder)
    assert caught.value.exit_code == 3
    kept = {c.file: c.file.stat().st_mtime_ns for c in stored_chunks(folder, "base", from_json(read_run(folder)))}
    assert len(kept) == 5 - absent
    outcome = go(folder)
    assert (outcome.chunks, outcome.made, outcome.found) == (absent, absent, 5 - absent)
    assert_frame_equal(rows(folder), expected, check_exact=True)
    assert {f: f.stat().st_mtime_ns for f in kept} == kept


@pytest.mark.parametrize("gone", [[0], [4], [1, 3], [0, 1, 2, 3, 4]])
def test_deleted_chunks(gone: list[int], finished: tuple[Path, pl.DataFrame]) -> None:
    folder, expected = finished
    files = chunks(folder)
    for at in gone:
        drop(files[at])
    missing_then_restored(folder, expected, len(gone))


def test_a_chunk_without_its_record(finished: tuple[Path, pl.DataFrame]) -> None:
    folder, expected = finished
    record(chunks(folder)[2]).unlink()
    missing_then_restored(folder, expected, 1)


def test_a_record_without_its_chunk(finished: tuple[Path, pl.DataFrame]) -> None:
    folder, expected = finished
    chunks(folder)[2].unlink()
    missing_then_restored(folder, expected, 1)


@pytest.mark.parametrize("content", ["", '{"sha256": "ab', "[]", '{"rows": 60}'])
def test_a_record_that_is_damaged(content: str, finished: tuple[Path, pl.DataFrame]) -> None:
    folder, expected = finished
    record(chunks(folder)[1]).write_text(content)
    for read in (rows, go):
        with pytest.raises(StoreError, match=r"000001-000001\.json: damaged.* simtrial audit --repair") as caught:
            read(folder)
        assert caught.value.exit_code == 4
    assert simtrial("audit", folder).code == 4
    assert simtrial("audit", folder, "--repair").code == 0
    missing_then_restored(folder, expected, 1)


def test_a_half_written_file_lying_about(finished: tuple[Path, pl.DataFrame]) -> None:
    """Files are written aside and renamed: what a killed process leaves has another name."""
    folder, expected = finished
    file = chunks(folder)[3]
    content = file.read_bytes()
    drop(file)
    (file.parent / f".{file.name}.here-4711.part").write_bytes(content[: len(content) // 2])
    missing_then_restored(folder, expected, 1)


def test_killed_before_the_description_was_there(tmp_path: Path) -> None:
    """Also what a second process sees that starts at the same moment."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.json.here-4711.part").write_text('{"format": 1, "scen')
    go(tmp_path / "run", 20)
    assert rows(tmp_path / "run").height == 60


def test_two_processes_at_work_on_one_run(tmp_path: Path) -> None:
    """Both extend it; each block is written by one of them, or by both with the same content."""
    file = written(tmp_path, SMALL)
    base = [sys.executable, str(PROGRAM), "run", file, "--engine", "serial", "--format", "csv", "--chunk", "20"]
    subprocess.run([*base, "-o", str(tmp_path / "run"), "--replicates", "20"], capture_output=True, check=True)
    command = [*base, "-o", str(tmp_path / "run"), "--replicates", "400"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert told[0][0] == told[1][0]
    found = rows(tmp_path / "run")
    assert found.select("replicate", "method").is_unique().all()
    assert found.height == 1200


def test_a_run_with_nothing_but_its_description(finished: tuple[Path, pl.DataFrame]) -> None:
    folder, expected = finished
    for name in ("blocks", "records", "failures"):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / "cells.parquet").unlink()
    with pytest.raises(IncompleteRunError, match="no true values yet"):
        rows(folder)
    go(folder)
    assert_frame_equal(rows(folder), expected, check_exact=True)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143)])
def test_an_interruption_that_python_lost_is_raised_before_the_next_chunk(error: BaseException, tmp_path: Path) -> None:
    """As in the callback that ends the import of a module, from which no exception comes out."""
    with pytest.raises(type(error)):
        interruption.raise_and_note(error)
    try:
        with pytest.raises(type(error)):
            go(tmp_path / "run")
    finally:
        interruption.forget()
    assert chunks(tmp_path / "run") == []
    assert go(tmp_path / "run").made == 5


def test_part_of_a_run_can_be_read(finished: tuple[Path, pl.DataFrame]) -> None:
    folder, expected = finished
    for file in chunks(folder)[1:3]:
        drop(file)
    found = rows(folder, partial=True)
    assert_frame_equal(found, expected.filter(~pl.col("replicate").is_between(21, 60)), check_exact=True)
    for file in chunks(folder):
        drop(file)
    with pytest.raises(IncompleteRunError, match="no block is finished yet"):
        rows(folder, partial=True)


def test_a_finished_run_has_nothing_to_do(finished: tuple[Path, pl.DataFrame]) -> None:
    folder, _ = finished
    before = {f: f.stat().st_mtime_ns for f in folder.rglob("*") if f.is_file()}
    outcome = go(folder)
    assert (outcome.chunks, outcome.found, outcome.failed) == (0, 5, ())
    assert {f: f.stat().st_mtime_ns for f in folder.rglob("*") if f.is_file()} == before


@pytest.mark.parametrize("how", [["--engine", "serial"], ["--engine", "processes", "--workers", "2"]])
def test_killed_without_warning(how: list[str], tmp_path: Path) -> None:
    """SIGKILL to the whole process group once two chunks of thirty are there; then the same command again."""
    file = written(tmp_path, SMALL)
    command = [sys.executable, str(PROGRAM), "run", file, "-o", str(tmp_path / "run"), "--replicates", "600", *how]
    command += ["--chunk", "20", "--format", "csv"]
    folder = tmp_path / "run" / "records" / "base"
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    end = time.monotonic() + 60
    while len(list(folder.glob("*.json"))) < 2:
        assert process.poll() is None, "it was over before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert 2 <= len(list(folder.glob("*.json"))) < 30
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "mixed model" in again.stdout
    whole = subprocess.run([*command[:5], str(tmp_path / "whole"), *command[6:]], capture_output=True, check=True)
    assert whole.stdout.decode() == again.stdout
    assert_frame_equal(rows(tmp_path / "run"), rows(tmp_path / "whole"), check_exact=True)


@pytest.mark.parametrize(
    ("sent", "code", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
@pytest.mark.parametrize("how", [["--engine", "serial"], ["--engine", "processes", "--workers", "2"]])
def test_stopped_in_an_orderly_way(sent: int, code: int, word: str, how: list[str], tmp_path: Path) -> None:
    """As a batch system or Ctrl-C stops it: an exit code of its own, one line, whole chunks only."""
    file = written(tmp_path, SMALL)
    command = [sys.executable, str(PROGRAM), "run", file, "-o", str(tmp_path / "run"), "--replicates", "2000"]
    process = subprocess.Popen(
        [*command, *how, "--chunk", "20"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 60
    begun = tmp_path / "run" / "records"
    while not (list(begun.glob("base/*.json")) and list(begun.glob("cells.json"))) and time.monotonic() < end:
        time.sleep(0.002)
    process.send_signal(sent)
    out, told = process.communicate(timeout=60)
    assert process.returncode == code
    assert out == ""
    assert told.strip().splitlines()[-1].startswith(f"{word}: finished chunks are kept")
    assert "Traceback" not in told
    found = rows(tmp_path / "run", partial=True)
    assert found.height % 60 == 0
