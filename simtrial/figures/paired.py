"""Two methods on the same replicates: one against the other, and their difference against their mean."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from simtrial.errors import SimtrialError
from simtrial.figures.parts.choice import Choice
from simtrial.figures.parts.kind import Kind, Marks
from simtrial.figures.parts.look import FAINT, Look, legible
from simtrial.figures.parts.marks import dots, fenced, line_at, note_in, numbers
from simtrial.figures.parts.material import Material
from simtrial.performance.points import agreement, paired_points, thinned_points

SCATTER, DIFFERENCE = "scatter", "Bland–Altman"


def prepare(material: Material, asked: Choice) -> pl.DataFrame:
    """Estimates of methods beside those of the reference.

    The reference is the first method that is asked for, else the scenario's, or else the first of the estimand.
    """
    frame = material.chosen(asked, material.points)
    parts = []
    for (estimand, cell), group in frame.group_by("estimand", "cell", maintain_order=True):
        methods = [str(m) for m in group["method"].unique(maintain_order=True)]
        wanted = [asked.methods[0] if asked.methods else material.options.reference, methods[0]]
        reference = next(name for name in wanted if name in methods)
        for method in methods:
            if method != reference:
                parts += _both(group, reference, method, {"estimand": str(estimand), "cell": str(cell)})
    if not parts:
        raise SimtrialError("paired: needs two methods of one estimand with estimates on the same replicates")
    return pl.concat(parts)


def _both(group: pl.DataFrame, reference: str, method: str, names: dict[str, str]) -> list[pl.DataFrame]:
    """Points of both panels of a pair of methods."""
    both = paired_points(group, reference, method)
    if not len(both):
        return []
    replicate, x, y = both.T
    mean, low, high = agreement(y - x)
    truth = group["true_value"][0]
    found = []
    for panel_, across, up in ((SCATTER, x, y), (DIFFERENCE, (x + y) / 2, y - x)):
        found.append(
            pl.DataFrame({"replicate": replicate.astype(np.int64), "across": across, "up": up}).with_columns(
                *(pl.lit(value).alias(name) for name, value in names.items()), pl.lit(method).alias("method"),
                pl.lit(reference).alias("reference"), pl.lit(panel_).alias("panel"), pl.lit(mean).alias("difference"),
                pl.lit(low).alias("lower_limit"), pl.lit(high).alias("upper_limit"),
                pl.lit(truth, dtype=pl.Float64).alias("true_value"), pl.lit(len(both)).alias("n"),
                pl.lit(bool(group["own"][0])).alias("own"),
                pl.lit(float(np.corrcoef(x, y)[0, 1]) if len(both) > 1 and x.std() and y.std() else None,
                       dtype=pl.Float64).alias("correlation"),
            )
        )  # fmt: skip
    return found


def panel(axes: Axes, part: pl.DataFrame, whole: pl.DataFrame, look: Look) -> Marks:
    """Draw the scatter or the differences of a pair."""
    scatter = part["panel"][0] == SCATTER
    shown = thinned_points(part, look.most, ("up",) if not scatter else ("across", "up"))
    alike = whole.filter(panel=part["panel"][0])
    across, up = (fenced([numbers(alike, name)]) for name in ("across", "up"))
    both = min(across[0], up[0]), max(across[1], up[1])
    axes.set(xlim=both if scatter else across, ylim=both if scatter else up)
    style = look.style(str(part["method"][0]))
    dots(axes, numbers(shown, "across"), numbers(shown, "up"), style.colour, 1.6, "replicates")
    reference, method = (legible(str(part[name][0]), 28) for name in ("reference", "method"))
    if scatter:
        axes.plot(both, both, color=FAINT, linewidth=0.8, label="equal")
        line_at(axes, part["true_value"][0], False, "true value", linewidth=0.5)
        line_at(axes, part["true_value"][0], True, "true value", linewidth=0.5)
        axes.set(xlabel=reference, ylabel=method)
        r = part["correlation"][0]
        note_in(axes, f"n = {part['n'][0]:,}" + ("" if r is None else f", r = {r:.3f}"), low=True)
    else:
        line_at(axes, 0.0, True, "equal", color=FAINT)
        line_at(axes, part["difference"][0], True, "mean difference", linewidth=1.2, zorder=3)
        for name in ("lower_limit", "upper_limit"):
            line_at(axes, part[name][0], True, name, linestyle=(0, (3, 2)), zorder=3)
        axes.set(xlabel="mean of the two", ylabel=f"less {reference}")
    return Marks(numbers(shown, "across").tolist(), numbers(shown, "up").tolist(), shown["replicate"].to_list())


def table(frame: pl.DataFrame) -> pl.DataFrame:
    """Mean difference and limits of agreement of every pair."""
    columns = (
        "estimand",
        "cell",
        "method",
        "reference",
        "n",
        "correlation",
        "difference",
        "lower_limit",
        "upper_limit",
    )
    return frame.filter(panel=DIFFERENCE).select(columns).unique(maintain_order=True)


KIND = Kind(
    name="paired",
    title="Methods compared on the same replicates",
    about="Left: the estimates of two methods on the same trials, equal ones on the line. Right (Bland–Altman): their "
    "difference against their mean, with the mean difference and limits that hold 95% of normal differences.",
    needs="rows",
    prepare=prepare,
    panel=panel,
    by=("estimand", "cell", "method", "panel"),
    table=table,
    height=lambda part: 45.0,
    alike=False,
    legend=lambda frame: [
        ("equal", {"color": FAINT}),
        ("true value", {"linewidth": 0.5}),
        ("mean difference", {"linewidth": 1.2}),
        ("limits of agreement", {"linestyle": (0, (3, 2))}),
    ],
)
