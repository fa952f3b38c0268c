"""Engines: ways of mapping a function over chunks of work.

An engine is one function ``(function, tasks, workers) -> iterator of (task, result or exception)``, in any order.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from simtrial.errors import SimtrialError, unknown

Engine = Callable[[Callable[[Any], Any], Sequence[Any], int], Iterator[tuple[Any, Any]]]

ENGINES = {"serial": "simtrial.engines.serial", "processes": "simtrial.engines.processes"}
"""Engines by name; a module has one function ``run``."""


def engine(name: str) -> Engine:
    """Return an engine by name."""
    if name not in ENGINES:
        raise SimtrialError(unknown("engine", name, ENGINES))
    found: Engine = importlib.import_module(ENGINES[name]).run
    return found
