"""Chunks over the workers of a dask cluster."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simtrial.core import VARIABLE, serving
from simtrial.errors import EnvironmentFailure, WorkerDiedError, in_words
from simtrial.run import dask_worker
from simtrial.run.dask_cluster import PATIENCE, connected, installed, quiet, started, threads
from simtrial.run.dask_worker import Job, Look
from simtrial.run.engines import processes, register_engine
from simtrial.run.engines.processes import TRIES, Died

POLL = 0.3
"""Seconds between looks at which workers there are."""

GO_ON = "stored chunks are kept; run the same command to go on"


@register_engine("dask")
def run(function: Callable[[Any], Any], tasks: Iterable[Any], workers: int) -> Generator[tuple[Any, Any], None, None]:
    """Map the function over a cluster of this machine, which lives as long as the run and listens on loopback only."""
    with quiet(), started(workers) as cluster, connected(cluster) as client:
        yield from _Crew(client, function, workers, Look()).map(tasks)


@dataclass(frozen=True)
class Joined:
    """An engine on the cluster of a scheduler that runs already; it stays when the run ends.

    ``folder`` is the run directory, which all workers must see; ``most`` the largest number of them to use.
    """

    address: str
    folder: Path | None = None
    most: int | None = None

    def __call__(
        self, function: Callable[[Any], Any], tasks: Iterable[Any], workers: int
    ) -> Generator[tuple[Any, Any], None, None]:
        """Map the function over the workers of the cluster."""
        with quiet(), connected(self.address) as client, _sign(self.folder) as look:
            yield from _Crew(client, function, self.most, look).map(tasks)


class _Given:
    """A task that a worker has in hand."""

    def __init__(self, task: Any, worker: str, future: Any) -> None:
        self.task, self.worker, self.future = task, worker, future


_NO_TASK = object()


class _Crew:
    """The workers of a cluster: who is there, who has shown its versions, who has which task in hand.

    Each has one task at a time, meant for it alone: so a death is put down to the right task.
    """

    def __init__(self, client: Any, function: Callable[[Any], Any], most: int | None, look: Look) -> None:
        environment = (*threads().items(), (VARIABLE, serving()))
        self.client, self.most, self.look = client, most, look
        self.job = Job(uuid.uuid4().hex, function, os.getcwd(), environment)
        self.busy: dict[str, _Given] = {}
        self.there: dict[str, str] = {}
        self.looked: set[str] = set()
        self.deaths = Counter[Any]()
        self.sent, self.checked, self.met = 0, 0.0, time.monotonic()

    def map(self, tasks: Iterable[Any]) -> Generator[tuple[Any, Any], None, None]:
        """Give each worker its next task when it has done one; results in the order of their coming.

        A worker that dies costs the task in hand and nothing else: it is tried once more. A task of which two died is
        given up. When the run is stopped, workers have `processes.GRACE` seconds for what they have in hand.
        """
        waiting, again = iter(tasks), deque[Any]()
        try:
            while True:
                self._see_who_is_there()
                for worker in self._idle():
                    task = again.popleft() if again else next(waiting, _NO_TASK)
                    if task is _NO_TASK:
                        break
                    self._give(worker, task)
                if self.there and not self.busy:
                    return
                for given, result in self._results():
                    if not isinstance(result, Died):
                        yield given.task, result
                    elif self._may_be_tried_again(given.task):
                        again.append(given.task)
                    else:
                        yield given.task, WorkerDiedError(f"the worker process died, {TRIES} times ({result.how})")
        finally:
            self._end()

    def _may_be_tried_again(self, task: Any) -> bool:
        self.deaths[task] += 1
        return self.deaths[task] < TRIES

    def _idle(self) -> list[str]:
        """Workers that may be given work; new ones are asked for their versions first."""
        room = len(self.there) if self.most is None else self.most
        free = [w for w in self.there if w not in self.busy][: max(0, room - len(self.busy))]
        for worker in free:
            if worker not in self.looked:
                self._give(worker, self.look)
        return [worker for worker in free if worker in self.looked]

    def _give(self, worker: str, task: Any) -> None:
        self.sent += 1
        future = self.client.submit(
            dask_worker.do, self.job, task, key=f"simtrial-{self.job.name}-{self.sent}", pure=False,
            workers=[self.there[worker]], allow_other_workers=False, retries=0,
        )  # fmt: skip
        self.busy[worker] = _Given(task, worker, future)

    def _see_who_is_there(self) -> None:
        """Ask the scheduler for its workers, by their own names: an address may be used again."""
        if self.client.status != "running":
            raise self._lost("has gone")
        if self.there and time.monotonic() < self.checked + POLL:
            return
        try:
            found = self.client.sync(self.client.scheduler.identity, n_workers=-1, callback_timeout=PATIENCE)
        except (OSError, TimeoutError) as error:
            raise self._lost(f"does not answer ({type(error).__name__})") from None
        self.there = {str(worker["id"]): address for address, worker in found["workers"].items()}
        self.checked = time.monotonic()
        if self.there:
            self.met = self.checked
        elif self.checked > self.met + PATIENCE:
            raise self._lost(f"has had no worker for {PATIENCE:.0f} seconds")
        else:
            time.sleep(POLL)

    def _lost(self, what: str) -> EnvironmentFailure:
        scheduler = self.client.scheduler
        return EnvironmentFailure(f"the scheduler at {scheduler.address if scheduler else '?'} {what}; {GO_ON}")

    def _results(self) -> Iterator[tuple[_Given, Any]]:
        """Results that have come within `POLL` seconds, and the tasks of workers that have gone."""
        self._wait(POLL)
        for given in list(self.busy.values()):
            if given.future.status in ("cancelled", "lost"):
                raise self._lost("has lost its tasks")
            result = Died("it has gone") if given.worker not in self.there else self._result(given)
            if result is _NO_TASK:
                continue
            del self.busy[given.worker]
            self.client.cancel([given.future], force=True)
            if given.task is not self.look:
                yield given, result
            elif given.worker in self.there:
                self._judge(given.worker, result)

    def _wait(self, seconds: float) -> None:
        """Wait until a worker has done its task."""
        futures = [given.future for given in self.busy.values()]
        distributed = installed()
        with self.client.as_current(), contextlib.suppress(TimeoutError, distributed.CancelledError):
            if futures:
                distributed.wait(futures, timeout=seconds, return_when="FIRST_COMPLETED")

    def _result(self, given: _Given) -> Any:
        try:
            if given.future.status == "error":
                return given.future.exception(timeout=PATIENCE)
            if given.future.status == "finished":
                with contextlib.suppress(TimeoutError):  # the worker died before it could hand it over
                    return given.future.result(timeout=POLL)
        except OSError as error:  # what a task raises is returned: this is the connection
            raise self._lost(f"does not answer ({type(error).__name__})") from None
        return _NO_TASK

    def _judge(self, worker: str, found: Any) -> None:
        """Take on a worker that has this process's versions and sees the run directory."""
        from simtrial.store.directory import versions

        name, own = f"the worker at {self.there[worker]}", versions()
        if isinstance(found, Died):
            if not self._may_be_tried_again(worker):
                raise EnvironmentFailure(f"{name}: its process ended before it was given work ({found.how})")
            return
        if isinstance(found, BaseException):
            raise EnvironmentFailure(f"{name} cannot work: {in_words(found)}")
        theirs, sees = found
        different = [key for key in own if theirs.get(key) != own[key]]
        if different:
            lists = [", ".join(f"{key} {what.get(key, 'none')}" for key in different) for what in (theirs, own)]
            raise EnvironmentFailure(f"{name} has {lists[0]}, and this process {lists[1]}; they must be equal")
        if not sees:
            folder = Path(self.look.file).parent
            raise EnvironmentFailure(f"{name} does not see {folder}; a run directory must be on a disk that all share")
        self.looked.add(worker)

    def _end(self) -> None:
        """Let workers do what they have in hand as long as there is time, and end their processes."""
        end = time.monotonic() + processes.GRACE
        try:
            while self.client.status == "running" and time.monotonic() < end:
                self._see_who_is_there()
                left = [g for g in self.busy.values() if g.worker in self.there and g.task is not self.look]
                if not any(given.future.status == "pending" for given in left):
                    break
                self.busy = {given.worker: given for given in left if given.future.status == "pending"}
                self._wait(POLL)
        except EnvironmentFailure:
            pass  # reported where work was given
        finally:  # out of time, or interrupted once more
            if self.client.status == "running":
                with contextlib.suppress(Exception):
                    self.client.sync(
                        self.client._run, dask_worker.dismiss, self.job.name, workers=list(self.there.values()),
                        on_error="ignore", callback_timeout=3,
                    )  # fmt: skip


@contextlib.contextmanager
def _sign(folder: Path | None) -> Iterator[Look]:
    """A file in the run directory by which workers show that they see it; what is left of one is swept as any other."""
    if folder is None:
        yield Look()
        return
    from simtrial.files.whole import host, write_bytes

    file, content = folder / f".dask.{host()}-{os.getpid()}.part", uuid.uuid4().hex
    write_bytes(file, content.encode())
    try:
        yield Look(str(file), content, dask_worker.SIGHT)
    finally:
        with contextlib.suppress(OSError):
            file.unlink()
