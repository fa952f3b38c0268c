"""Every estimate by the number of its replicate: outliers, failed fits, and replicates that depend on each other."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from simtrial.figures.parts.choice import Choice
from simtrial.figures.parts.kind import Kind, Marks
from simtrial.figures.parts.look import INK, MISS, Look
from simtrial.figures.parts.marks import dots, fenced, largest, line_at, mean_of, note_in, numbers, outside
from simtrial.figures.parts.material import Material
from simtrial.performance.points import described, thinned_points


def prepare(material: Material, asked: Choice) -> pl.DataFrame:
    """Points of every method and cell that estimates an effect."""
    frame = material.chosen(asked, material.points)
    some = pl.col("estimate").is_not_null().any().over("estimand", "cell", "method")
    return frame.filter(some)


def panel(axes: Axes, part: pl.DataFrame, whole: pl.DataFrame, look: Look) -> Marks:
    """Draw the estimates of a method in a cell."""
    shown = thinned_points(part.filter(pl.col("estimate").is_not_null()), look.most, ("estimate",))
    low, high = fenced([numbers(whole, "estimate")])
    axes.set(xlim=(0, largest(part, "replicate") + 1), ylim=(low, high))
    style = look.style(str(part["method"][0]))
    dots(axes, numbers(shown, "replicate"), numbers(shown, "estimate"), style.colour, 1.6, "estimates")
    line_at(axes, part["true_value"][0], True, "true value", zorder=3)
    axes.plot(
        [axes.get_xlim()[1]], [mean_of(part, "estimate")], "<", color=INK, markersize=4, clip_on=False, label="mean"
    )
    wild = outside(axes, numbers(shown, "replicate"), numbers(shown, "estimate"), INK)
    failed = numbers(part.filter("failed"), "replicate")
    if len(failed):
        axes.plot(failed, np.full(len(failed), low), "|", color=MISS, markersize=6, clip_on=False, label="failed")
    words = [f"{number:,} {what}" for number, what in ((len(failed), "failed"), (wild, "beyond")) if number]
    if words:
        note_in(axes, ", ".join(words))
    axes.set(xlabel="replicate", ylabel="error of the estimate" if part["own"][0] else "estimate")
    return Marks(
        numbers(shown, "replicate").tolist(), numbers(shown, "estimate").tolist(), shown["replicate"].to_list()
    )


KIND = Kind(
    name="swarm",
    title="Estimates by replicate",
    about="Each dot is the estimate of one replicate. Look for outliers, and for patterns along the axis: replicates "
    "are independent, so there should be none. Of many, an even selection and the most extreme ones are drawn; "
    "black triangles at the edge lie beyond the axis.",
    needs="rows",
    prepare=prepare,
    panel=panel,
    by=("estimand", "cell", "method"),
    table=described,
    height=lambda part: 38.0,
    legend=lambda frame: [
        ("true value", {}),
        ("mean of the estimates", {"linestyle": "", "marker": "<", "markersize": 4}),
        *([("failed fits", {"marker": "|", "linestyle": "", "color": MISS})] if frame["failed"].any() else []),
    ],
)
