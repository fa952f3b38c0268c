"""Coverage of every method in every cell: classes of how far it is from nominal, with the number in the cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from simtrial.errors import SimtrialError
from simtrial.figures.parts.choice import Choice
from simtrial.figures.parts.kind import Kind, Marks
from simtrial.figures.parts.look import Look, legible, names
from simtrial.figures.parts.marks import spelled
from simtrial.figures.parts.material import Material
from simtrial.figures.parts.measured import measured, one_measure
from simtrial.performance.references import COVERAGES, distance, distance_class

FILLS = {
    -3: "#8c2d04", -2: "#d9713c", -1: "#f6c9a6", 0: "#e3e3e3", 1: "#bcd6ee", 2: "#5b9bd0", 3: "#08468b",
}  # fmt: skip
"""Colour of a class: orange below nominal, blue above, darker the further."""

WORDS = {
    -3: "▼▼▼ more than 5 MCSE below", -2: "▼▼ 3.5 to 5 below", -1: "▼ 2 to 3.5 below", 0: "within 2 MCSE of nominal",
    1: "▲ 2 to 3.5 above", 2: "▲▲ 3.5 to 5 above", 3: "▲▲▲ more than 5 above",
}  # fmt: skip
MOST_ROWS = 60

NARROW = 5
"""Columns from which on marks stand below the number."""


def prepare(material: Material, asked: Choice) -> pl.DataFrame:
    """Coverage by cell and method, its distance from nominal in Monte Carlo standard errors, and its class."""
    measure = one_measure(asked, "coverage", "heatmap")
    if measure not in COVERAGES:
        raise SimtrialError(f"heatmap: shows {', '.join(sorted(COVERAGES))}; '{measure}' has no nominal value")
    frame = measured(material, asked, [measure])
    some = pl.col("value").is_not_null().any().over("estimand", "method")
    frame = frame.filter(some)
    away = [distance(r["value"], r["nominal"], r["n"]) for r in frame.iter_rows(named=True)]
    labels = material.labels
    return frame.with_columns(
        distance=pl.Series(away, dtype=pl.Float64),
        distance_class=pl.Series([distance_class(a) for a in away], dtype=pl.Int64),
        label=pl.Series([labels[cell] for cell in frame["cell"]], dtype=pl.String),
    )


def panel(axes: Axes, part: pl.DataFrame, whole: pl.DataFrame, look: Look) -> Marks:
    """Draw cells as rows and methods as columns."""
    order = {name: at for at, name in enumerate(look.methods)}
    pairs = part.select("method", "estimand").unique(maintain_order=True).rows()
    columns = sorted(pairs, key=lambda pair: order.get(pair[0], len(order)))
    cells = part["cell"].unique(maintain_order=True).to_list()[:MOST_ROWS]
    size = min(5.5, 40.0 / max(len(columns), 1) + 2.5)
    marks: list[tuple[float, float, str]] = []
    for row in part.filter(pl.col("cell").is_in(cells)).iter_rows(named=True):
        x, y, kind = columns.index((row["method"], row["estimand"])), cells.index(row["cell"]), row["distance_class"]
        fill = "#ffffff" if kind is None else FILLS[kind]
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=fill, edgecolor="#ffffff", linewidth=0.8))
        axes.text(
            x,
            y,
            written(row["value"], kind, len(columns) > NARROW),
            ha="center",
            va="center",
            fontsize=size,
            color=ink_on(fill),
        )
        marks.append((x, y, _pointed_at(row)))
    axes.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(cells) - 0.5, -0.5))
    if len(columns) > NARROW:
        axes.set_xticks(range(len(columns)), one_line_each(columns), rotation=90)
    else:
        axes.set_xticks(range(len(columns)), names(columns, 28), rotation=40, ha="left", rotation_mode="anchor")
    if part["cell"].n_unique() > len(cells):
        axes.set_xlabel(f"the first {len(cells)} of {part['cell'].n_unique():,} cells", loc="left")
    labels = dict(zip(part["cell"], part["label"], strict=True))
    axes.set_yticks(range(len(cells)), [legible(labels[c], 48) if whole["cell"].n_unique() > 1 else "" for c in cells])
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    for side in axes.spines.values():
        side.set_visible(False)
    return Marks([m[0] for m in marks], [m[1] for m in marks], texts=[m[2] for m in marks])


def written(value: float | None, kind: int | None, below: bool = False) -> str:
    """Coverage in percent with one decimal, and beside or below it a mark for each class below or above."""
    if value is None or kind is None:
        return "-"
    signs = "▲" * kind if kind > 0 else "▼" * -kind
    return f"{100 * value:.1f}" + ("\n" if below and signs else "") + signs


def one_line_each(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Names of methods, with the estimand behind where a method has several."""
    times = Counter(method for method, _ in pairs)
    return [legible(f"{m} → {e}" if times[m] > 1 else m, 44) for m, e in pairs]


def _height(part: pl.DataFrame) -> float:
    """Room for the rows, and for the names above them."""
    pairs = part.select("method", "estimand").unique(maintain_order=True).rows()
    above = max(len(name) for name in one_line_each(pairs)) * 1.05 + 6.0 if len(pairs) > NARROW else 26.0
    return above + 5.0 * min(part["cell"].n_unique(), MOST_ROWS)


def _pointed_at(row: dict[str, object]) -> str:
    value, away = row["value"], row["distance"]
    if value is None or away is None:
        return f"{row['method']}, {row['label']}: no intervals"
    share, far = 100 * float(str(value)), spelled(float(str(away)), 2)
    return f"{row['method']}, {row['label']}: {share:.1f}%, {far} MCSE from nominal"


def ink_on(fill: str) -> str:
    """Black or white, whichever is read more easily on a colour (contrast by WCAG 2)."""
    return "#ffffff" if contrast(fill, "#ffffff") > contrast(fill, "#000000") else "#000000"


def contrast(one: str, other: str) -> float:
    """Contrast of two colours by WCAG 2: (L1 + 0.05) / (L2 + 0.05), L the relative luminance."""
    bright, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def table(frame: pl.DataFrame) -> pl.DataFrame:
    """Coverage, its error, and its distance from nominal."""
    return frame.select("estimand", "cell", "method", "value", "mcse", "n", "nominal", "distance")


KIND = Kind(
    name="heatmap",
    title="Coverage by cell and method",
    about="Coverage in percent. Grey: within 2 Monte Carlo standard errors of nominal, no evidence against it. Colours "
    "and triangles are classes of 2, 3.5 and 5 standard errors: orange and ▼ below, blue and ▲ above.",
    needs="performance",
    prepare=prepare,
    panel=panel,
    by=(),
    table=table,
    height=_height,
    wide=True,
    mm=112.0,
    legend=lambda frame: [
        (text, {"facecolor": FILLS[kind]}) for kind, text in WORDS.items() if (frame["distance_class"] == kind).any()
    ],
)
