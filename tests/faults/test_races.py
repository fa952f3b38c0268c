"""Drivers that begin on one directory in the same instant: no row is lost, doubled or different."""

import multiprocessing
import shutil
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from commands import simtrial
from killing import stored
from tomls import SMALL, written

QUICK = SMALL[: SMALL.index('[[estimands]]\nname = "cace"')] + (
    '[[methods]]\nname = "ols"\nkind = "ols"\nadjust = []\n\n[run]\nseed = 5\nblock = 20\n'
)
DRIVERS = {"extends": ("400",), "first": ("200",), "shard": ("400", "2/3"), "shard again": ("400", "2/3")}
"""Replicates, and part of the work, that each driver is asked for."""


def drive(file: str, folder: Path, wanted: tuple[str, ...], result: Path, start: Barrier) -> None:
    """Run the command line once all others are about to; its table goes to a file, or its messages if it fails."""
    shard = ["--shard", wanted[1]] if wanted[1:] else []
    start.wait(60)
    done = simtrial("run", file, "-o", folder, "--replicates", wanted[0], "--chunk", 20, "--engine", "serial",
                    "--format", "csv", *shard)  # fmt: skip
    result.write_text(done.out if done.code == 0 else f"exit {done.code}: {done.err}")


@pytest.mark.parametrize(
    "rounds", [2, pytest.param(50, marks=[pytest.mark.verify, pytest.mark.slow])], ids=["twice", "often"]
)
def test_forced_races(rounds: int, tmp_path: Path) -> None:
    """Two drivers, one of which extends the run, and a shard of it twice; each table is that of a run alone."""
    file = written(tmp_path, QUICK)
    alone = {
        replicates: simtrial("run", file, "-o", tmp_path / replicates, "--replicates", replicates, "--chunk", 20,
                             "--engine", "serial", "--format", "csv").out
        for replicates in ("200", "400")
    }  # fmt: skip
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["simtrial.run.loop"])
    begun, met = time.monotonic(), 0
    for number in range(rounds):
        folder, start = tmp_path / f"run{number}", context.Barrier(len(DRIVERS))
        results = {name: tmp_path / f"{number}-{name}" for name in DRIVERS}
        every = [
            context.Process(target=drive, args=(file, folder, wanted, results[name], start))
            for name, wanted in DRIVERS.items()
        ]
        for process in every:
            process.start()
        for process in every:
            process.join(120)
            assert process.exitcode == 0
        found = {name: result.read_text() for name, result in results.items()}
        assert (found["extends"], found["first"]) == (alone["400"], alone["200"])
        assert {found["shard"], found["shard again"]} <= {"", alone["400"]}
        assert sorted(stored(folder)) == [f"{block:06d}-{block:06d}.json" for block in range(20)]
        assert simtrial("audit", folder).code == 0
        assert not list((folder / "claims").glob("*"))
        met += 1
        shutil.rmtree(folder)
    print(f"\nraces: {met} of {rounds} rounds of {len(DRIVERS)} drivers equal, {time.monotonic() - begun:.0f} s")
