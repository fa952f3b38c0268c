"""What the time of a run went to: drawing trials, and each method."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from simtrial.errors import SimtrialError
from simtrial.figures.parts.choice import Choice
from simtrial.figures.parts.kind import Kind, Marks
from simtrial.figures.parts.look import COLOURS, FAINT, Look, folded
from simtrial.figures.parts.marks import numbers
from simtrial.figures.parts.material import Material
from simtrial.run.timings import timings


def prepare(material: Material, asked: Choice) -> pl.DataFrame:
    """Microseconds per trial by kind of work: all stages as one, and each method."""
    if material.folder is None:
        raise SimtrialError("cost: times are in the records of a run; a FILE of results has none")
    frame = timings(material.folder, material.cells_of(asked))
    if not frame.height:
        raise SimtrialError(f"{material.folder}: its records have no times")
    method = pl.col("work").str.starts_with("method ")
    frame = frame.filter(~method | pl.col("work").str.strip_prefix("method ").is_in(list(material.methods)))
    frame = frame.with_columns(
        pl.when(pl.col("work").str.starts_with("draw ")).then(pl.lit("drawing trials"))
        .when(method).then(pl.col("work").str.strip_prefix("method ")).otherwise(pl.lit("everything else"))
        .alias("what"),
        method.alias("is_method"),
    )  # fmt: skip
    frame = frame.group_by("what", "is_method", maintain_order=True).agg(
        pl.col("seconds", "share", "microseconds_per_trial").sum()
    )
    return frame.sort(pl.col("what") == "everything else", maintain_order=True)


def panel(axes: Axes, part: pl.DataFrame, whole: pl.DataFrame, look: Look) -> Marks:
    """Draw a bar per kind of work, in the order of the work."""
    at = np.arange(part.height)
    values = numbers(part, "microseconds_per_trial")
    colours = [COLOURS[0] if method else FAINT for method in part["is_method"]]
    axes.barh(at, values, color=colours, height=0.65)
    top = float(values.max()) or 1.0
    for y, value, share in zip(at, values, part["share"], strict=True):
        axes.text(float(value) + top * 0.01, float(y), f"{value:,.0f}  ({_percent(share)})", va="center", fontsize=5.5)
    axes.set(ylim=(part.height - 0.4, -0.6), xlim=(0, top * 1.35), xlabel="microseconds per trial")
    axes.set_yticks(at, [folded(name, 22) for name in part["what"]])
    axes.tick_params(axis="y", length=0)
    texts = [f"{r['what']}: {r['seconds']:.2f} s in all" for r in part.iter_rows(named=True)]
    return Marks(values.tolist(), at.tolist(), texts=texts)


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share >= 0.005 else "<1%"


KIND = Kind(
    name="cost",
    title="Cost of the methods",
    about="Time of the workers per trial, in the order of their work. Sums by practice that methods share count as "
    "time of the first that needs them.",
    needs="timings",
    prepare=prepare,
    panel=panel,
    by=(),
    table=lambda frame: frame.drop("is_method"),
    height=lambda part: 10.0 + 4.6 * part.height,
    wide=True,
    mm=80.0,
    legend=lambda frame: [("methods", {"facecolor": COLOURS[0]}), ("the rest", {"facecolor": FAINT})],
)
