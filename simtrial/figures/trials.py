"""What trials turned out to be, beside what the scenario implies: sizes, ICC, missing outcomes, receipt."""

from __future__ import annotations

from math import floor, log10

import polars as pl
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from simtrial.errors import SimtrialError, unknown
from simtrial.figures.parts.choice import Choice
from simtrial.figures.parts.kind import Kind, Marks
from simtrial.figures.parts.look import BAND, COLOURS, INK, Look, legible
from simtrial.figures.parts.marks import dots, mean_of, numbers, span
from simtrial.figures.parts.material import Material
from simtrial.figures.parts.redrawn import cells_again
from simtrial.performance.points import evenly, stacked
from simtrial.run.realised import realised

NORMAL = 1.959964
"""Half of a 95% interval in standard errors."""

MOST_CELLS = 4
"""Cells shown where none is asked for."""


def prepare(material: Material, asked: Choice) -> pl.DataFrame:
    """Characteristics of the trials of the first block of each cell."""
    chosen = cells_again(material, "trials", asked, MOST_CELLS)
    most = None if material.run is None else int(material.run["replicates"])
    frame = pl.concat([realised(cell, most) for cell in chosen])
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
    band = [numbers(part, "target") + sign * NORMAL * numbers(part, "target_mcse") for sign in (-1, 1)]
    axes.set(xlim=span([numbers(part, "value"), numbers(part, "target"), *band], room=0.06))
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
        _implied(axes, rows["target"][0], rows["target_mcse"][0], at)
        marks += zip(numbers(there, "value").tolist(), height.tolist(), there["replicate"].to_list(), strict=True)
    axes.set_ylim(-0.15, cells)
    axes.set_yticks([at + 0.4 for at in reversed(range(cells))], names if len(names) > 1 else [""])
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=5)
    return Marks([m[0] for m in marks], [m[1] for m in marks], [m[2] for m in marks])


def _implied(axes: Axes, value: float | None, mcse: float | None, at: float) -> None:
    """Draw the implied value of a cell as a line, and its 95% Monte Carlo interval as a band behind it."""
    if value is None:
        return
    if mcse is not None and mcse > 0:
        axes.add_patch(Rectangle((value - NORMAL * mcse, at - 0.08), 2 * NORMAL * mcse, 0.93, facecolor=BAND,
                                 edgecolor="none", zorder=0.5, label="band"))  # fmt: skip
    axes.plot([value] * 2, [at - 0.08, at + 0.85], color=INK, linewidth=1.0, label="target")


def table(frame: pl.DataFrame) -> pl.DataFrame:
    """Mean, SD and range of every characteristic, and the implied value with its Monte Carlo error."""
    value = pl.col("value")
    frame = frame.with_columns(
        pl.Series("target", map(_as_known, frame["target"], frame["target_mcse"]), dtype=pl.Float64),
        pl.col("target_mcse").round_sig_figs(2),
    )
    return frame.group_by("characteristic", "cell", maintain_order=True).agg(
        pl.col("target").first().alias("implied"), pl.col("target_mcse").first().alias("implied_mcse"),
        value.mean().alias("mean"), value.std().alias("sd"),
        value.min().alias("lowest"), value.max().alias("highest"), value.count().alias("trials"),
    )  # fmt: skip


def _as_known(value: float | None, mcse: float | None) -> float | None:
    """A simulated value to the first decimal that its Monte Carlo error leaves in doubt."""
    if value is None or mcse is None or not mcse > 0:
        return value
    return round(value, -floor(log10(mcse)))


KIND = Kind(
    name="trials",
    title="Trials as they turned out",
    about="Each dot is one trial of the first block, drawn again. The line is what the scenario implies, the triangle "
    "the mean of the trials: the two should agree, whatever single trials do; of a CV or an "
    "ICC in few practices only nearly so. An implied value without a closed form is itself simulated, from about "
    "20,000 people: the grey band is its 95% Monte Carlo interval.",
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
        *([("its 95% Monte Carlo interval", {"facecolor": BAND})] if (frame["target_mcse"] > 0).any() else []),
    ],
)
