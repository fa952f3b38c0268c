"""Progress of a run with its rate and failed fits, and where the time of its chunks went."""

import json
from pathlib import Path

import polars as pl
import pytest
from commands import simtrial
from runs import chunks, go, quick, record, rows
from tomls import SMALL, written

from simtrial.report.progress import Progress
from simtrial.run.standing import Standing
from simtrial.run.stopwatch import Stopwatch

__all__ = ["quick"]
pytestmark = pytest.mark.usefixtures("quick")
FAILS = SMALL + '\n[[methods]]\nname = "fails"\nkind = "ols"\nadjust = []\nsubset = "sessions > 1000"\n'


@pytest.mark.parametrize("engine", ["serial", "processes"])
def test_finished_chunks_report_replicates_and_failed_fits(tmp_path: Path, engine: str) -> None:
    seen: list[tuple[int, int, Standing]] = []
    folder = tmp_path / "run"
    go(folder, 60, text=FAILS, engine_name=engine, workers=2, progress=lambda d, t, s, run: seen.append((d, t, run)))
    assert [(d, t, run.done, run.wanted, run.made) for d, t, run in seen] == [
        (k, 3, 20 * k, 60, 20 * k) for k in (1, 2, 3)
    ]
    failed = rows(folder).filter(pl.col("status") == "failed").select("replicate", "method").n_unique()
    assert seen[-1][2].failed_fits == failed >= 60
    again: list[Standing] = []
    go(folder, 80, text=FAILS, progress=lambda d, t, s, run: again.append(run))
    assert [(run.done, run.wanted, run.made) for run in again] == [(20, 20, 20)]


def test_a_line_of_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """1,000 of 4,000 replicates in 10 s, 500 of them here: 50 a second, 30 s left, whatever the chunks."""
    with Progress() as progress:
        progress._last = -1e9
        progress(1, 2, 10.0, Standing(done=1000, wanted=4000, made=500, failed_fits=1))
    line = capsys.readouterr().err
    assert line.split(" ", 1)[1] == "1/2 chunks, 10 s, 50 replicates/s, 1 failed fit, about 30 s left\n"


def test_records_hold_the_time_of_stages_and_methods(tmp_path: Path) -> None:
    go(tmp_path / "run", 40)
    for chunk in chunks(tmp_path / "run"):
        found = json.loads(record(chunk).read_text())
        parts = found["timings"]
        assert {"draw practices", "draw outcomes.mansa", "rows"} <= set(parts)
        assert [name.removeprefix("method ") for name in parts if name.startswith("method ")] == list(
            dict.fromkeys(rows(tmp_path / "run")["method"])
        )
        assert 0 < sum(parts.values()) <= found["seconds"] + 0.0005 + 1e-6 * len(parts)


def test_status_shows_what_the_time_went_to(tmp_path: Path) -> None:
    go(tmp_path / "run", 40)
    plain = simtrial("status", tmp_path / "run")
    assert "Time of workers" not in plain.out
    shown = simtrial("status", tmp_path / "run", "--timings")
    assert shown.code == plain.code == 0
    assert "Time of workers" in shown.out
    assert "draw practices" in shown.out
    frame = pl.read_csv(simtrial("status", tmp_path / "run", "--timings", "--format", "csv").out.encode())
    assert frame["share"].sum() == pytest.approx(1.0)
    whole = sum(json.loads(record(chunk).read_text())["seconds"] for chunk in chunks(tmp_path / "run"))
    assert frame["seconds"].sum() == pytest.approx(whole, abs=0.002)
    assert frame["microseconds_per_trial"].to_list() == pytest.approx((frame["seconds"] * 1e6 / 40).to_list())
    assert written(tmp_path, SMALL)


def test_a_stopwatch_adds_up_and_counts_what_raises() -> None:
    watch = Stopwatch()
    for _ in range(2):
        with pytest.raises(ValueError, match="late"), watch("work"):
            raise ValueError("late")
    assert list(watch.rounded()) == ["work"]
    assert watch.seconds["work"] > 0
