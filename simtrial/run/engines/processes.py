"""Chunks over processes of this machine."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from simtrial.errors import WorkerDiedError, in_words
from simtrial.run.engines import register_engine
from simtrial.run.kept_memory import keep_freed_memory

GRACE = 20.0
"""Seconds that workers have for the chunks in hand when a run is stopped; batch systems kill after 30."""

TRIES = 2
"""Workers that may die of a task before it is given up."""


@register_engine("processes")
def run(function: Callable[[Any], Any], tasks: Iterable[Any], workers: int) -> Generator[tuple[Any, Any], None, None]:
    """Map the function over worker processes, each given its next task when it has done one.

    A worker that dies costs the task in hand and nothing else: its place is filled and the task tried once more. A task
    of which two workers died is given up. When the run is stopped, workers have `GRACE` seconds for what they have in
    hand, and are then killed, as they are at once when this process ends.
    """
    waiting, deaths = iter(tasks), Counter[Any]()
    again: deque[Any] = deque()
    busy: dict[Worker, Any] = {}
    idle: list[Worker] = []

    def next_task() -> Any:
        return again.popleft() if again else next(waiting, _NO_TASK)

    try:
        while True:
            while len(busy) < workers and (task := next_task()) is not _NO_TASK:
                worker = idle.pop() if idle else Worker(function)
                busy[worker] = task
                worker.give(task)
            if not busy:
                return
            for worker in _ready(busy):
                task = busy.pop(worker)
                result = worker.result()
                if not isinstance(result, Died):
                    idle.append(worker)
                    yield task, result
                    continue
                deaths[task] += 1
                if deaths[task] < TRIES:
                    again.append(task)
                else:
                    yield task, WorkerDiedError(f"the worker process died, {TRIES} times ({result.how})")
    finally:
        _end(busy, idle)


class Died:
    """In place of a result: how a worker ended."""

    def __init__(self, how: str) -> None:
        self.how = how


_NO_TASK = object()


class Worker:
    """A process and the connection over which it is given tasks and returns results.

    Without a task for ``patience`` seconds it ends by itself.
    """

    def __init__(self, function: Callable[[Any], Any], context: Any = None, patience: float | None = None) -> None:
        context = context or _context()
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(function, theirs, patience), daemon=True)
        with _without_main():
            self.process.start()
        theirs.close()

    def give(self, task: Any) -> None:
        """Send a task; that the process has died is noticed when its result is fetched."""
        with contextlib.suppress(OSError):
            self.connection.send(task)

    def result(self) -> Any:
        """Result or exception of its task, or how the process died."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join(GRACE)
            code = self.process.exitcode
            self.connection.close()
            return Died(f"signal {-code}" if code is not None and code < 0 else f"exit code {code}")

    def end(self, patience: float) -> None:
        """Let an idle process end, and kill one that does not."""
        with contextlib.suppress(OSError):
            self.connection.send(None)
        self.process.join(patience)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()


def _ready(busy: Iterable[Worker]) -> list[Worker]:
    """Wait for workers with a result, or dead ones, whose connection is closed."""
    found = wait([worker.connection for worker in busy])
    return [worker for worker in busy if worker.connection in found]


def _end(busy: Iterable[Worker], idle: Iterable[Worker]) -> None:
    """End all workers: the idle ones now, the others when they have done what they have in hand, or are out of time."""
    end = time.monotonic() + GRACE
    for worker in idle:
        worker.end(1.0)
    left = list(busy)
    try:
        while left and (patience := end - time.monotonic()) > 0:
            done = wait([worker.connection for worker in left], patience)
            for worker in [w for w in left if w.connection in done]:
                left.remove(worker)
                worker.end(1.0)
    finally:  # out of time, or interrupted once more
        for worker in left:
            worker.end(0.0)


def _work(function: Callable[[Any], Any], connection: Connection, patience: float | None) -> None:
    """Do tasks until there is none, in a worker process."""
    for sent in (signal.SIGINT, signal.SIGTERM):  # left to the parent, which stops handing out tasks
        signal.signal(sent, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()
    keep_freed_memory()
    with contextlib.suppress(EOFError, OSError):
        while connection.poll(patience) and (task := connection.recv()) is not None:
            try:
                result = function(task)
            except Exception as error:
                result = error
            try:
                connection.send(result)
            except (TypeError, AttributeError, ValueError):  # an exception that cannot be sent
                connection.send(RuntimeError(in_words(result)))


def _follow_parent() -> None:
    """End this process when the one that started it does, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def start() -> None:
    """Start the server that forks workers, so that it imports while this process still reads the scenario."""
    if _context().get_start_method() == "forkserver":
        from multiprocessing import forkserver, resource_tracker

        with safe_path():
            resource_tracker.ensure_running()  # it would end the blocking below
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the server is not to die importing
            try:
                forkserver.ensure_running()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@contextlib.contextmanager
def safe_path() -> Iterator[None]:
    """Start interpreters that import nothing from the working directory: a csv.py there is not ours to import."""
    held = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if held is None:
            del os.environ["PYTHONSAFEPATH"]


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Start workers that do not run the program that started them once more: a script of the user, a notebook.

    What they are given is imported by its own name; a script without ``if __name__ == "__main__"`` would run again.
    """
    held = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = held


def _context() -> Any:
    """A fork server started before any thread; on platforms without one, new interpreters."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["simtrial.run.tasks"])
    return context
