"""Clusters of dask.distributed: one on this machine for the time of a run, or one whose scheduler runs already."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import multiprocessing
import os
import signal
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from simtrial.errors import EnvironmentFailure, SimtrialError, extra, in_words
from simtrial.run import dask_worker

PATIENCE = 20.0
"""Seconds without an answer of the scheduler, or without any worker, after which a run ends."""

CONTACT = 6.0
"""Seconds within which a scheduler must have answered for the first time; it may still be starting."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
"""Variables for the threads of a process: workers take those of the driver, or one."""

LOGGERS = ("distributed", "tornado", "asyncio")
"""Packages whose messages are kept from the user."""


def installed() -> Any:
    """Return dask.distributed, or refuse to go on without it."""
    try:
        import distributed
    except ModuleNotFoundError as error:
        needed = f"--engine dask needs module '{error.name}': {extra('dask')}"
        raise SimtrialError(needed) from None
    return distributed


def threads() -> dict[str, str]:
    """Variables for the threads of a process, as they are here, or one."""
    return {name: os.environ.get(name, "1") for name in THREADS}


def address_in(file: Path) -> str:
    """Address of a scheduler in the file that it wrote."""
    try:
        address = str(json.loads(file.read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError):
        raise SimtrialError(f"{file}: not the file of a dask scheduler (no address in it)") from None
    return checked_address(address, f"{file}: {address}")


def checked_address(address: str, shown: str) -> str:
    """Return the address of a scheduler, or refuse what cannot be one; ``shown`` begins the message."""
    installed()  # brings the kinds of connection that there are
    from distributed.comm.addressing import get_address_host_port, parse_address
    from distributed.comm.registry import backends

    known = sorted(set(backends) - {"inproc"})  # which is about schedulers inside a process
    try:
        scheme, _ = parse_address(address)
        if scheme not in known:
            raise ValueError(f"'{scheme}' is not among {', '.join(known)}")
        host, port = get_address_host_port(address)
        if not host or not 1 <= port < 2**16:
            raise ValueError("a host and a port from 1 to 65535 are wanted")
    except ValueError as error:
        raise SimtrialError(f"{shown}: no address of a scheduler such as tcp://host:8786 ({error})") from None
    return address


@contextlib.contextmanager
def connected(cluster: Any) -> Iterator[Any]:
    """A connection to a cluster, or to the scheduler at an address."""
    kind = installed().Client
    client = kind.__new__(kind)
    try:
        client.__init__(cluster, set_as_default=False, timeout=CONTACT)
    except Exception as error:  # of many kinds, where something else than a scheduler answers
        with contextlib.suppress(Exception):  # its loop may never have run
            client.close(timeout=1)
        client.status = "closed"  # or it would be closed again when it is collected, with dask's patience
        raise EnvironmentFailure(f"no scheduler answers at {cluster} ({in_words(_root(error))})") from None
    try:
        yield client
    finally:
        with contextlib.suppress(Exception):  # it may be gone
            client.close(timeout=3)


def _root(error: BaseException) -> BaseException:
    """What an exception comes from: dask tells the time that it waited, its cause what was wrong.

    A cause without words is passed over: an attempt may be cut short, and then the time is all there is to tell.
    """
    cause = error.__cause__
    if cause is None:
        return error
    root = _root(cause)
    return root if str(root) else error


@contextlib.contextmanager
def started(workers: int) -> Iterator[Any]:
    """Workers on this machine, one process and thread each, that listen on loopback only; ended in any case."""
    before = set(multiprocessing.active_children())
    variables = {**threads(), "PYTHONSAFEPATH": "1"}
    with _environment(variables), tempfile.TemporaryDirectory(prefix="simtrial-", ignore_cleanup_errors=True) as folder:
        try:
            cluster = _local_cluster(workers, folder, variables)
            try:
                yield cluster
            finally:
                with contextlib.suppress(Exception):  # what does not end is killed
                    cluster.close(timeout=5)
        finally:
            for process in set(multiprocessing.active_children()) - before:
                process.kill()
                process.join()


def _local_cluster(workers: int, folder: str, variables: Mapping[str, str]) -> Any:
    distributed = installed()  # brings dask's settings, which must be there before one is changed
    import dask

    try:
        settings = {"distributed.nanny.pre-spawn-environ": dict(variables), "temporary-directory": folder}
        with dask.config.set(settings), _deaf_to_interrupts():
            return distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1", scheduler_port=0,
                dashboard_address=None, worker_dashboard_address=None, silence_logs=logging.CRITICAL,
                local_directory=folder, memory_limit=0, preload=[dask_worker.__name__],
            )  # fmt: skip
    except (RuntimeError, OSError, TimeoutError) as error:
        raise EnvironmentFailure(f"dask starts no workers here ({in_words(error.__cause__ or error)})") from error


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Block Ctrl-C in threads and processes that begin here: workers that still import leave it to their driver."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it would end the blocking below
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for processes that are started here; set back these, and others that dask sets."""
    held = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in os.environ.keys() - held.keys():
            del os.environ[name]
        os.environ.update(held)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep from the user what dask says about workers that come and go; what matters is an error.

    For good after a failure, since dask then reports what it has left undone when Python ends.
    """
    installed()  # enters its loggers
    names = [name for name in (*logging.root.manager.loggerDict, *LOGGERS) if name.split(".")[0] in LOGGERS]
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
        gc.collect()
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
