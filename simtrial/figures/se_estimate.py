"""Standard error against estimate: extreme fits, and how the two go together."""

from __future__ import annotations

import polars as pl
from matplotlib.axes import Axes

from simtrial.figures.parts.choice import Choice
from simtrial.figures.parts.kind import Kind, Marks
from simtrial.figures.parts.look import Look
from simtrial.figures.parts.marks import dots, fenced, line_at, note_in, numbers
from simtrial.figures.parts.material import Material
from simtrial.performance.points import described, thinned_points


def prepare(material: Material, asked: Choice) -> pl.DataFrame:
    """Points of every method and cell with standard errors; SD and root mean square of all in columns beside them."""
    frame = material.chosen(asked, material.points)
    frame = frame.filter(pl.col("estimate").is_not_null() & pl.col("std_error").is_not_null())
    panels = ("estimand", "cell", "method")
    return frame.with_columns(
        empirical_se=pl.col("estimate").std().over(panels),
        model_se=(pl.col("std_error") ** 2).mean().sqrt().over(panels),
    )


def panel(axes: Axes, part: pl.DataFrame, whole: pl.DataFrame, look: Look) -> Marks:
    """Draw the replicates of a method in a cell, with the empirical and the model SE."""
    shown = thinned_points(part, look.most, ("estimate", "std_error"))
    axes.set(xlim=fenced([numbers(whole, "estimate")]), ylim=(0.0, fenced([numbers(whole, "std_error")])[1]))
    style = look.style(str(part["method"][0]))
    dots(axes, numbers(shown, "estimate"), numbers(shown, "std_error"), style.colour, 1.6, "replicates")
    line_at(axes, part["true_value"][0], False, "true value", zorder=3)
    line_at(axes, part["empirical_se"][0], True, "empirical SE", linestyle=(0, (4, 2)), zorder=3)
    line_at(axes, part["model_se"][0], True, "model SE", linestyle=(0, (1.2, 1.2)), zorder=3)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    beyond = part.filter(~pl.col("estimate").is_between(left, right) | ~pl.col("std_error").is_between(bottom, top))
    if beyond.height:
        note_in(axes, f"{beyond.height:,} beyond the axes")
    axes.set(xlabel="error of the estimate" if part["own"][0] else "estimate", ylabel="standard error")
    return Marks(
        numbers(shown, "estimate").tolist(), numbers(shown, "std_error").tolist(), shown["replicate"].to_list()
    )


KIND = Kind(
    name="se-estimate",
    title="Standard error against estimate",
    about="Each dot is one replicate. The model SE should lie on the empirical SE, the SD of the estimates. Extreme "
    "fits, and standard errors that go with the estimate, make intervals of the wrong width.",
    needs="rows",
    prepare=prepare,
    panel=panel,
    by=("estimand", "cell", "method"),
    table=described,
    height=lambda part: 42.0,
    legend=lambda frame: [
        ("true value", {}),
        ("empirical SE", {"linestyle": (0, (4, 2))}),
        ("model SE", {"linestyle": (0, (1.2, 1.2))}),
    ],
)
