"""One chunk after the other, in this process."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any

from simtrial.run.engines import register_engine


@register_engine("serial")
def run(function: Callable[[Any], Any], tasks: Iterable[Any], workers: int) -> Generator[tuple[Any, Any], None, None]:
    """Map the function; an exception is a result."""
    for task in tasks:
        try:
            yield task, function(task)
        except Exception as error:
            yield task, error
