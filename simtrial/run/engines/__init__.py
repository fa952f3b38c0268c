"""Engines: ways of mapping a function over chunks of work.

An engine is one function ``(function, tasks, workers) -> generator of (task, result or exception)``, in any order. It
takes the next task when a worker is free, and not before, and ends its workers when it is closed. The file X.py holds
the engine X.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

from simtrial.registry import Registry

Engine = Callable[[Callable[[Any], Any], Iterable[Any], int], Generator[tuple[Any, Any], None, None]]
E = TypeVar("E", bound=Engine)
ENGINES: Registry[Engine] = Registry("engine", __name__)


def register_engine(name: str) -> Callable[[E], E]:
    """Enter an engine under the name that ``--engine`` takes; a name that is taken is an error."""

    def enter(run: E) -> E:
        ENGINES.enter(name, run)
        return run

    return enter


def engine(name: str | Engine) -> Engine:
    """Return an engine by name, or suggest the closest name; one that is made already is returned as it is."""
    return ENGINES.get(name) if isinstance(name, str) else name


def engine_names() -> list[str]:
    """Names of the engines, from their files: a command line that offers them need not import them."""
    return [file.name for file in pkgutil.iter_modules(__path__)]
