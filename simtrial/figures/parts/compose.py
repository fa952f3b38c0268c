"""Panels put together into figures as wide as a column or a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from simtrial.errors import SimtrialError
from simtrial.figures.parts.kind import Kind, Marks
from simtrial.figures.parts.look import DOUBLE, INK, MM, SINGLE, Look, legible, settings
from simtrial.figures.parts.material import panel_title
from simtrial.figures.parts.room import fit, fit_legend

MOST_PANELS = 60
"""Panels of one file."""

NARROWEST = 24.0
"""Width in mm of the inside of a panel below which fewer stand side by side."""

LINE = 2.9
"""Height in mm of a line of a title."""

Parts = Sequence[tuple[dict[str, str], pl.DataFrame]]
"""Panels: what names each, and its part of the frame."""


def panels(kind: Kind, frame: pl.DataFrame) -> Iterator[tuple[dict[str, str], pl.DataFrame]]:
    """Parts of a frame, each with the values that name it; in the order of the frame."""
    if not kind.by:
        yield {}, frame
        return
    for values, part in frame.group_by(*kind.by, maintain_order=True):
        yield {name: str(value) for name, value in zip(kind.by, values, strict=True)}, part


def figure(kind: Kind, frame: pl.DataFrame, look: Look, column: str = "double") -> Figure:
    """Draw a figure: its panels side by side, legend on top.

    Raises
    ------
    SimtrialError
        When there is nothing to draw, or more than fits.
    """
    parts = list(panels(kind, frame))
    if not frame.height:
        raise SimtrialError(f"{kind.name}: nothing to draw, no replicate has what this figure shows")
    if len(parts) > MOST_PANELS:
        raise SimtrialError(
            f"{kind.name}: {len(parts)} panels are more than a page holds ({MOST_PANELS}); choose some by --method, "
            "--cell or --measure"
        )
    with settings():
        for across in range(_across(kind, parts, column), 0, -1):
            made = _drawn(kind, parts, frame, look, column, across)
            if min(axes.get_window_extent().width for axes in made.axes) >= NARROWEST * MM * made.dpi:
                break
    return made


def _drawn(kind: Kind, parts: Parts, frame: pl.DataFrame, look: Look, column: str, across: int) -> Figure:
    """Draw the panels, so many side by side; words are fitted to the panels, which then grow by what was folded."""
    width = SINGLE if column == "single" else DOUBLE
    places = _places(kind, parts, across)
    down = places[-1][0] + 1
    rows = [max(kind.height(part) for (_, part), (r, _) in zip(parts, places, strict=True) if r == row)
            for row in range(down)]  # fmt: skip
    made = Figure(
        figsize=(width * MM, (sum(rows) + 6.0 * down + 2.0) * MM),
        layout=ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.03, wspace=0.03, hspace=0.03),
    )
    grid = made.add_gridspec(down, across, height_ratios=rows)
    titles = []
    for (values, part), (row, at) in zip(parts, places, strict=True):
        axes = made.add_subplot(grid[row, at])
        kind.panel(axes, part, frame, look)
        titles.append(panel_title(values, frame, look.cells) if look.titles else "")
        axes.set_title("X" if titles[-1] else "")  # room for a line, until the width of the panel is known
        if at and not kind.wide:
            _beside(axes, made.axes[places.index((row, 0))], kind)
    if handles := legend(kind, frame, look):
        _grow(made, _height(fit_legend(made, handles, 2 if column == "single" else 4)))
    before = 0
    for _ in range(2):  # folded labels make panels narrower: the second time their width is known
        _lay_out(made)
        gained = fit(made, titles)
        lines = sum(max(n for n, (r, _) in zip(gained, places, strict=True) if r == row) for row in range(down))
        _grow(made, (lines - before) * LINE)
        before = lines
    _settle(made)
    return made


def _height(of: Artist) -> float:
    """Height in mm."""
    figure = of.get_figure(root=True)
    assert figure is not None
    return float(of.get_window_extent().height) / figure.dpi / MM


def _grow(made: Figure, more: float) -> None:
    """Make a figure higher, by so many mm."""
    width, height = made.get_size_inches()
    made.set_size_inches(width, height + more * MM)


def _places(kind: Kind, parts: Parts, across: int) -> list[tuple[int, int]]:
    """Row and column of every panel: those of a cell, or of a measure of all cells, begin a row of their own."""
    found, before, row, at = list[tuple[int, int]](), None, 0, 0
    for group in _groups(kind, parts):
        if found and (at == across or group != before):
            row, at = row + 1, 0
        found.append((row, at))
        before, at = group, at + 1
    return found


def _groups(kind: Kind, parts: Parts) -> list[tuple[str, ...]]:
    """What the panels of a row have in common: names whose panels stand together, several of each."""
    for names in (("estimand", "cell"), ("measure",)):
        if set(names) <= set(kind.by):
            groups = [tuple(values[name] for name in names) for values, _ in parts]
            runs = 1 + sum(a != b for a, b in pairwise(groups))
            if runs == len(set(groups)) < len(parts):
                return groups
    return [()] * len(parts)


def _lay_out(made: Figure) -> None:
    """Give panels and legends their places, without the drawing that would be thrown away."""
    engine = made.get_layout_engine()
    assert engine is not None
    engine.execute(made)


def _settle(made: Figure) -> None:
    """Lay a figure out once and for all: laid out again, it would move by a rounding error."""
    for _ in range(2):  # labels move when axes shrink: the second time they have their place
        _lay_out(made)
    made.set_layout_engine("none")


def _beside(axes: Axes, left: Axes, kind: Kind) -> None:
    """Leave out what the leftmost panel says already: the same label, the same names of methods."""
    if axes.get_ylabel() == left.get_ylabel() and kind.alike:
        axes.set_ylabel("")
    names = [text.get_text() for text in axes.get_yticklabels()]
    if kind.names and any(names) and names == [text.get_text() for text in left.get_yticklabels()]:
        axes.set_yticklabels([""] * len(names))


def fitting(kind: Kind, frame: pl.DataFrame, most: int) -> tuple[pl.DataFrame, str]:
    """As many cells, the first ones, as make no more panels than that; and what is left out, in words."""
    if "cell" not in kind.by or not frame.height:
        return frame, ""
    keys = frame.select(list(kind.by)).unique(maintain_order=True)
    counts = keys.group_by("cell", maintain_order=True).len()
    kept = counts.filter((pl.col("len").cum_sum() <= most) | (pl.int_range(pl.len()) == 0))["cell"].to_list()
    if len(kept) == counts.height:
        return frame, ""
    shown = "the first cell" if len(kept) == 1 else f"the first {len(kept)}"
    return frame.filter(pl.col("cell").is_in(kept)), f"{shown} of {counts.height:,} cells"


def one_panel(
    kind: Kind, part: pl.DataFrame, frame: pl.DataFrame, look: Look, width: float = SINGLE
) -> tuple[Figure, Axes, Marks]:
    """Draw one panel alone on a clear ground, on the axes that all of the frame have; ``width`` in mm."""
    with settings():
        height = (kind.height(part) + 4.0) * MM
        made = Figure(
            figsize=(width * MM, height), layout=ConstrainedLayoutEngine(w_pad=0.04, h_pad=0.03), facecolor="none"
        )
        axes = made.add_subplot(facecolor="none")
        marks = kind.panel(axes, part, frame, look)
        _lay_out(made)
        fit(made)
        _settle(made)
    return made, axes, marks


def _across(kind: Kind, parts: Parts, column: str) -> int:
    """Panels side by side: as many as a page takes, rows of a cell as even as they can be."""
    if kind.wide:
        return 1
    number = max(Counter(_groups(kind, parts)).values())
    most = 2 if column == "single" else 4 if number > 3 else 3
    pair = 1 if kind.alike else 2
    down = -(-number // most)
    return min(most, -(-number // (down * pair)) * pair)


def legend(kind: Kind, frame: pl.DataFrame, look: Look) -> list[Artist]:
    """What the marks mean: methods, where colours are methods, and then the figure's own."""
    found: list[Artist] = []
    if kind.methods:
        for name in look.methods:
            if (frame["method"] == name).any():
                style = look.style(name)
                found.append(
                    Line2D([], [], color=style.colour, linestyle=style.dash, marker=style.marker, markersize=3.5,
                           linewidth=1.2, label=legible(name))
                )  # fmt: skip
    return found + [_handle(text, how) for text, how in kind.legend(frame)]


