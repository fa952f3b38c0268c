"""What a worker of dask.distributed does: tasks of a run, in a process of their own.

So a method that ends its process costs no worker of the cluster, a task may be stopped, time limits hold (they need the
main thread), and each run begins with a fresh interpreter.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from simtrial.run.engines.processes import Died, Worker, safe_path

IDLE = 60.0
"""Seconds after which the process of a run that gives no more tasks ends."""

SIGHT = 5.0
"""Seconds in which a file written elsewhere must be there."""


@dataclass(frozen=True)
class Look:
    """What a worker is asked before it is given work: its versions, and whether it sees a file of the driver."""

    file: str = ""
    content: str = ""
    seconds: float = 0.0

    def answer(self) -> tuple[dict[str, str], bool]:
        """Versions, and whether the file is there with its content."""
        from simtrial.store.directory import versions

        end = time.monotonic() + self.seconds
        while not (seen := self._is_seen()) and time.monotonic() < end:
            time.sleep(0.1)
        return versions(), seen

    def _is_seen(self) -> bool:
        with contextlib.suppress(OSError):
            return not self.file or Path(self.file).read_text() == self.content
        return False


@dataclass(frozen=True)
class Job:
    """The work of one run: a name of its own, the function, and the working directory and variables of its driver."""

    name: str
    function: Callable[[Any], Any]
    folder: str
    environment: tuple[tuple[str, str], ...]

    def __call__(self, task: Any) -> Any:
        """Do a task, or look around."""
        with contextlib.suppress(OSError):  # not there: paths that are not absolute will be missed
            os.chdir(self.folder)
        return task.answer() if isinstance(task, Look) else self.function(task)


_at_work: dict[str, Worker] = {}
"""Processes by the name of their run, in a worker of dask."""


def do(job: Job, task: Any) -> Any:
    """Result of a task, its exception, or how its process died."""
    worker = _at_work.get(job.name)
    if worker is None or not worker.process.is_alive():
        worker = _at_work[job.name] = _started(job)
    worker.give(task)
    result = worker.result()
    if isinstance(result, Died):
        _at_work.pop(job.name, None)
    return result


def _started(job: Job) -> Worker:
    os.environ.update(job.environment)
    # Python lets no daemonic process start another, lest it be orphaned; this one ends with its parent.
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
    with safe_path():
        return Worker(job, multiprocessing.get_context("spawn"), IDLE)


def dismiss(name: str) -> None:
    """End the process of a run, whatever it is doing."""
    worker = _at_work.pop(name, None)
    if worker is not None:
        worker.process.kill()
        worker.process.join()


def _dismiss_all() -> None:
    for name in list(_at_work):
        dismiss(name)


Finalize(None, _dismiss_all, exitpriority=10)  # before Python waits for children, which wait for tasks


def dask_setup(worker: Any) -> None:
    """Leave Ctrl-C and SIGTERM to the process that starts the cluster: dask calls this where a worker begins."""
    for sent in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sent, signal.SIG_IGN)


def dask_teardown(worker: Any) -> None:
    """End all processes: dask calls this where a worker ends."""
    _dismiss_all()
