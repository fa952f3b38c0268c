"""Figures and the page of a result, where the packages that draw are installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from simtrial.errors import SimtrialError, extra, unknown

FEW = 24
"""Panels drawn where no cell is named."""


class Figures:
    """Figures of a result (`simtrial.result.Result`), one method for each kind; `dir` lists them.

    Each takes the methods to draw (default: all), and as options ``cells`` (``"icc=0.05"``), ``measures``, ``factor``,
    ``replicate`` and ``column`` (single, double: the width of a journal's), where it knows them; it returns a figure of
    matplotlib.
    """

    def __init__(self, result: Any) -> None:
        self._result = result

    def __dir__(self) -> list[str]:
        return sorted(_kinds())

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        if kind.startswith("_"):
            raise AttributeError(kind)
        if kind not in _kinds():
            raise AttributeError(unknown("figure", kind, _kinds()))
        return partial(_drawn, self._result, kind.replace("_", "-"))


def _kinds() -> list[str]:
    """Kinds of figures there are, as names of Python, without drawing any."""
    return [name.replace("-", "_") for name in _module("simtrial.figures").kind_names()]


def _drawn(
    result: Any, name: str, *methods: str, cells: str | Sequence[str] = (), measures: str | Sequence[str] = (),
    factor: str | None = None, replicate: int = 1, column: str = "double",
) -> Any:  # fmt: skip
    """One figure, as ``simtrial plot`` draws it."""
    kind = _module("simtrial.figures").kind_named(name)
    parts = {part: _module(f"simtrial.figures.parts.{part}") for part in ("choice", "compose", "look", "material")}
    asked = parts["choice"].Choice(
        methods=methods, cells=_listed(cells), measures=_listed(measures), factor=factor, replicate=replicate
    )
    material = _material(result, parts["material"], kind, asked)
    frame = kind.prepare(material, asked)
    if not cells:
        frame = parts["compose"].fitting(kind, frame, FEW)[0]
    look = parts["look"].Look(material.methods, material.labels)
    return parts["compose"].figure(kind, frame, look, column)


def _material(result: Any, module: Any, kind: Any, asked: Any) -> Any:
    """What a figure needs of a run, or of a file of results."""
    if result.imported is not None:
        return module.of_file(*result.imported)
    wanted = set(module.cells_named(asked.cells, result.run["cells"]))
    rows = kind.needs == "rows"

    def needed(cell: str, at: int) -> bool:
        return rows and (cell in wanted if asked.cells else at < FEW)

    measured = kind.needs == "performance"
    return module.of_run(result.folder, result.partial, needed, measured=measured, request=result.request)


def write_report(
    folder: Path | None, path: Path, partial: bool = False, request: Mapping[str, Any] | None = None
) -> Path:
    """Write the page of a run directory, or of the part of it that a request is for."""
    if folder is None:
        raise SimtrialError("results of another program have no report; open a run directory")
    _module("simtrial.report.page.page").write_page(folder, path, partial, request)
    return path


def _listed(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _module(name: str) -> Any:
    """Import what draws, or say that it is not there."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("simtrial"):
            raise SimtrialError(f"figures need {error.name}: {extra('report')}") from None
        raise SimtrialError("this version of simtrial draws no figures and no pages") from None
