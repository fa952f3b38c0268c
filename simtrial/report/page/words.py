"""Tables and sentences of a page: rows of words and numbers, capped where there are many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from simtrial.errors import one_line
from simtrial.report.text import number

MOST_ROWS = 250
"""Lines of one table on a page."""


@dataclass(frozen=True)
class Table:
    """A table: the first ``words`` columns are text; ``more`` says what is left out, ``folded`` hides it at first."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    more: str = ""
    folded: str = ""


def capped(
    caption: str, headings: Sequence[str], rows: Sequence[Sequence[Any]], words: int, rest: str, folded: str = ""
) -> Table:
    """Make a table of at most `MOST_ROWS` lines; ``rest`` says where the others are."""
    shown = [[one_line(str(cell)) for cell in row] for row in rows[:MOST_ROWS]]
    more = f"{len(rows) - len(shown):,} more lines: {rest}" if len(rows) > len(shown) else ""
    names = [one_line(h) for h in headings]
    return Table(caption=caption, headings=names, rows=shown, words=words, more=more, folded=folded)


HEADINGS = {
    "mcse": "MCSE", "n": "n", "sd": "SD", "model_se": "model SE", "std_error": "SE", "own": "each trial's own",
    "lower_limit": "lower limit", "upper_limit": "upper limit", "microseconds_per_trial": "µs per trial",
    "distance": "MCSE from nominal", "implied_mcse": "its MCSE",
}  # fmt: skip


def of_frame(frame: pl.DataFrame, caption: str, labels: Mapping[str, str], rest: str) -> Table:
    """Make a table of a frame: names first, then numbers in four digits; cells by their factors."""
    columns = [
        name for name in frame.columns if not (name in ("cell", "estimand", "own", "panel") and _constant(frame[name]))
    ]
    text = [name for name in columns if frame.schema[name] in (pl.String, pl.Boolean)]
    order = text + [name for name in columns if name not in text] if text else columns
    rows = [
        [labels.get(v, v) if name == "cell" else spelled(v) for name, v in zip(order, row, strict=True)]
        for row in frame.head(MOST_ROWS).select(order).iter_rows()
    ]
    rows += [[]] * (frame.height - len(rows))
    headings = [HEADINGS.get(name, name.removeprefix("factor:").replace("_", " ")) for name in order]
    return capped(caption, headings, rows, max(len(text), 1), rest)


def _constant(column: pl.Series) -> bool:
    return column.n_unique() <= 1


def spelled(value: Any) -> str:
    """A value of a table in words or four digits."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return "-" if value != value else f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
    return str(value)


def count(value: float | None) -> str:
    """A number of replicates."""
    return number(value, 0)
