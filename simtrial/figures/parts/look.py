"""Looks of figures: colours, dashes and markers that are told apart by everybody and in grey, sizes of journals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

import matplotlib
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from simtrial.errors import one_line

SINGLE, DOUBLE = 85.0, 170.0
"""Widths of a column and of a page of a journal in mm."""

MM = 1 / 25.4
INK, FAINT, BAND, GROUND = "#1b1b1b", "#767676", "#d9d9d9", "#fefefe"
MISS, COVER = "#b3400e", "#8c9bab"


class Style(NamedTuple):
    """Colour, dash and marker of a method."""

    colour: str
    dash: Any
    marker: str


COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7a7a7a")
"""Okabe and Ito's colours without yellow and black."""

DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.2, 1.2)), (0, (5, 1.5, 1.2, 1.5)), (0, (8, 2, 2, 2, 2, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")

FAMILY = "simtrial"
"""Name under which matplotlib's own copy of DejaVu Sans is entered: fonts of the system never take its place."""

RC: dict[str, Any] = {
    "font.family": [FAMILY], "font.size": 7.0, "axes.titlesize": 7.0, "axes.labelsize": 7.0, "xtick.labelsize": 6.0,
    "ytick.labelsize": 6.0, "legend.fontsize": 6.5, "axes.linewidth": 0.6, "xtick.major.width": 0.6,
    "ytick.major.width": 0.6, "xtick.major.size": 2.5, "ytick.major.size": 2.5, "axes.spines.top": False,
    "axes.spines.right": False, "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "text.color": INK, "text.parse_math": False, "axes.unicode_minus": True, "axes.formatter.use_mathtext": False,
    "svg.hashsalt": "simtrial", "svg.fonttype": "path", "pdf.fonttype": 42, "path.simplify": False,
    "axes.formatter.useoffset": False, "figure.dpi": 100, "savefig.dpi": 300, "legend.frameon": False,
    "legend.handlelength": 2.6, "axes.titlelocation": "left", "axes.titlepad": 3.0, "axes.grid": False,
}  # fmt: skip


@dataclass(frozen=True)
class Look:
    """How a figure looks: styles of methods in their order, short names of cells.

    ``titles``: whether panels bear them; ``most``: points drawn in a panel, of more an even selection and the extremes.
    """

    methods: Sequence[str]
    cells: Mapping[str, str] = field(default_factory=dict)
    titles: bool = True
    most: int = 1000

    def style(self, method: str) -> Style:
        """Style of a method by its place in the scenario."""
        at = self.methods.index(method) if method in self.methods else len(self.methods)
        return Style(COLOURS[at % len(COLOURS)], DASHES[at % len(DASHES)], MARKERS[at % len(MARKERS)])


@cache
def bundled_fonts() -> tuple[Path, ...]:
    """Files of DejaVu Sans that come with matplotlib, entered under `FAMILY`."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    files = {"normal": folder / "DejaVuSans.ttf", "bold": folder / "DejaVuSans-Bold.ttf"}
    for weight, file in files.items():
        entry = font_manager.FontEntry(
            fname=str(file), name=FAMILY, weight=700 if weight == "bold" else 400, size="scalable"
        )
        font_manager.fontManager.ttflist.append(entry)
    return tuple(files.values())


def settings() -> Any:
    """Context in which figures are made and saved: nothing of the user's own settings of matplotlib applies."""
    bundled_fonts()
    plain: dict[Any, Any] = {
        name: value for name, value in matplotlib.rcParamsDefault.items() if not name.startswith("backend")
    }
    return matplotlib.rc_context(plain | RC)


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(FT2Font(str(bundled_fonts()[0])).get_charmap())


def legible(text: str, most: int = 60) -> str:
    """Text on one line of at most so many letters, in which what the font lacks or would turn the line is escaped.

    Letters are left out in the middle, for names often differ in their ends.
    """
    flat = "".join(c if ord(c) in _glyphs() else one_line(c.encode("unicode_escape").decode()) for c in one_line(text))
    if len(flat) <= most:
        return flat
    end = (most - 1) // 2
    return f"{flat[: most - 1 - end].rstrip()}…{flat[-end:].lstrip()}"


def folded(text: str, width: int, lines: int = 2) -> str:
    """Text on at most so many lines of about so many letters, broken at blanks where there are any."""
    most = width * lines
    while len(found := wrap(legible(text, most), width)) > lines:
        most -= 1
    return "\n".join(found)


def names(pairs: Sequence[tuple[str, str]], width: int = 23) -> list[str]:
    """Names of methods on two lines, with the estimand on a third where a method has several."""
    times = Counter(method for method, _ in pairs)
    return [
        folded(method, width) + (f"\n→ {legible(estimand, width)}" if times[method] > 1 else "")
        for method, estimand in pairs
    ]
