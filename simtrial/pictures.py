"""Figures and the page of a result, where the packages that draw are installed."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from simtrial.errors import SimtrialError, unknown

INSTALL = 'pip install "simtrial-bench[report]"'


class Figures:
    """Figures of a result (`simtrial.result.Result`), one method for each kind; `dir` lists them."""

    def __init__(self, result: Any) -> None:
        self._result = result

    def __dir__(self) -> list[str]:
        return kinds()

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        if kind.startswith("_"):
            raise AttributeError(kind)
        if kind not in kinds():
            raise AttributeError(unknown("figure", kind, kinds()))
        return partial(_module(f"simtrial.figures.{kind}").figure, self._result)


def kinds() -> list[str]:
    """Kinds of figures there are, without drawing any."""
    package = _module("simtrial.figures")
    names = [file.name for file in pkgutil.iter_modules(package.__path__)]
    return sorted(name for name in names if not name.startswith("_"))


def write_report(folder: Path | None, path: Path) -> Path:
    """Write the page of a run directory."""
    if folder is None:
        raise SimtrialError("results of another program have no report; open a run directory")
    _module("simtrial.report.page").write(folder, path)
    return path


def _module(name: str) -> Any:
    """Import what draws, or say what is missing."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and not error.name.startswith("simtrial"):
            raise SimtrialError(f"figures need {error.name}: {INSTALL}") from None
        raise SimtrialError("this version of simtrial draws no figures") from None
