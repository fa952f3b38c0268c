"""One replicate beside its rows in a baseline: which numbers of which methods are others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from simtrial.check.baseline import BaselineError, read_baseline, refuse_another
from simtrial.check.compare import pairs_of
from simtrial.check.pairs import Pair, columns_of, differing
from simtrial.performance import Options
from simtrial.scenario import Cell, Scenario
from simtrial.store.identity import resolved, simulated


@dataclass(frozen=True)
class Beside:
    """A method on one replicate beside the baseline: ``differences`` are (column, before, now), None where missing."""

    method: str
    estimand: str
    differences: tuple[tuple[str, float | str | None, float | str | None], ...]


def refuse_another_request(file: Path, scenario: Scenario, cells: Sequence[Cell]) -> None:
    """Refuse a baseline of another request than this scenario, before anything is run."""
    table = {cell.id: {"factors": dict(cell.factors)} for cell in cells}
    refuse_another(file, read_baseline(file), {"scenario": simulated(resolved(scenario)), "cells": table})


def beside_baseline(file: Path, cell: Cell, replicate: int, rows: pl.DataFrame) -> list[Beside]:
    """Rows of one replicate beside the baseline's, by more than rounding.

    Raises
    ------
    BaselineError
        When the baseline lacks the cell or the replicate.
    """
    before = read_baseline(file).rows.filter(cell=cell.id, replicate=replicate)
    if not before.height:
        raise BaselineError(f"{file}: the baseline does not have replicate {replicate} of cell '{cell.label}'")
    pairs = pairs_of(before, rows, {}, Options([], "robust", None, {}))
    return [Beside(pair.method, pair.estimand, tuple(_differences(pair))) for pair in pairs]


def _differences(pair: Pair) -> list[tuple[str, float | str | None, float | str | None]]:
    apart, (before, now) = differing(pair), (columns_of(side) for side in (pair.before, pair.now))
    if apart["status"][1].any():
        words = ["failed" if side.sample.failed.any() else "ok" for side in (pair.before, pair.now)]
        return [("status", words[0], words[1])]
    found: list[tuple[str, float | str | None, float | str | None]] = []
    for name in before:
        if apart[name][1].any():
            values = [None if side[name][0] != side[name][0] else float(side[name][0]) for side in (before, now)]
            found.append((name, values[0], values[1]))
    return found or ([("kind of interval", None, None)] if apart["ci_type"][1].any() else [])
