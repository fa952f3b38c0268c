"""What a figure is: how its frame is prepared, how a panel is drawn from it, and the table behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from simtrial.figures.parts.choice import Choice

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from simtrial.figures.parts.look import Look
    from simtrial.figures.parts.material import Material


@dataclass(frozen=True)
class Marks:
    """Points of a panel that a reader can point at, in its own coordinates, and what each is.

    Either the numbers of replicates, or a text for each.
    """

    x: Sequence[float] = ()
    y: Sequence[float] = ()
    replicates: Sequence[int] = ()
    texts: Sequence[str] = ()


Panel = Callable[["Axes", pl.DataFrame, pl.DataFrame, "Look"], Marks]
"""Draw the part of a frame that belongs to one panel, on axes as wide as the whole frame needs."""


def _itself(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


def _fifty(frame: pl.DataFrame) -> float:
    return 50.0


@dataclass(frozen=True)
class Kind:
    """A figure.

    ``needs``: rows, performance, scenario (trials are drawn again) or timings; a FILE of results has the first two.
    ``by``: columns whose values make a panel, in the order in which panels are told apart. ``height``: of a panel in
    mm. ``wide``: one panel takes the width of the page. ``legend``: what its marks mean, in words; ``methods``: whether
    colours are methods. ``alike``: panels side by side have the same vertical axis; ``names``: its
    ticks are names. ``mm``: width of a panel on a page.
    """

    name: str
    title: str
    about: str
    needs: str
    prepare: Callable[[Material, Choice], pl.DataFrame]
    panel: Panel
    by: Sequence[str]
    table: Callable[[pl.DataFrame], pl.DataFrame] = _itself
    height: Callable[[pl.DataFrame], float] = _fifty
    wide: bool = False
    methods: bool = False
    legend: Callable[[pl.DataFrame], Sequence[tuple[str, dict[str, Any]]]] = field(default=lambda frame: ())
    alike: bool = True
    names: bool = False
    mm: float = 64.0
