"""What trials turned out to be, beside what the scenario implies: sizes, ICC, missing outcomes, receipt."""

from __future__ import annotations

import polars as pl
from matplotlib.axes import Axes

from simtrial.errors import SimtrialError, unknown
from simtrial.figures.parts.choice import Choice
from simtrial.figures.parts.kind import Kind, Marks
from simtrial.figures.parts.look import COLOURS, INK, Look, legible
from simtrial.figures.parts.marks import dots, mean_of, numbers, span
from simtrial.figures.parts.material import Material
from simtrial.figures.parts.redrawn import cells_again
from simtrial.performance.points import evenly, stacked
from simtrial.run.realised import realised

MOST_CELLS = 4
"""Cells shown where none is asked for."""


def prepare(material: Material, asked: Choice) -> pl.DataFrame:
    """Characteristics of the trials of the first block of each cell."""
    chosen = cells_again(material, "trials", asked, MOST_CELLS)
    frame = pl.concat([realised(cell) for cell in chosen])
    if unknown_ones := [name for name in asked.measures if name not in set(frame["characteristic"])]:
        raise SimtrialError(unknown("characteristic", unknown_ones[0], frame["characteristic"].unique()))
    if asked.measures:
        frame = frame.filter(pl.col("characteristic").is_in(list(asked.measures)))
    there = pl.col("value").is_not_null().any().over("characteristic")
    frame = frame.filter(there)
    labels = [legible(cell.label, 40) for cell in chosen]
    return frame.with_columns(
        frame["cell"].replace_strict([c.id for c in chosen], labels, return_dtype=pl.String).alias("label"),
        frame["cell"].replace_strict([c.id for c in chosen], range(len(chosen)), return_dtype=pl.Int64).alias("place"),
    ).sort(
        pl.col("characteristic").replace_strict(
            {name: at for at, name in enumerate(frame["characteristic"].unique(maintain_order=True))}
        ),
        "place", maintain_order=True,
    )  # fmt: skip


def panel(axes: Axes, part: pl.DataFrame, whole: pl.DataFrame, look: Look) -> Marks:
    """Draw one characteristic: a dot per trial, the mean of the trials and the implied value, cell below cell."""
    axes.set(xlim=span([numbers(part, "value"), numbers(part, "target")], room=0.06))
    names, cells = list[str](), part["label"].n_unique()
    marks: list[tuple[float, float, int]] = []
    for (label,), rows in part.group_by("label", maintain_order=True):
        at = cells - 1 - len(names)
        names.append(str(label))
        every = rows.filter(pl.col("value").is_not_null())
        there = every[evenly(every.height, look.most // cells)]
        height = at + stacked(numbers(there, "value"))
        dots(axes, numbers(there, "value"), height, COLOURS[0], 1.3, "trials")
        axes.plot([mean_of(every, "value")], [at], "^", color=INK, markersize=4, clip_on=False, zorder=3, label="mean")
        if rows["target"][0] is not None:
            axes.plot([rows["target"][0]] * 2, [at - 0.08, at + 0.85], color=INK, linewidth=1.0, label="target")
        marks += zip(numbers(there, "value").tolist(), height.tolist(), there["replicate"].to_list(), strict=True)
    axes.set_ylim(-0.15, cells)
    axes.set_yticks([at + 0.4 for at in reversed(range(cells))], names if len(names) > 1 else [""])
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=5)
    return Marks([m[0] for m in marks], [m[1] for m in marks], [m[2] for m in marks])


def table(frame: pl.DataFrame) -> pl.DataFrame:
    """Mean, SD and range of every characteristic, and the implied value."""
    value = pl.col("value")
    return frame.group_by("characteristic", "cell", maintain_order=True).agg(
        pl.col("target").first().alias("implied"), value.mean().alias("mean"), value.std().alias("sd"),
        value.min().alias("lowest"), value.max().alias("highest"), value.count().alias("trials"),
    )  # fmt: skip


KIND = Kind(
    name="trials",
    title="Trials as they turned out",
    about="Each dot is one trial of the first block, drawn again. The line is what the scenario implies, the triangle "
    "the mean of the trials: the two should agree, whatever single trials do; of a CV or an "
    "ICC in few practices only nearly so.",
    needs="scenario",
    prepare=prepare,
    panel=panel,
    by=("characteristic",),
    names=True,
    table=table,
    height=lambda part: 20.0 + 10.0 * (part["label"].n_unique() - 1),
    legend=lambda frame: [
        ("one trial", {"linestyle": "", "marker": "o", "markersize": 2.5, "color": COLOURS[0]}),
        ("mean of the trials", {"linestyle": "", "marker": "^", "markersize": 4}),
        ("implied by the scenario", {}),
    ],
)
