"""Power and rejection curves: how often methods reject, over the levels of a factor."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from simtrial.figures.parts.choice import Choice
from simtrial.figures.parts.kind import Kind, Marks
from simtrial.figures.parts.look import FAINT, Look, legible
from simtrial.figures.parts.marks import line_at, numbers, span, spelled
from simtrial.figures.parts.material import WORDS, Material
from simtrial.figures.parts.measured import level, measured, one_measure


def prepare(material: Material, asked: Choice) -> pl.DataFrame:
    """A measure of every method by the level of a factor; panels are the levels of the other factors."""
    key = material.factor(asked.factor)
    frame = measured(material, asked, [one_measure(asked, "rejection_rate", "power")])
    others = [name for name in material.names if name != key]
    levels: list[Any] = [material.factors[cell].get(key) for cell in frame["cell"]]
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in levels)
    order = list(dict.fromkeys(level(v) for f in material.factors.values() for v in [f.get(key)]))
    at = [float(v) for v in levels] if numeric else [float(order.index(level(v))) for v in levels]
    panels = [
        ", ".join(f"{material.short(name)}={level(material.factors[cell].get(name))}" for name in others)
        for cell in frame["cell"]
    ]
    frame = frame.with_columns(
        at=pl.Series(at, dtype=pl.Float64), level=pl.Series([level(v) for v in levels], dtype=pl.String),
        panel=pl.Series(panels, dtype=pl.String), factor=pl.lit(material.short(key)),
    )  # fmt: skip
    first = {name: place for place, name in enumerate(frame["estimand"].unique(maintain_order=True))}
    frame = frame.with_columns(frame["estimand"].replace_strict(first, return_dtype=pl.Int64).alias("rank"))
    return frame.sort("rank", "panel", "at", maintain_order=True).drop("rank")


def panel(axes: Axes, part: pl.DataFrame, whole: pl.DataFrame, look: Look) -> Marks:
    """Draw one curve per method with Monte Carlo intervals, a little apart where they are at the same level."""
    x = span([numbers(whole, "at")], room=0.08)
    methods = [m for m in look.methods if (whole["method"] == m).any()]
    share = part["measure"][0] == "rejection_rate"
    y = (0.0, 1.02) if share else span([numbers(whole, n) for n in ("mc_lower", "mc_upper", "reference")])
    axes.set(xlim=x, ylim=y)
    nearest = np.diff(np.unique(numbers(whole, "at")))
    apart = 0.12 * (nearest.min() if len(nearest) else 1.0) / max(len(methods), 1)
    marks: list[tuple[float, float, str]] = []
    for name in methods:
        rows, style = part.filter(method=name), look.style(name)
        at = numbers(rows, "at") + apart * (methods.index(name) - (len(methods) - 1) / 2)
        value = numbers(rows, "value")
        errors = np.abs(np.vstack([value - numbers(rows, "mc_lower"), numbers(rows, "mc_upper") - value]))
        axes.errorbar(at, value, yerr=errors, color=style.colour, linestyle=style.dash, marker=style.marker,
                      markersize=3.2, linewidth=1.0, elinewidth=0.6, label=name)  # fmt: skip
        marks += [
            (float(a), float(v), f"{name}: {spelled(v)} at {row['factor']} {row['level']} (n {row['n']:,})")
            for a, v, row in zip(at, value, rows.iter_rows(named=True), strict=True)
        ]
    for value_ in part["reference"].drop_nulls().unique().sort():
        line_at(axes, value_, True, "reference", color=FAINT)
    levels = part.select("at", "level").unique(maintain_order=True).sort("at")
    axes.set_xticks(levels["at"].to_list(), [legible(text, 14) for text in levels["level"]])
    axes.set(xlabel=legible(str(part["factor"][0])), ylabel=WORDS.get(part["measure"][0], part["measure"][0]))
    marks = [m for m in marks if np.isfinite(m[1])]
    return Marks([m[0] for m in marks], [m[1] for m in marks], texts=[m[2] for m in marks])


def table(frame: pl.DataFrame) -> pl.DataFrame:
    """Shares by level."""
    return frame.select("estimand", "panel", "factor", "level", "method", "measure", "value", "mcse", "n")


KIND = Kind(
    name="power",
    title="Rejections over a factor",
    about="Share of p-values below alpha with 95% Monte Carlo intervals: power, or the type I error where the true "
    "value is 0 (grey line: alpha). Points of one level are drawn a little apart.",
    needs="performance",
    prepare=prepare,
    panel=panel,
    by=("estimand", "panel"),
    table=table,
    height=lambda part: 48.0,
    methods=True,
)
