"""Methods of the user's own, kept from hurting others: what they print, draw and change, their time, their results."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import replace
from types import FrameType
from typing import Any

import numpy as np

from simtrial.arrays import Bools
from simtrial.batch import Index, ObservedBatch
from simtrial.estimators.method import Estimates, Method
from simtrial.flags import BIT

SHAPED = ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value")


class Limit:
    """A time limit, to tell those within each other apart."""


class FitTimeoutError(BaseException):
    """A fit took longer than ``limit`` lets it; no `except Exception` of a method takes it for its own."""

    def __init__(self, message: str, limit: Limit | None = None) -> None:
        super().__init__(message)
        self.limit = limit


class InvalidResultError(Exception):
    """What a method returned cannot be the estimates of these trials."""


seconds_per_fit: ContextVar[float | None] = ContextVar("seconds_per_fit", default=None)
"""Time limit of one fit, None without one."""

global_seeds: ContextVar[np.random.Generator | None] = ContextVar("global_seeds", default=None)
"""Where the seeds of the global random generators come from, trial by trial."""

trial_wanted: ContextVar[int | None] = ContextVar("trial_wanted", default=None)
"""Place of the one trial of a block that functions of the user are wanted of, None if of all."""


def is_own(method: Method) -> bool:
    """Whether a method, or the analysis inside it, is the user's own."""
    inner = getattr(method, "analysis", None)
    return not type(method).__module__.startswith("simtrial.estimators") or (
        isinstance(inner, Method) and is_own(inner)
    )


def apart(batch: ObservedBatch) -> ObservedBatch:
    """The same trials with arrays that cannot be written to, and nothing kept that others use as well."""
    index = batch.index
    for values in (index.practice_trial, index.participant_practice, *(c.values for c in batch.columns.values())):
        values.flags.writeable = False
    return ObservedBatch(Index(index.trials, index.practice_trial, index.participant_practice), dict(batch.columns))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Send what a method prints to stderr, for stdout is for results, and come back to the working directory."""
    with contextlib.redirect_stdout(sys.stderr), contextlib.chdir("."):
        yield


@contextlib.contextmanager
def limited(seconds: float | None) -> Iterator[Limit]:
    """Raise `FitTimeoutError` in what takes longer; of limits within each other the one that ends first holds.

    Only the main thread of a POSIX process can be interrupted.
    """
    own = Limit()
    if seconds is None or not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield own
        return
    left, again = signal.getitimer(signal.ITIMER_REAL)
    if 0.0 < left <= seconds:  # a limit around this one ends earlier, and stands
        yield own
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise FitTimeoutError(f"it took longer than {seconds:g} s", own)

    begun, before = time.monotonic(), signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # and again every second, should it be swallowed
    try:
        yield own
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
        if left:  # what the limit around this one has left; if it has run out, it ends at once
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - begun), 1e-6), again)


@contextlib.contextmanager
def seeded() -> Iterator[list[bool]]:
    """Seed the global random generators from `global_seeds`; the list then says whether they were drawn from.

    So that a method that uses them gives the same numbers whenever and wherever its trial is analysed.
    """
    seeds, drawn = global_seeds.get(), [False]
    if seeds is None:
        yield drawn
        return
    before = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global generators are kept in order
    seed = int(seeds.integers(2**32))
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    begun = random.getstate(), _position()
    try:
        yield drawn
    finally:
        drawn[0] = (random.getstate(), _position()) != begun
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002


def skip_seeds() -> None:
    """Pass over the seeds of a trial that is not analysed, so that those after it have the seeds of a run."""
    seeds = global_seeds.get()
    if seeds is not None:
        seeds.integers(2**32)


@contextlib.contextmanager
def unseen() -> Iterator[None]:
    """Drop what a method prints about a trial that nobody asked for."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        yield


def _position() -> tuple[Any, ...]:
    """Where the global generator of numpy stands."""
    _, key, place, has_normal, _ = np.random.get_state()  # noqa: NPY002
    return place, int(key[0]), has_normal


def checked(found: Any, trials: int) -> Estimates:
    """Estimates as every method must return them; impossible numbers fail the rows that hold them.

    Raises
    ------
    InvalidResultError
        When it is no `Estimates` at all, or arrays are of other lengths than there are terms and trials.
    """
    if not isinstance(found, Estimates):
        raise InvalidResultError(f"returned {type(found).__name__}; Estimates are expected")
    terms = len(found.terms)
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(SHAPED, (terms, trials))
    shapes |= dict.fromkeys(("failed", "flags", "n_used", "clusters_used"), (trials,))
    for name, shape in shapes.items():
        _check_shape(name, getattr(found, name), shape)
    for name, values in {**found.extras, **found.notes}.items():
        _check_shape(name, values, (trials,))
    wrong = _impossible(found)
    if not wrong.any():
        return found
    blank: dict[str, Any] = {name: np.where(wrong, np.nan, getattr(found, name)) for name in SHAPED}
    flags = found.flags | np.where(wrong, BIT["invalid_result"], 0)
    return replace(found, failed=found.failed | wrong, flags=flags, **blank)


def _check_shape(name: str, values: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(values, np.ndarray) or values.shape != shape:
        there = f"shape {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise InvalidResultError(f"{name} has {there}; an array of shape {shape} is expected")


def _impossible(found: Estimates) -> Bools:
    """Trials whose numbers no estimator can mean: infinite, negative errors, p-values outside 0 to 1 (trials,)."""
    with np.errstate(invalid="ignore"):
        wrong = np.isinf(found.estimate) | np.isinf(found.std_error) | (found.std_error < 0)
        wrong |= (found.p_value < 0) | (found.p_value > 1) | (found.df <= 0)
        if "ci_type" not in found.extras and "ci_type" not in found.notes:
            wrong |= found.ci_lower > found.ci_upper
    return np.asarray(wrong.any(axis=0) & ~found.failed)
