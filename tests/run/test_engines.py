"""The contract of an engine, tried on every one: exceptions are results, and faults stay alone.

That rows are the same is tried in test_run_invariance.py.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from dask_cluster import MISSING
from runs import quick
from tomls import SMALL, written

from simtrial.run.engines import Engine, engine, engine_names

pytestmark = pytest.mark.usefixtures("quick")
__all__ = ["quick"]
PROGRAM = Path(__file__).parents[2] / "cli.py"
CLUSTER = [pytest.mark.verify, pytest.mark.slow]
"""Clusters take seconds to start."""

EVERY = [pytest.param(name, marks=CLUSTER) if name == "dask" else name for name in engine_names()]
SPREAD = ["processes", pytest.param("dask", marks=CLUSTER)]
NOISY = """
from simtrial import plain_method

@plain_method("noisy")
def noisy(frame):
    print("noise on stdout")
    return {"estimate": float(frame["arm"].mean()), "std_error": 1.0}
"""


def doubled(number: int) -> int:
    """Twice a number; 3 raises."""
    if number == 3:
        raise ValueError("three")
    return 2 * number


def doubled_or_killed(number: int) -> int:
    """Twice a number; 5 kills its process, and 7 does so the first time."""
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    first = Path(os.environ["SIMTRIAL_TEST_FOLDER"]) / "seven"
    if number == 7 and not first.exists():
        first.write_text("tried")
        os._exit(3)
    return 2 * number


def needs(name: str) -> None:
    if name == "dask":
        pytest.importorskip("distributed", reason=MISSING)


@pytest.mark.parametrize("name", EVERY)
def test_an_exception_is_a_result(name: str, called: Callable[..., Engine]) -> None:
    found = dict(called(name)(doubled, range(6), 2))
    assert isinstance(found[3], ValueError)
    assert {k: v for k, v in found.items() if k != 3} == {0: 0, 1: 2, 2: 4, 4: 8, 5: 10}


@pytest.mark.parametrize("name", EVERY)
def test_tasks_are_taken_when_a_worker_is_free_and_not_before(name: str, called: Callable[..., Engine]) -> None:
    taken = []

    def tasks():
        for number in (0, 1, 2, 4, 6, 8, 9, 10):
            taken.append(number)
            yield number

    results = called(name)(doubled, tasks(), 2)
    next(results)
    assert len(taken) <= 3
    results.close()
    assert len(taken) <= 3


@pytest.mark.parametrize("name", EVERY)
def test_no_process_is_left(name: str) -> None:
    needs(name)
    if name != "dask":  # a cluster of its own takes seconds: one is enough
        list(engine(name)(doubled, range(4), 2))
    results = engine(name)(doubled, range(100), 2)
    next(results)
    results.close()
    assert not [p for p in multiprocessing.active_children() if p.is_alive()]
    assert threading.active_count() <= 3


@pytest.mark.parametrize("name", EVERY)
def test_a_method_that_prints_leaves_stdout_to_the_table(name: str, tmp_path: Path) -> None:
    needs(name)
    (tmp_path / "noisy.py").write_text(NOISY)
    text = SMALL.replace("[run]\n", '[[methods]]\nname = "noise"\nkind = "noisy"\n\n[run]\n')
    command = [
        sys.executable,
        str(PROGRAM),
        "run",
        written(tmp_path, text),
        "-o",
        str(tmp_path / "run"),
        "--engine",
        name,
        "--workers",
        "1",
    ]
    command += ["--plugin", str(tmp_path / "noisy.py"), "--replicates", "100", "--chunk", "20", "--format", "csv"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("cell,")
    assert "noise on stdout" not in done.stdout
    assert "noise on stdout" in done.stderr


@pytest.mark.parametrize("name", SPREAD)
def test_a_worker_that_dies_costs_its_task_in_hand(name: str, called: Callable[..., Engine], tmp_path: Path) -> None:
    """One of 40 tasks kills every worker that takes it, and another the first one; nothing else is lost."""
    found = dict(called(name, 3)(_with_folder(str(tmp_path)), range(40), 3))
    assert "the worker process died, 2 times (signal 9)" in str(found.pop(5))
    assert found == {number: 2 * number for number in range(40) if number != 5}


class _with_folder:
    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, number: int) -> int:
        os.environ["SIMTRIAL_TEST_FOLDER"] = self.folder
        return doubled_or_killed(number)


def sleeping(number: int) -> int:
    """Longer than anybody waits."""
    time.sleep(600 if number else 0)
    return number


@pytest.mark.parametrize("name", SPREAD)
def test_a_worker_that_hangs_is_killed_after_the_grace_period(
    name: str, called: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simtrial.run.engines.processes.GRACE", 0.5)
    results = called(name)(sleeping, range(5), 2)
    assert next(results) == (0, 0)
    begun = time.monotonic()
    results.close()
    assert time.monotonic() - begun < 5
    assert not [p for p in multiprocessing.active_children() if p.is_alive()]


@pytest.mark.parametrize("name", SPREAD)
def test_workers_end_with_the_process_that_started_them(name: str, tmp_path: Path) -> None:
    needs(name)
    script = f"""
import sys, time
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[2]), *sys.path]!r}
from test_engines import reporting
from simtrial.run.engines import engine
if __name__ == "__main__":
    for _ in engine({name!r})(reporting({str(tmp_path)!r}), range(9), 2):
        pass
"""
    (tmp_path / "driver.py").write_text(script)
    process = subprocess.Popen([sys.executable, str(tmp_path / "driver.py")])
    end = time.monotonic() + 60
    while len(list(tmp_path.glob("pid-*"))) < 2 and time.monotonic() < end:
        assert process.poll() is None
        time.sleep(0.05)
    workers = [int(f.name.removeprefix("pid-")) for f in tmp_path.glob("pid-*")]
    assert len(workers) == 2
    process.kill()
    process.wait()
    end = time.monotonic() + 5
    while any(_alive(w) for w in workers) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(_alive(w) for w in workers)


class reporting:
    """Leave the number of the process in a folder, and sleep."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def __call__(self, number: int) -> int:
        (self.folder / f"pid-{os.getpid()}").write_text("")
        time.sleep(600)
        return number


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("name", SPREAD)
def test_modules_in_the_working_directory_are_not_imported(name: str, tmp_path: Path) -> None:
    """A folder called simtrial and a csv.py beside the user."""
    needs(name)
    (tmp_path / "simtrial").mkdir()
    for file in ("simtrial/__init__.py", "csv.py", "json.py", "polars.py", "distributed.py", "socket.py"):
        (tmp_path / file).write_text("raise RuntimeError('imported from the working directory')\n")
    command = [
        sys.executable,
        str(PROGRAM),
        "run",
        written(tmp_path, SMALL),
        "-o",
        str(tmp_path / "run"),
        "--workers",
        "2",
    ]
    command += ["--replicates", "40", "--engine", name]
    path = {"PYTHONPATH": str(PROGRAM.parent)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ | path)
    assert done.returncode == 0, done.stderr
    assert "RuntimeError" not in done.stderr
