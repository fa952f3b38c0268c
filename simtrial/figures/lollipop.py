"""Lollipops: measures of every method with 95% Monte Carlo intervals, beside the value of a perfect method."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from simtrial.figures.parts.choice import Choice
from simtrial.figures.parts.kind import Kind, Marks
from simtrial.figures.parts.look import FAINT, Look, names
from simtrial.figures.parts.marks import line_at, numbers, span, spelled
from simtrial.figures.parts.material import Material
from simtrial.figures.parts.measured import measured

SHOWN = ("bias", "empirical_se", "relative_error_model_se", "coverage", "rejection_rate")
"""Measures shown where none are asked for."""


def prepare(material: Material, asked: Choice) -> pl.DataFrame:
    """Measures with their intervals and reference values, measure by measure."""
    return measured(material, asked, asked.measures or SHOWN)


def panel(axes: Axes, part: pl.DataFrame, whole: pl.DataFrame, look: Look) -> Marks:
    """Draw a measure of the methods of one cell and estimand, the first on top; the axis is that of all cells."""
    alike = whole.filter(measure=part["measure"][0])
    columns = ("value", "mc_lower", "mc_upper", "reference")
    based = bool(part["reference"].is_null().all())
    values = [numbers(alike, name) for name in columns] + ([np.zeros(1)] if based else [])
    at = np.arange(part.height, dtype=np.float64)
    axes.set(xlim=span(values, room=0.08), ylim=(part.height - 0.5, -0.5))
    for row, y in zip(part.iter_rows(named=True), at, strict=True):
        style, base = look.style(row["method"]), row["reference"] if row["reference"] is not None else 0.0
        if row["value"] is None or not np.isfinite(row["value"]):
            axes.text(sum(axes.get_xlim()) / 2, y, "no value", ha="center", va="center", fontsize=5.5, color=FAINT)
            continue
        axes.plot([base, row["value"]], [y, y], color=style.colour, linewidth=1.0, linestyle=style.dash, label="stick")
        if row["mc_lower"] is not None:
            axes.plot([row["mc_lower"], row["mc_upper"]], [y, y], "|-", color=style.colour, linewidth=0.5, markersize=4,
                      label="interval")  # fmt: skip
        axes.plot([row["value"]], [y], style.marker, color=style.colour, markersize=3.6, label="value")
    for value in part["reference"].drop_nulls().unique().sort():
        line_at(axes, value, False, "reference", color=FAINT)
    if based:
        line_at(axes, 0.0, False, "zero", color=FAINT, linewidth=0.4)
    axes.set_yticks(at, names(part.select("method", "estimand").rows()), linespacing=0.95)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=3)
    there = part.with_columns(at=pl.Series(at)).filter(pl.col("value").is_finite())
    texts = [
        f"{r['method']}: {spelled(r['value'])} (MCSE {spelled(r['mcse'], 2)}, n {r['n']:,})"
        for r in there.iter_rows(named=True)
    ]
    return Marks(numbers(there, "value").tolist(), numbers(there, "at").tolist(), texts=texts)


def _height(part: pl.DataFrame) -> float:
    """Room for as many lines as the longest name has."""
    lines = max(name.count("\n") + 1 for name in names(part.select("method", "estimand").rows()))
    return 12.0 + (1.9 + 2.3 * lines) * part.height


KIND = Kind(
    name="lollipop",
    title="Measures with Monte Carlo intervals (lollipop plot)",
    about="Each head is a measure, the brackets its 95% Monte Carlo interval. Sticks start at the value of a perfect "
    "method, the grey line, or at 0 where there is none. One axis for all cells.",
    needs="performance",
    prepare=prepare,
    panel=panel,
    by=("cell", "measure"),
    names=True,
    height=_height,
    legend=lambda frame: [("value of a perfect method", {"color": FAINT})],
)
