"""Marks of figures: many dots or bars as one broken line, reference lines, axes that small multiples share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from simtrial.arrays import Floats
from simtrial.figures.parts.look import GROUND, INK


def numbers(frame: pl.DataFrame, name: str) -> Floats:
    """A column as floats, NaN where it is blank."""
    return frame[name].cast(pl.Float64).fill_null(np.nan).to_numpy()


def mean_of(frame: pl.DataFrame, name: str) -> float:
    """Mean of a column, NaN without values."""
    values = numbers(frame, name)
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")


def largest(frame: pl.DataFrame, name: str) -> int:
    """Largest number of a column of whole numbers, 0 without any."""
    values = frame[name].drop_nulls().to_numpy()
    return int(values.max()) if len(values) else 0


def broken(starts: Floats, ends: Floats) -> Floats:
    """Starts and ends in turns with a gap after each pair, so that one line draws them all."""
    return np.column_stack([starts, ends, np.full(len(starts), np.nan)]).ravel()


def bars(axes: Axes, start: tuple[Floats, Floats], end: tuple[Floats, Floats], colour: str, width: float,
         label: str) -> None:  # fmt: skip
    """Draw straight bars from points to points as one line broken by NaN."""
    x, y = (broken(a, b) for a, b in zip(start, end, strict=True))
    axes.plot(x, y, color=colour, linewidth=width, solid_capstyle="butt", label=label, snap=False)


def dots(axes: Axes, x: Floats, y: Floats, colour: str, size: float, label: str) -> None:
    """Draw round dots as one line of very short pieces with round ends: a file of thousands stays small.

    The limits of x must be set.
    """
    low, high = axes.get_xlim()
    short = (high - low) * 2e-4
    axes.plot(broken(x - short, x + short), broken(y, y), color=colour, linewidth=size, solid_capstyle="round",
              label=label, snap=False)  # fmt: skip


def line_at(axes: Axes, value: float | None, across: bool, label: str, **how: Any) -> None:
    """Draw a reference line, across or upright; none where there is no value."""
    if value is None or not np.isfinite(value):
        return
    style = {"color": INK, "linewidth": 0.8, "zorder": 1.5, "label": label, **how}
    (axes.axhline if across else axes.axvline)(value, **style)


def note_in(axes: Axes, text: str, low: bool = False) -> None:
    """Write a few words into the upper right corner of a panel, or into the lower one, on a light ground."""
    ground = {"facecolor": GROUND, "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
    axes.text(0.99, 0.015 if low else 0.985, text, transform=axes.transAxes, ha="right", va="bottom" if low else "top",
              fontsize=5.5, color=INK, zorder=5, bbox=ground)  # fmt: skip


def span(values: Sequence[Floats], tail: float = 0.0, room: float = 0.04) -> tuple[float, float]:
    """Ends of an axis for some values, a share of ``tail`` of either end left out, with room beside them."""
    every = np.concatenate([np.asarray(v, dtype=np.float64).ravel() for v in values] or [np.zeros(0)])
    every = every[np.isfinite(every)]
    if not len(every):
        return 0.0, 1.0
    low, high = (float(q) for q in np.quantile(every, [tail, 1 - tail]))
    beside = (high - low) * room or abs(high) * 0.1 or 0.5
    return low - beside, high + beside


def fenced(values: Sequence[Floats], far: float = 1.5, room: float = 0.04) -> tuple[float, float]:
    """Ends of an axis that a few wild values do not stretch: the central 98%, and ``far`` times its width beside it."""
    every = np.concatenate([np.asarray(v, dtype=np.float64).ravel() for v in values])
    every = every[np.isfinite(every)]
    if not len(every):
        return 0.0, 1.0
    low, high = (float(q) for q in np.quantile(every, [0.01, 0.99]))
    beyond = far * (high - low)
    return span([np.clip(every, low - beyond, high + beyond)], room=room)


def outside(axes: Axes, x: Floats, y: Floats, colour: str) -> int:
    """Mark points above or below the axes by triangles at their edge; return how many there are."""
    low, high = axes.get_ylim()
    for beyond, edge, marker in ((y > high, high, "^"), (y < low, low, "v")):
        if beyond.any():
            axes.plot(x[beyond], np.full(int(beyond.sum()), edge), marker, color=colour, markersize=3.5, clip_on=False,
                      label="beyond the axis", zorder=4)  # fmt: skip
    return int(((y > high) | (y < low)).sum())


def spelled(value: float | None, digits: int = 3) -> str:
    """A number in a few digits for a label; a dash where there is none."""
    return "-" if value is None or not np.isfinite(value) else f"{value:.{digits}g}"
