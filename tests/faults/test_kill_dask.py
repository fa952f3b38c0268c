"""Parts of a cluster of dask killed without warning: the same table, or an error in good time."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import PROGRAM, simtrial
from dask_cluster import MISSING, Cluster, cluster
from killing import below, children, running, stored
from tomls import SMALL, written

pytest.importorskip("distributed", reason=MISSING)
MANY = [pytest.mark.verify, pytest.mark.slow]
TIMES = pytest.mark.parametrize("times", [pytest.param(2, marks=MANY)], ids=["often"])
LIMIT = 30.0
"""Seconds within which a run that cannot go on must end."""


def command(folder: Path, *how: str) -> list[str]:
    """A run of 400 replicates, 20 to a chunk."""
    file = written(folder.parent, SMALL, f"{folder.name}.toml")
    base = [sys.executable, str(PROGRAM), "run", file, "-o", str(folder), "--replicates", "400", "--chunk", "20"]
    return [*base, "--format", "csv", *how]


def table(folder: Path, *how: str) -> str:
    return subprocess.run(command(folder, *how), capture_output=True, text=True, check=True).stdout


def begun(folder: Path, *how: str, chunks: int) -> subprocess.Popen:
    """A run that has stored so many chunks."""
    process = subprocess.Popen(command(folder, *how), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while len(stored(folder)) < chunks and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    return process


def ended(process: subprocess.Popen, killed: float) -> tuple[str, str, float]:
    """Table and messages of a run, and seconds since something was killed."""
    out, told = process.communicate(timeout=300)
    assert "Traceback" not in told
    assert "distributed" not in told
    return out, told, time.monotonic() - killed


def none_is_left(every: list[tuple[int, str]]) -> None:
    """That processes have ended, or do so within five seconds."""
    end = time.monotonic() + 5
    while any(running(n) for n, _ in every) and time.monotonic() < end:
        time.sleep(0.02)
    assert not [name for n, name in every if running(n)]


def completed(folder: Path, expected: str, before: dict[str, int]) -> None:
    """The same command does what is left, and nothing twice."""
    assert table(folder, "--engine", "processes", "--workers", "2") == expected
    after = stored(folder)
    assert {name: after[name] for name in before} == before, "a stored chunk was made again"
    assert not [f for f in folder.rglob("*") if f.name.endswith(".part")]
    assert simtrial("audit", folder).code == 0


@TIMES
@pytest.mark.parametrize("victim", ["driver", "worker", "task"])
def test_a_cluster_of_its_own(victim: str, times: int, tmp_path: Path) -> None:
    """Of the workers that the driver has started, or of the processes in which they do their tasks."""
    how, rng = ("--engine", "dask", "--workers", "2"), random.Random(victim)
    expected, took = table(tmp_path / "whole"), []
    for number in range(times):
        folder = tmp_path / f"run{number}"
        process = begun(folder, *how, chunks=rng.randrange(1, 14))
        every, own = below(process.pid), children(process.pid)
        chosen = {
            "driver": [process.pid],
            "worker": [n for n, name in every if n in own and "resource_tracker" not in name],
            "task": [n for n, name in every if n not in own and "resource_tracker" not in name],
        }[victim]
        os.kill(rng.choice(chosen), signal.SIGKILL)
        out, told, seconds = ended(process, time.monotonic())
        took.append(seconds)
        none_is_left(every)
        if victim != "driver":
            assert process.returncode == 0, told
            assert out == expected
        completed(folder, expected, stored(folder))
    print(f"\ndask, {victim} killed: {times} of {times} as expected, ended after {max(took):.1f} s at most")


@TIMES
@pytest.mark.parametrize("victim", ["nanny", "worker", "task", "scheduler", "all workers"])
def test_a_cluster_that_is_joined(victim: str, times: int, tmp_path: Path) -> None:
    """The cluster of others stays, and the run ends with the same table, or exit 5 within half a minute."""
    expected, took, rng = table(tmp_path / "whole"), [], random.Random(victim)
    for number in range(times):
        folder, place = tmp_path / f"run{number}", tmp_path / f"cluster{number}"
        place.mkdir()
        with cluster(place, 2) as found:
            process = begun(folder, "--scheduler-file", str(found.file), chunks=rng.randrange(1, 14))
            kill(found, victim, rng)
            out, told, seconds = ended(process, time.monotonic())
            took.append(seconds)
            if victim in ("scheduler", "all workers") and process.returncode:
                assert process.returncode == 5, told
                assert seconds < LIMIT
                assert told.strip().splitlines()[-1].startswith("error: the scheduler at tcp://127.0.0.1:")
            else:
                assert process.returncode == 0, told
                assert out == expected
        completed(folder, expected, stored(folder))
    print(f"\ndask, {victim} killed: {times} of {times} as expected, ended after {max(took):.1f} s at most")


def kill(found: Cluster, victim: str, rng: random.Random) -> None:
    """Kill one of the processes of a cluster."""
    nannies = [name for name in found.processes if name != "scheduler"]
    if victim in ("nanny", "scheduler"):
        found.kill("scheduler" if victim == "scheduler" else rng.choice(nannies))
    elif victim == "all workers":
        for name in nannies:
            found.kill(name)
    else:
        nanny = found.processes[rng.choice(nannies)].pid
        every = [n for n, name in below(nanny) if "resource_tracker" not in name]
        own = children(nanny)
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice([n for n in every if (n in own) == (victim == "worker")]), signal.SIGKILL)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=MANY)])
def test_stopped_in_an_orderly_way(sent: int, code: int, tmp_path: Path) -> None:
    """Ctrl-C or a batch system, which reach every process of the group: one line, nothing left running."""
    folder = tmp_path / "run"
    request = command(folder, "--engine", "dask", "--workers", "2")
    process = subprocess.Popen(
        request, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    end = time.monotonic() + 60
    while not stored(folder) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    every = below(process.pid)
    os.killpg(process.pid, sent)
    out, told, _ = ended(process, time.monotonic())
    assert (process.returncode, out) == (code, "")
    assert told.strip().splitlines()[-1].endswith("finished chunks are kept; run the same command to go on")
    none_is_left(every)
    assert not list((folder / "claims").glob("*"))
