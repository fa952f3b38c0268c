"""What was built of the parts of a file, kept for the cells of a sweep, which share most of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel

from simtrial.scenario.methods import validated
from simtrial.scenario.problems import Path, Problem


class Memory:
    """Results by the very object they were made from, which is kept, so that no other can take its place."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], tuple[Any, Any]] = {}

    def get(self, source: Any, about: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """Result for a source and what else it depends on, made where it is not known."""
        key = (id(source), *about)
        if key not in self._known:
            self._known[key] = source, make()
        return self._known[key][1]


def remembered(memory: Memory | None, model: type[BaseModel], data: Any, path: Path) -> tuple[Any, list[Problem]]:
    """`validated`, once for each table of a file."""
    if memory is None:
        return validated(model, data, path)
    found: tuple[Any, list[Problem]] = memory.get(data, (model, path), lambda: validated(model, data, path))
    return found
