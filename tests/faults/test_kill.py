"""Processes killed without warning, and several at work on one directory: the table is always the same."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from commands import simtrial
from killing import below, children, running, stored
from tomls import SMALL, written

PROGRAM = Path(__file__).parents[2] / "cli.py"
MANY = [pytest.mark.verify, pytest.mark.slow]
TIMES = pytest.mark.parametrize("times", [1, pytest.param(25, marks=MANY)], ids=["once", "often"])


def command(folder: Path, replicates: int, *more: str) -> list[str]:
    """A run of 20 replicates to a chunk by two worker processes."""
    file = written(folder.parent, SMALL, f"{folder.name}.toml")
    base = [sys.executable, str(PROGRAM), "run", file, "-o", str(folder), "--replicates", str(replicates)]
    return [*base, "--chunk", "20", "--engine", "processes", "--workers", "2", "--format", "csv", *more]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], str]:
    """Table of a run of so many replicates that nobody disturbed."""

    @cache
    def table(replicates: int) -> str:
        asked = command(tmp_path_factory.mktemp("whole") / "run", replicates)
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout

    return table


@TIMES
@pytest.mark.parametrize("victim", ["driver", "worker", "server"])
def test_kill_9_at_a_random_moment(victim: str, times: int, whole: Callable[[int], str], tmp_path: Path) -> None:
    expected = whole(400)
    rng = random.Random(victim)
    for time_ in range(times):
        folder = tmp_path / f"run{time_}"
        process = subprocess.Popen(command(folder, 400), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wanted, end = rng.randrange(1, 14), time.monotonic() + 60
        while len(stored(folder)) < wanted and process.poll() is None and time.monotonic() < end:
            time.sleep(0.005)
        every = below(process.pid)
        chosen = {
            "driver": [process.pid],
            "server": [number for number, name in every if "forkserver" in name and number in children(process.pid)],
            "worker": [number for number, name in every if number not in children(process.pid)],
        }[victim]
        if chosen:
            os.kill(rng.choice(chosen), signal.SIGKILL)
        out, told = process.communicate(timeout=120)
        end = time.monotonic() + 5
        while any(running(number) for number, _ in every) and time.monotonic() < end:
            time.sleep(0.02)
        assert not [number for number, _ in every if running(number)], "processes are left after 5 seconds"
        before = stored(folder)
        if process.returncode == 0:
            assert out == expected
        else:
            assert victim != "worker", told
        again = subprocess.run(command(folder, 400), capture_output=True, text=True, check=True)
        assert again.stdout == expected
        after = stored(folder)
        assert {name: after[name] for name in before} == before, "a stored chunk was made again"
        assert not [f for f in folder.rglob("*") if f.name.endswith(".part")]
        assert not list((folder / "claims").glob("*"))
        assert simtrial("audit", folder).code == 0


@pytest.mark.parametrize("times", [1, pytest.param(50, marks=MANY)], ids=["once", "often"])
def test_drivers_share_one_directory(times: int, whole: Callable[[int], str], tmp_path: Path) -> None:
    """Two that start in the same instant, a third that extends the run, and one shard twice: no row lost or doubled."""
    expected, more = whole(200), whole(400)
    begun = time.monotonic()
    for time_ in range(times):
        folder = tmp_path / f"run{time_}"
        requests = [command(folder, 200), command(folder, 200), command(folder, 400)]
        requests += [command(folder, 400, "--shard", "2/3")] * 2
        every = [subprocess.Popen(r, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for r in requests]
        found = [process.communicate(timeout=300) for process in every]
        assert [process.returncode for process in every] == [0] * 5, found
        assert [out for out, _ in found[:3]] == [expected, expected, more]
        assert all(out in ("", more) for out, _ in found[3:])
        assert sorted(stored(folder)) == [f"{block:06d}-{block:06d}.json" for block in range(20)]
        assert simtrial("audit", folder).code == 0
        assert simtrial("status", folder).code == 0
        shutil.rmtree(folder)
    print(f"\nraces: {times} of {times} rounds of 5 drivers equal, {time.monotonic() - begun:.0f} s")


def test_two_drivers_do_each_chunk_once(tmp_path: Path) -> None:
    """Each chunk's record is written once, by one of the two."""
    folder = tmp_path / "run"
    every = [
        subprocess.Popen(command(folder, 400), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    seen: dict[str, int] = {}
    changed = 0
    while any(process.poll() is None for process in every):
        for name, at in stored(folder).items():
            changed += seen.get(name, at) != at
            seen[name] = at
        time.sleep(0.01)
    assert [process.communicate()[1] is not None and process.returncode for process in every] == [0, 0]
    assert len(seen) == 20
    assert changed <= 1, "chunks were made twice"  # both may find the same one free at the very start
