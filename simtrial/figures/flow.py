"""CONSORT diagram of one simulated trial: who was approached, allocated, lost and analysed."""

from __future__ import annotations

from textwrap import wrap

import polars as pl
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from simtrial.figures.parts.choice import Choice
from simtrial.figures.parts.kind import Kind, Marks
from simtrial.figures.parts.look import INK, Look, legible
from simtrial.figures.parts.material import Material
from simtrial.figures.parts.redrawn import cells_again
from simtrial.run.flow import LOST, MISSING, RECEIPT, flow

WIDE = 26
"""Letters of a line in a box."""


def prepare(material: Material, asked: Choice) -> pl.DataFrame:
    """Boxes of one replicate of a cell, the first by default, in the order of the trial's life."""
    (cell,) = cells_again(material, "flow", asked, 1)[:1]
    return flow(cell, asked.replicate).with_columns(cell=pl.lit(cell.id))


def panel(axes: Axes, part: pl.DataFrame, whole: pl.DataFrame, look: Look) -> Marks:
    """Draw the boxes from top to bottom, those of the arms side by side."""
    axes.set(xlim=(0, 100), ylim=(-_rows(part), 0.1))
    axes.set_axis_off()
    before, y = part.filter(arm=""), 0.0
    for row in before.iter_rows(named=True):
        y = _box(axes, 50, y, 46, words(row), first=y == 0)
    branch = y - 0.25
    axes.plot([50, 50], [y, branch], color=INK, linewidth=0.7, label="arrow")
    axes.plot([25, 75], [branch, branch], color=INK, linewidth=0.7, label="arrow")
    for arm, x in (("control", 25), ("intervention", 75)):
        below = branch
        for row in part.filter(arm=arm).iter_rows(named=True):
            below = _box(axes, x, below, 47, words(row), dashed=row["stage"] in (RECEIPT, LOST, MISSING))
    return Marks()


def words(row: dict[str, object]) -> list[str]:
    """Lines of a box: what it is about, and how many practices and people."""
    counts = [f"{row[name]:,} {name}" for name in ("practices", "people") if row[name] is not None]
    what = legible(str(row["what"]).removeprefix("practices ").removeprefix("people "), 90)
    return [*wrap(what[:1].upper() + what[1:], WIDE), ", ".join(counts)]


LINE, GAP = 0.42, 0.42


def _box(
    axes: Axes, x: float, top: float, width: float, lines: list[str], first: bool = False, dashed: bool = False
) -> float:
    """Draw a box below ``top`` and the arrow that leads to it; return its lower end."""
    start = top if first else top - GAP
    height = LINE * len(lines) + 0.22
    if not first:
        axes.annotate("", (x, start), (x, top), arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 0.7,
                      "shrinkA": 0, "shrinkB": 0, "mutation_scale": 5})  # fmt: skip
    axes.add_patch(
        Rectangle((x - width / 2, start - height), width, height, facecolor="none", edgecolor=INK, linewidth=0.7,
                  linestyle=(0, (3, 2)) if dashed else "-")
    )  # fmt: skip
    axes.text(x, start - height / 2, "\n".join(lines), ha="center", va="center", fontsize=6.0, linespacing=1.15)
    return start - height


def _rows(part: pl.DataFrame) -> float:
    """Height of the diagram in its own units."""
    heights = {
        arm: sum(LINE * len(words(r)) + 0.22 + GAP for r in part.filter(arm=arm).iter_rows(named=True))
        for arm in ("", "control", "intervention")
    }
    return heights[""] + max(heights["control"], heights["intervention"]) + 0.3


KIND = Kind(
    name="flow",
    title="Flow of one simulated trial",
    about="Practices and people of one replicate. Dashed boxes count some of the people above them: those who received "
    "the intervention, were lost, or have no score.",
    needs="scenario",
    prepare=prepare,
    panel=panel,
    by=(),
    table=lambda frame: frame.drop("cell"),
    height=lambda part: 7.0 * _rows(part),
    wide=True,
    mm=80.0,
)
