"""Performance as figures show it: the measures asked for with reference values, and levels of factors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from simtrial.errors import SimtrialError
from simtrial.figures.parts.choice import Choice
from simtrial.figures.parts.material import Material
from simtrial.performance.references import reference_value
from simtrial.performance.spoken import unknown_measure


def measured(material: Material, asked: Choice, measures: Sequence[str]) -> pl.DataFrame:
    """Lines of performance, measure by measure, with ``reference`` and ``nominal``; an unknown measure is refused."""
    frame = material.chosen(asked, material.measured)
    there = set(frame["measure"])
    for name in asked.measures:
        if name not in there:
            raise SimtrialError(unknown_measure(name, there))
    known = {(r["cell"], r["estimand"]): r["true_value"] for r in material.cells.iter_rows(named=True)}
    parts = [frame.filter(measure=name) for name in measures if name in there]
    if not parts:
        raise SimtrialError(f"nothing to draw: no method has {' or '.join(measures)}")
    lines = pl.concat(parts)
    nominal = [1 - material.options.alphas.get(method, 0.05) for method in lines["method"]]
    reference = [
        reference_value(row["measure"], known.get((row["cell"], row["estimand"])), level)
        for row, level in zip(lines.iter_rows(named=True), nominal, strict=True)
    ]
    return lines.with_columns(
        nominal=pl.Series(nominal, dtype=pl.Float64), reference=pl.Series(reference, dtype=pl.Float64)
    )


def level(value: Any) -> str:
    """A level of a factor in a word."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def one_measure(asked: Choice, default: str, name: str) -> str:
    """The only measure that a figure shows."""
    if len(asked.measures) > 1:
        raise SimtrialError(f"{name}: shows one measure, and {len(asked.measures)} are named")
    return asked.measures[0] if asked.measures else default
