"""Figures of a simulation study: the file X.py draws the figure X, from a frame of what it shows."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from typing import TYPE_CHECKING

from simtrial.errors import SimtrialError, extra, unknown

if TYPE_CHECKING:
    from simtrial.figures.parts.kind import Kind

ORDER = (
    "flow",
    "trials",
    "swarm",
    "se-estimate",
    "paired",
    "zip",
    "heatmap",
    "lollipop",
    "nested-loop",
    "power",
    "cost",
)
"""The order in which methodologists want them: trials, estimates, intervals, then measures."""

INSTALL = f"figures need matplotlib and jinja2: {extra('report')}, or make setup there"


def kind_names() -> list[str]:
    """Names of the figures, from their files: a command line that offers them need not import them."""
    files = {file.name.replace("_", "-") for file in pkgutil.iter_modules(__path__) if not file.ispkg}
    return sorted(files, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def kind_named(name: str) -> Kind:
    """A figure by its name, or a message with the closest one; or how to install what draws it."""
    if name not in kind_names():
        raise SimtrialError(unknown("figure", name, kind_names()))
    installed()
    import importlib

    found: Kind = importlib.import_module(f"{__name__}.{name.replace('-', '_')}").KIND
    return found


def installed(importing: Callable[[str], object] = __import__) -> None:
    """Refuse to go on without the packages that draw."""
    try:
        importing("matplotlib")
        importing("jinja2")
    except ImportError:
        raise SimtrialError(INSTALL) from None