def swatches(kind: Kind, frame: pl.DataFrame, look: Look) -> list[tuple[str, Figure]]:
    """Draw each mark of the legend alone, to stand beside its words."""
    found = []
    for handle in legend(kind, frame, look):
        with settings():
            made = Figure(figsize=(7.2 * MM, 3.6 * MM), facecolor="none")
            made.legend(handles=[handle], labels=[""], loc="center left", borderpad=0.0, borderaxespad=0.0)
        found.append((str(handle.get_label()), made))
    return found


def _handle(text: str, how: Mapping[str, Any]) -> Artist:
    if "facecolor" in how:
        return Patch(label=text, **{"edgecolor": INK, "linewidth": 0.3, **how})
    return Line2D([], [], label=text, **{"color": INK, "linewidth": 1.0, **how})


def positions(axes: Axes, marks: Marks) -> tuple[list[float], list[float]]:
    """Where marks lie in a saved SVG, in its units, from the left and from the top; blank ones are left out."""
    made = axes.figure
    points = axes.transData.transform(np.column_stack([marks.x, marks.y]))
    scale = 72.0 / made.dpi
    height = made.get_size_inches()[1] * 72.0  # type: ignore[union-attr]
    return [float(x * scale) for x in points[:, 0]], [float(height - y * scale) for y in points[:, 1]]
