"""Figures of a page: a small picture per panel, each with the points that a reader can point at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from shlex import quote

import numpy as np
import polars as pl
from markupsafe import Markup

from simtrial.errors import SimtrialError, one_line
from simtrial.figures import ORDER, kind_named, kind_names
from simtrial.figures.parts.choice import Choice
from simtrial.figures.parts.compose import fitting, one_panel, panels, positions, swatches
from simtrial.figures.parts.kind import Kind, Marks
from simtrial.figures.parts.look import Look
from simtrial.figures.parts.material import Material, panel_title
from simtrial.figures.parts.saving import as_bytes
from simtrial.report.page.inline import Glyphs, inline
from simtrial.report.page.words import Table, of_frame

SNUG = 100.0
"""Width in mm below which a wide panel is read on a telephone without scrolling."""

MOST_PANELS = 24
"""Panels of one figure."""

MOST_MISSES = 20_000
"""Confidence sets that miss the truth drawn in all zip plots together; of more, an even selection."""

MOST_POINTS = 400
"""Points of one panel."""

MOST_BYTES = 4_400_000
"""Bytes of all figures together."""

SWEEPS = ("nested-loop", "power")
"""Figures about varied factors."""

LONG = 4
"""Levels of a single factor from which on it has a nested-loop plot."""

MEASURES = {"nested-loop": ("bias", "empirical_se", "coverage")}
"""Measures of figures that show one, each on its own."""


WHY = "their bias or coverage is furthest from 0 or the nominal level in Monte Carlo errors, partly by chance"
"""Why replicates of some cells are shown and not of others."""


@dataclass(frozen=True)
class Picture:
    """One panel: its title, what a screen reader says, the drawing, and its points with the command that draws them."""

    title: str
    label: str
    svg: Markup
    marks: str
    replay: str


@dataclass(frozen=True)
class Shown:
    """One figure of a page."""

    id: str
    title: str
    short: str
    about: str
    left: str
    legend: list[tuple[str, Markup]]
    wide: bool
    snug: bool
    panels: list[Picture]
    table: Table

    @property
    def size(self) -> int:
        """Bytes of its drawings and points."""
        return sum(len(p.svg) + len(p.marks) for p in self.panels)


def pictures(material: Material) -> tuple[list[Shown], list[str], Markup]:
    """All figures that a run can have, in order, as long as the page stays small.

    Also what is left out, in words, and the letters that the figures share.
    """
    found, left, used, glyphs = [], list[str](), 0, Glyphs()
    for number, (kind, measures) in enumerate(_wanted(material)):
        try:
            one = _shown(kind, material, measures, f"f{number}", glyphs)
        except SimtrialError as error:
            left.append(f"{kind.title}: {error}")
            continue
        if used + one.size > MOST_BYTES:
            left.append(
                f"{one.title}: the page would be too large; simtrial plot {_folder(material)} {kind.name} draws it"
            )
            continue
        used += one.size
        found.append(one)
    return found, left, Markup(glyphs.written())


def _wanted(material: Material) -> Iterator[tuple[Kind, tuple[str, ...]]]:
    for name in [*ORDER, *(n for n in kind_names() if n not in ORDER)]:
        if (name in SWEEPS and not material.names) or (name == "nested-loop" and not _nested(material)):
            continue
        for measures in [(m,) for m in MEASURES[name]] if name in MEASURES else [()]:
            yield kind_named(name), measures


def _nested(material: Material) -> bool:
    """Whether there are loops to nest, or a factor of some length: of two cells the lollipops show more."""
    levels = [len({json.dumps(f.get(n)) for f in material.factors.values()}) for n in material.names]
    return len(levels) > 1 or max(levels, default=0) >= LONG


def _shown(kind: Kind, material: Material, measures: tuple[str, ...], name: str, glyphs: Glyphs) -> Shown:
    misses = MOST_MISSES // MOST_PANELS
    frame = kind.prepare(material, Choice(measures=measures, misses=misses))
    frame, left = fitting(kind, frame, MOST_PANELS)
    parts = list(panels(kind, frame))
    if not parts or not frame.height:
        raise SimtrialError("no replicate has what this figure shows")
    several = len(material.factors)
    if kind.needs == "rows" and not left and several > (cells := frame["cell"].n_unique()):
        some = "the cell that stands" if cells == 1 else f"the {cells} cells that stand"
        left = f"{some} out most of {several:,}: {WHY}"
    if kind.needs == "scenario" and several > (cells := frame["cell"].n_unique()):
        left = f"{'the first cell' if cells == 1 else f'the first {cells}'} of {several:,} cells"
    more = f" {len(parts) - MOST_PANELS} more panels are left out." if len(parts) > MOST_PANELS else ""
    if "drawn_missing" in (table := kind.table(frame)).columns:
        thinned = (table["misses_above"] + table["misses_below"] > table["drawn_missing"]).any()
        more += f" Of more than {misses} sets that miss in a panel, an even selection is drawn." if thinned else ""
    sentence = (f"Shown: {left}; simtrial plot draws others." if left else "") + more
    look = Look(material.methods, material.labels, titles=False, most=MOST_POINTS)
    drawn = [
        _picture(kind, v, p, frame, look, material, f"{name}-{at}-", glyphs)
        for at, (v, p) in enumerate(parts[:MOST_PANELS])
    ]
    keys = [
        (text, Markup(inline(as_bytes(made, "svg"), f"{name}-k{at}-", glyphs)))
        for at, (text, made) in enumerate(swatches(kind, frame, look))
    ]
    title = kind.title + (
        f": {panel_title({'measure': measures[0]}, _two(measures[0]), {}, False)}" if measures else ""
    )
    rest = f"simtrial summarise {_folder(material)} --format csv"
    return Shown(
        id=f"{kind.name}-{measures[0]}" if measures else kind.name, title=title,
        short=_short(kind, measures), about=kind.about, left=sentence,
        legend=keys, wide=kind.wide, snug=kind.wide and kind.mm < SNUG, panels=drawn,
        table=of_frame(table, title, material.labels, rest),
    )  # fmt: skip


def _short(kind: Kind, measures: tuple[str, ...]) -> str:
    """Title of a figure for the contents of the page."""
    if measures:
        words = panel_title({"measure": measures[0]}, _two(measures[0]), {}, False)
        return f"{kind.name.replace('-', ' ').capitalize()}: {words[:1].lower()}{words[1:]}"
    return kind.title.partition(" (")[0]


def _two(measure: str) -> pl.DataFrame:
    """A frame in which a measure counts as what sets panels apart, so that its name is written."""
    return pl.DataFrame({"measure": [measure, ""]})


def _picture(
    kind: Kind, values: Mapping[str, str], part: pl.DataFrame, frame: pl.DataFrame, look: Look, material: Material,
    prefix: str, glyphs: Glyphs,
) -> Picture:  # fmt: skip
    made, axes, marks = one_panel(kind, part, frame, look, kind.mm)
    svg = as_bytes(made, "svg")
    title = panel_title(values, frame, look.cells, escaped=False)
    label = f"{kind.title}. {title}. The table below has its numbers." if title else f"{kind.title}. Table below."
    cell = str(part["cell"][0]) if "cell" in part.columns and part["cell"].n_unique() == 1 else ""
    return Picture(title, label, Markup(inline(svg, prefix, glyphs)), _points(axes, marks), _replay(material, cell))


def _points(axes: object, marks: Marks) -> str:
    """Points as JSON, in whole units of the drawing; empty: none."""
    if not len(marks.x):
        return ""
    x, y = positions(axes, marks)  # type: ignore[arg-type]
    there = np.isfinite(x) & np.isfinite(y)
    chosen = np.flatnonzero(there).tolist()
    found: dict[str, list[object]] = {"x": [round(x[i]) for i in chosen], "y": [round(y[i]) for i in chosen]}
    if len(marks.replicates):
        found["r"] = [int(marks.replicates[i]) for i in chosen]
    else:
        found["t"] = [one_line(marks.texts[i]) for i in chosen]
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False)


def _folder(material: Material) -> str:
    return quote(str(material.folder))


def _replay(material: Material, cell: str) -> str:
    """Command that draws a replicate of a cell again, but for its number."""
    name = material.labels.get(cell, "")
    stated = f" --cell {quote(name)}" if name and len(material.factors) > 1 else ""
    return f"simtrial replay {_folder(material)}{stated}"
