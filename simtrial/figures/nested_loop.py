"""Nested-loop plot: a measure of every method over all cells of a sweep, above a staircase of the factors."""

from __future__ import annotations

import numpy as np
import polars as pl
from matplotlib.axes import Axes

from simtrial.arrays import Floats
from simtrial.figures.parts.choice import Choice
from simtrial.figures.parts.kind import Kind, Marks
from simtrial.figures.parts.look import FAINT, INK, Look, legible
from simtrial.figures.parts.marks import bars, largest, line_at, numbers, span, spelled
from simtrial.figures.parts.material import WORDS, Material
from simtrial.figures.parts.measured import level, measured, one_measure

MARKED = 40
"""Cells up to which the steps of a method bear its marker."""

ERRORS = 4.0
"""Monte Carlo errors that the axis spans at least, either way: noise alone does not fill a panel."""

STEP = "factor:"
"""How the names of columns begin that hold the level of a factor."""


def prepare(material: Material, asked: Choice) -> pl.DataFrame:
    """A measure in every cell, cells in the order of nested loops: the slowest factor first."""
    material.factor(None)
    names = material.names
    if asked.factor is not None:  # named: the outermost loop
        first = material.factor(asked.factor)
        names = [first, *(name for name in names if name != first)]
    frame = measured(material, asked, [one_measure(asked, "bias", "nested-loop")])
    levels = {name: list(dict.fromkeys(level(f.get(name)) for f in material.factors.values())) for name in names}
    cells = sorted(
        (cell for cell in material.factors if cell in set(frame["cell"])),
        key=lambda cell: [levels[name].index(level(material.factors[cell].get(name))) for name in names],
    )
    place = {cell: at for at, cell in enumerate(cells)}
    steps = {
        STEP + material.short(name): [level(material.factors[cell].get(name)) for cell in frame["cell"]]
        for name in names
    }
    frame = frame.with_columns(
        frame["cell"].replace_strict(place, return_dtype=pl.Int64).alias("place"),
        *(pl.Series(name, values, dtype=pl.String) for name, values in steps.items()),
    )
    return frame.sort("place", maintain_order=True)


def panel(axes: Axes, part: pl.DataFrame, whole: pl.DataFrame, look: Look) -> Marks:
    """Draw one line per method over the cells, and the staircase below it."""
    cells = largest(whole, "place") + 1
    factors = [name for name in part.columns if name.startswith(STEP)]
    low, high = span([numbers(whole, name) for name in ("value", "reference", "mc_lower", "mc_upper")], room=0.06)
    low, high = widened(whole, low, high)
    each = (high - low) * 0.13
    axes.set(xlim=(0, cells), ylim=(low - each * (len(factors) + 0.3), high))
    drawn = [m for m in look.methods if (part["method"] == m).any()]
    for at, name in enumerate(drawn):
        rows, style = part.filter(method=name), look.style(name)
        edges, values = stairs(numbers(rows, "place"), numbers(rows, "value"))
        axes.plot(edges, values, color=style.colour, linestyle=style.dash, linewidth=1.1, label=name)
        middle = numbers(rows, "place") + (at + 1) / (len(drawn) + 1)
        limits = [np.clip(numbers(rows, end), low, high) for end in ("mc_lower", "mc_upper")]
        bars(axes, (middle, limits[0]), (middle, limits[1]), style.colour, 0.4, "intervals")
        if cells <= MARKED:
            axes.plot(middle, numbers(rows, "value"), style.marker, color=style.colour, markersize=2.6, label="")
    for value in part["reference"].drop_nulls().unique().sort():
        line_at(axes, value, True, "reference", color=FAINT, linewidth=0.6)
    line_at(axes, low, True, "edge", color=FAINT, linewidth=0.4)
    for at, factor in enumerate(factors):
        _staircase(axes, part, factor, low - each * (at + 0.95), each * 0.5)
    ticks = [t for t in axes.get_yticks() if low <= t <= high]
    axes.set_yticks(ticks)
    axes.set_xticks([])
    axes.set(
        xlabel=f"{cells} cells, ordered by the factors below the lines",
        ylabel=WORDS.get(part["measure"][0], part["measure"][0]),
    )
    texts = [f"{r['method']}: {spelled(r['value'])} (MCSE {spelled(r['mcse'], 2)}); {_levels(r, factors)}"
             for r in part.iter_rows(named=True)]  # fmt: skip
    inside = np.array([(drawn.index(name) + 1) / (len(drawn) + 1) for name in part["method"]])
    return Marks((numbers(part, "place") + inside).tolist(), numbers(part, "value").tolist(), texts=texts)


def widened(whole: pl.DataFrame, low: float, high: float) -> tuple[float, float]:
    """Ends of an axis of at least `ERRORS` Monte Carlo errors either way from the reference, or from the middle."""
    errors = numbers(whole, "mcse")
    errors = errors[np.isfinite(errors)]
    least = ERRORS * float(np.median(errors)) if len(errors) else 0.0
    references = whole["reference"].drop_nulls().to_list() or [(low + high) / 2]
    return min(low, *(r - least for r in references)), max(high, *(r + least for r in references))


def _levels(row: dict[str, object], factors: list[str]) -> str:
    return ", ".join(f"{name.removeprefix(STEP)} {row[name]}" for name in factors)


def stairs(place: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Steps of equal width, one per cell: a line through both ends of each, with a gap where a cell is left out."""
    x, y = np.column_stack([place, place + 1]).ravel(), np.repeat(values, 2)
    gaps = np.flatnonzero(np.diff(place) > 1) + 1
    return np.insert(x, 2 * gaps, np.nan), np.insert(y, 2 * gaps, np.nan)


def _staircase(axes: Axes, part: pl.DataFrame, factor: str, bottom: float, height: float) -> None:
    """Draw the level of a factor in every cell as a step, its levels written where they first stand."""
    cells = part.select("place", factor).unique(maintain_order=True)
    levels = cells[factor].unique(maintain_order=True).to_list()
    step = height / max(len(levels) - 1, 1)
    heights = np.array([bottom + step * levels.index(value) for value in cells[factor]])
    x, y = stairs(numbers(cells, "place"), heights)
    axes.plot(x, y, color=INK, linewidth=0.8, label=factor)
    words = ", ".join(legible(str(value), 12) for value in levels[:8]) + (" …" if len(levels) > 8 else "")
    title = legible(factor.removeprefix(STEP), 30)
    inside = 0.006 * (largest(cells, "place") + 1)
    axes.text(inside, bottom + height * 1.12, f"{title}: {words}", fontsize=5.0, va="bottom", color=INK)


def table(frame: pl.DataFrame) -> pl.DataFrame:
    """Values by cell, the levels of the factors in columns."""
    factors = [name for name in frame.columns if name.startswith(STEP)]
    return frame.select("estimand", *factors, "method", "measure", "value", "mcse", "n")


KIND = Kind(
    name="nested-loop",
    title="A measure over all cells (nested-loop plot)",
    about="One line per method over every cell of the sweep; thin bars are 95% Monte Carlo intervals: shorter steps "
    "than they are may be chance. The axis spans at least 4 Monte Carlo errors either way. The staircase below shows "
    "the level of each factor, the slowest on top (Rücker and Schwarzer 2014).",
    needs="performance",
    prepare=prepare,
    panel=panel,
    by=("estimand", "measure"),
    table=table,
    height=lambda part: 48.0 + 6.0 * sum(name.startswith(STEP) for name in part.columns),
    wide=True,
    mm=112.0,
    methods=True,
)
