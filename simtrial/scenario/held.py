"""Factors of a sweep that a setting holds at one value."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from simtrial.errors import ScenarioError
from simtrial.scenario.schema import Raw


def hold(raw: Raw, dotted: str, value: Any, text: str) -> None:
    """Hold every factor that a setting fixes at its value, so that it means the same as the value in the file.

    The factor stays, with one level: cells are still named by it. What moved with it ([vary.zip]) is varied as before.
    Expectations of cells that there no longer are go. ``text`` is the setting as typed.

    Raises
    ------
    ScenarioError
        Where the setting is of a part of what is varied as a whole, or of a whole that leaves out what is varied.
    """
    for table, name in list(_factors(raw)):
        if dotted.startswith(f"{name}."):
            raise ScenarioError(f"--set {text}: [vary] gives '{name}' as a whole; set all of it, or choose a cell")
        if name == dotted or name.startswith(f"{dotted}."):
            fixed = _inside(value, name[len(dotted) + 1 :], name, text)
            levels = raw["vary"][table][name]
            count = len(levels) if table == "zip" and isinstance(levels, list) else 1
            raw["vary"][table][name] = [copy.deepcopy(fixed) for _ in range(count)]
            _drop_expectations(raw, name, fixed)


def _factors(raw: Raw) -> Iterator[tuple[str, str]]:
    """Table of [vary] and name of every factor; what is no table is left to the checks of the file."""
    vary = raw.get("vary")
    for table in ("cross", "zip"):
        names = vary.get(table) if isinstance(vary, dict) else None
        for name in names if isinstance(names, dict) else ():
            yield table, name


def _inside(value: Any, below: str, name: str, text: str) -> Any:
    """Value that a setting gives a factor: itself, or what its table holds of that name."""
    for key in below.split(".") if below else ():
        if not isinstance(value, dict) or key not in value:
            raise ScenarioError(f"--set {text}: leaves out '{name}', which [vary] varies; give it too")
        value = value[key]
    return value


def _drop_expectations(raw: Raw, name: str, fixed: Any) -> None:
    """Drop expectations of cells in which the factor has another value."""
    rows = raw.get("expect")
    if not isinstance(rows, list):
        return

    def still_there(row: Any) -> bool:
        cell = row.get("cell") if isinstance(row, dict) else None
        return not (isinstance(cell, dict) and name in cell and cell[name] != fixed)

    raw["expect"] = [row for row in rows if still_there(row)]
