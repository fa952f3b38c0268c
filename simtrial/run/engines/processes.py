"""Chunks over processes of this machine."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from simtrial.run.engines import register_engine


@register_engine("processes")
def run(function: Callable[[Any], Any], tasks: Sequence[Any], workers: int) -> Iterator[tuple[Any, Any]]:
    """Map the function over worker processes.

    A worker that dies breaks the pool: what was unfinished is then tried once more, each chunk in a pool of its own, so
    that only the chunk that kills its worker is given up.
    """
    unfinished: list[Any] = []
    yield from _pool(function, tasks, workers, unfinished)
    for task in unfinished:
        again: list[Any] = []
        yield from _pool(function, [task], 1, again)
        if again:
            yield task, RuntimeError("the worker process died")


def _pool(
    function: Callable[[Any], Any], tasks: Sequence[Any], workers: int, unfinished: list[Any]
) -> Iterator[tuple[Any, Any]]:
    pool = ProcessPoolExecutor(workers, mp_context=_context(), initializer=_quiet)
    futures: dict[Future[Any], Any] = {}
    try:
        futures = {pool.submit(function, task): task for task in tasks}
        for future in as_completed(futures):
            error = future.exception()
            if isinstance(error, BrokenProcessPool):
                unfinished.append(futures[future])
            else:
                yield futures[future], error if error is not None else future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def start() -> None:
    """Start the server that forks workers, so that it imports while this process still reads the scenario."""
    if _context().get_start_method() == "forkserver":
        from multiprocessing import forkserver

        forkserver.ensure_running()


def _context() -> Any:
    """A fork server started before any thread; on platforms without one, new interpreters."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["simtrial.run.loop"])
    return context


def _quiet() -> None:
    """Leave Ctrl-C to the parent, which stops handing out chunks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
