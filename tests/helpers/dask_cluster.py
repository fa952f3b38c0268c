"""A cluster of dask.distributed on loopback, its scheduler and workers started one by one."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

MISSING = "no dask here: pip install '.[dask]'"


def search_path() -> dict[str, str]:
    """Variables by which a process imports what this one can; folders of tests join the path as they are collected."""
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(folder for folder in sys.path if folder)}


class Cluster:
    """Processes of a cluster, by what they are; ended with it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "scheduler.json"
        self.processes: dict[str, subprocess.Popen] = {}

    @property
    def address(self) -> str:
        return json.loads(self.file.read_text())["address"]

    def start(self, workers: int, *more: str, variables: dict[str, str] | None = None, cwd: Path | None = None) -> None:
        """Start the scheduler, if need be, and workers."""
        if "scheduler" not in self.processes:
            self._start("scheduler", "dask_scheduler", "--port", "0", "--no-dashboard", "--no-show")
        end = time.monotonic() + 30
        while not self.file.exists() and time.monotonic() < end:
            time.sleep(0.02)
        for _ in range(workers):
            options = ("--nthreads", "1", "--no-dashboard", "--local-directory", str(self.folder), *more)
            name = f"worker{len(self.processes)}"
            self._start(name, "dask_worker", *options, variables=variables, cwd=cwd)

    def _start(
        self, name: str, module: str, *options: str, variables: dict[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        command = [sys.executable, "-m", f"distributed.cli.{module}", "--scheduler-file", str(self.file)]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [*command, "--host", "127.0.0.1", *options], cwd=cwd or self.folder,
                env=os.environ | search_path() | (variables or {}), stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip

    def kill(self, name: str) -> None:
        """End one of the processes without warning."""
        self.processes[name].kill()
        self.processes[name].wait()

    def end(self) -> None:
        """End everything; what a process has started follows it."""
        for name in self.processes:
            self.kill(name)


@contextlib.contextmanager
def cluster(folder: Path, workers: int, *more: str) -> Iterator[Cluster]:
    """A cluster of so many workers."""
    found = Cluster(folder)
    try:
        found.start(workers, *more)
        yield found
    finally:
        found.end()
