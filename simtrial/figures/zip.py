"""Zip plot: every confidence interval ranked by how far its estimate is from the truth, and those that miss it."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from simtrial.arrays import Floats
from simtrial.figures.parts.choice import Choice
from simtrial.figures.parts.kind import Kind, Marks
from simtrial.figures.parts.look import BAND, COVER, FAINT, MISS, Look
from simtrial.figures.parts.marks import bars, line_at, note_in, numbers, span
from simtrial.figures.parts.material import Material
from simtrial.performance.points import coverage_band, ranked, thinned_sets

COVERING = 400
"""Intervals drawn of those that hold the true value."""


def prepare(material: Material, asked: Choice) -> pl.DataFrame:
    """Ranked confidence sets of the methods and cells asked for; all that miss, or an even selection of them."""
    frame = ranked(material.chosen(asked, material.points))
    groups = pl.col("covered")
    panels = ("estimand", "cell", "method")
    frame = frame.with_columns(
        n=pl.len().over(panels),
        share=groups.cast(pl.Float64).mean().over(panels),
        lower_miss=(~groups & (pl.col("estimate") > pl.col("true_value"))).sum().over(panels),
        upper_miss=(~groups & (pl.col("estimate") < pl.col("true_value"))).sum().over(panels),
        unbounded=(pl.col("ci_lower").is_infinite() | pl.col("ci_upper").is_infinite() | pl.col("apart"))
        .fill_null(False)
        .sum()
        .over(panels),
    )
    return thinned_sets(frame, COVERING, asked.misses)


def panel(axes: Axes, part: pl.DataFrame, whole: pl.DataFrame, look: Look) -> Marks:
    """Draw the intervals of a method in a cell, those that miss the true value apart."""
    ends = [numbers(whole, name) for name in ("ci_lower", "ci_upper")]
    low, high = span([*ends, numbers(whole, "true_value")], tail=0.005)
    axes.set(xlim=(low, high), ylim=(0, 101))
    nominal, n = float(part["nominal"][0]), int(part["n"][0])
    band = coverage_band(nominal, n)
    axes.axhspan(100 * band[0], 100 * band[1], color=BAND, zorder=0.5, linewidth=0, label="band")
    for covered, colour in ((True, COVER), (False, MISS)):
        some = part.filter(pl.col("covered") == covered)
        start, end, at = segments(some, low, high)
        bars(axes, (start, at), (end, at), colour, 0.35, "covers" if covered else "misses")
    line_at(axes, 100 * nominal, True, "nominal", color=FAINT, linestyle=(0, (4, 2)), zorder=2.5)
    line_at(axes, part["true_value"][0], False, "true value", zorder=3)
    note_in(axes, f"{100 * float(part['share'][0]):.1f}% of {n:,}", low=True)
    axes.set(xlabel="error, confidence set" if part["own"][0] else "confidence set", ylabel="centile of |z|")
    middle = np.clip(numbers(part, "estimate"), low, high)
    return Marks(middle.tolist(), part["centile"].to_list(), part["replicate"].to_list())


def segments(part: pl.DataFrame, low: float, high: float) -> tuple[Floats, Floats, Floats]:
    """Starts, ends and heights of the bars of some sets, cut at the ends of the axis; two rays are two bars."""
    part = part.filter(~pl.col("empty") & pl.col("ci_lower").is_not_null())
    one, apart = part.filter(~pl.col("apart")), part.filter(pl.col("apart"))
    ends = [
        (numbers(one, "ci_lower"), numbers(one, "ci_upper"), one),
        (np.full(apart.height, low), numbers(apart, "ci_lower"), apart),
        (numbers(apart, "ci_upper"), np.full(apart.height, high), apart),
    ]
    start, end = (np.clip(np.concatenate([e[at] for e in ends]), low, high) for at in (0, 1))
    return start, end, np.concatenate([numbers(e[2], "centile") for e in ends])


def table(frame: pl.DataFrame) -> pl.DataFrame:
    """Coverage of every panel, and on which side the sets miss."""
    lines = []
    for (estimand, cell, method), part in frame.group_by("estimand", "cell", "method", maintain_order=True):
        band = coverage_band(float(part["nominal"][0]), int(part["n"][0]))
        lines.append({
            "estimand": estimand, "cell": cell, "method": method, "sets": part["n"][0], "coverage": part["share"][0],
            "lowest_expected": band[0], "highest_expected": band[1], "misses_above": part["lower_miss"][0],
            "misses_below": part["upper_miss"][0], "unbounded": part["unbounded"][0],
            "drawn_covering": int(part["covered"].sum()), "drawn_missing": int((~part["covered"]).sum()),
        })  # fmt: skip
    return pl.DataFrame(lines, infer_schema_length=None)


KIND = Kind(
    name="zip",
    title="Confidence intervals, ranked (zip plot)",
    about="Each bar is the confidence set of one replicate, ranked by how many standard errors its estimate is from "
    "the true value. Where coverage is nominal the colour changes inside the grey band, which holds the coverage of "
    "95% of such runs. Misses on one side only show bias. Of the sets that cover, at most 400 a panel are drawn; "
    "sets are cut at the ends of the axis.",
    needs="rows",
    prepare=prepare,
    panel=panel,
    by=("estimand", "cell", "method"),
    table=table,
    legend=lambda frame: [
        ("holds the true value", {"color": COVER, "linewidth": 2.0}),
        ("misses it", {"color": MISS, "linewidth": 2.0}),
        ("true value", {}),
        ("95% band of coverage", {"facecolor": BAND}),
    ],
)
