"""Tables and sentences as wide as the terminal; numbers with their Monte Carlo errors; frames as CSV or JSON."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

from simtrial.errors import one_line, printable
from simtrial.files.formulas import harmless, harmless_frame

if TYPE_CHECKING:
    import polars as pl

LARGE = 1e9  # numbers of this size are printed with an exponent, so that one does not widen a table


def number(value: float | None, digits: int) -> str:
    """Format a number, a dash where there is none."""
    if value is None or value != value:
        return "-"
    if LARGE <= abs(value) < float("inf"):
        return f"{value:.3e}"
    text = f"{value:.{digits}f}"
    return text.replace("-", "", 1) if float(text) == 0 else text


def shown_digits(errors: Iterable[float | None], digits: int) -> int:
    """Decimals with which the largest of some errors is not shown as 0: those given, or up to four more."""
    largest = max((e for e in errors if e is not None and e == e), default=0.0)
    enough = (more for more in range(digits, digits + 5) if round(largest, more) > 0)
    return next(enough, digits)


def with_mcse(value: float | None, mcse: float | None, digits: int) -> str:
    """Format a value with its Monte Carlo standard error in parentheses, with decimals that show the error."""
    digits = shown_digits([mcse], digits)
    return number(value, digits) + ("" if mcse is None or mcse != mcse else f" ({number(mcse, digits)})")


def width() -> int | None:
    """Characters in a line where stdout is no terminal: $COLUMNS, or 120; None: as wide as the terminal is."""
    columns = os.environ.get("COLUMNS", "")
    return None if sys.stdout.isatty() else int(columns) if columns.isdigit() and int(columns) else 120


def say(text: str) -> None:
    """Print sentences, wrapped where stdout is no terminal (which wraps by itself)."""
    room = width()
    for line in printable(text).split("\n"):
        print(line if room is None else fill(line, room, break_long_words=False, break_on_hyphens=False))


def say_whole(line: str) -> None:
    """Print a line in one piece, to be copied."""
    print(one_line(line))


def show(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int = 1) -> None:
    """Print a table on stdout; the first columns are text, the others numbers.

    Where lines are too narrow (see `width`), numbers go into further tables below, each with the labels again.
    """
    from rich.console import Console
    from rich.text import Text

    title, headings = one_line(title), [one_line(heading) for heading in headings]
    rows = [[one_line(cell) for cell in row] for row in rows]
    console = Console(width=width(), highlight=False, no_color=bool(os.environ.get("NO_COLOR")) or None)
    widths = [
        max(len(h), *(len(row[at]) for row in rows), 1) + 3 if rows else len(h) + 3 for at, h in enumerate(headings)
    ]
    console.print(Text(title, style="bold"))
    for chosen in _fitting(widths, text_columns, console.width):
        some = [headings[at] for at in chosen], [[row[at] for at in chosen] for row in rows]
        plain = None if width() is None else _plain(*some, text_columns, console.width)
        if plain is not None:
            print(plain)
        else:
            console.print(_table(*some, text_columns, whole=widths[0] <= console.width // 2))


def _fitting(widths: Sequence[int], labels: int, width: int) -> list[list[int]]:
    """Sets of columns that fit the width, the label columns first in each."""
    first = list(range(labels))
    parts, used = [list(first)], sum(widths[:labels])
    for at in range(labels, len(widths)):
        if used + widths[at] > width and len(parts[-1]) > labels:
            parts.append(list(first))
            used = sum(widths[:labels])
        parts[-1].append(at)
        used += widths[at]
    return parts


def _plain(headings: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int, room: int) -> str | None:
    """The text of `_table` in a pipe, where every line fits; None where one does not.

    A library lays out three thousand lines in the time in which a sweep computes three hundred trials.
    """
    from rich.cells import cell_len

    every = [headings, *rows]
    lengths = [[len(cell) if cell.isascii() else cell_len(cell) for cell in line] for line in every]
    widths = [max(column) for column in zip(*lengths, strict=True)]
    whole = sum(widths) + 3 * (len(widths) - 1) + 2
    if whole > room:
        return None
    lines = [" " * whole]
    for line, own in zip(every, lengths, strict=True):
        gaps = [" " * (widest - length) for widest, length in zip(widths, own, strict=True)]
        cells = [c + gap if at < text_columns else gap + c for at, (c, gap) in enumerate(zip(line, gaps, strict=True))]
        lines.append(f" {'   '.join(cells)} ")
    return "\n".join([*lines[:2], f" {'─' * (whole - 2)} ", *lines[2:], lines[0]])


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], text_columns: int, whole: bool) -> Any:
    """Lay out a table; words of the first column stay ``whole``, so that keys can be searched for."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for at, heading in enumerate(headings):
        words = at < text_columns
        table.add_column(
            heading, justify="left" if words else "right", no_wrap=not words or (whole and not at), overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def emit(frame: pl.DataFrame, form: str, beside: Mapping[str, Any] | None = None) -> None:
    """Write a frame on stdout as csv or json, the latter with what belongs ``beside`` its rows."""
    import polars as pl

    if form == "csv":
        sys.stdout.write(harmless_frame(frame).write_csv())
    else:
        numbers = pl.col(pl.Float64)
        finite = frame.with_columns(pl.when(numbers.is_finite()).then(numbers).name.keep())  # JSON has no infinity
        _emit_json(finite.to_dicts(), beside)


def emit_words(headings: Sequence[str], rows: Sequence[Sequence[str]], form: str) -> None:
    """Write rows of words as `emit` does, without importing what frames need."""
    if form == "csv":
        safe = [[harmless(word) for word in row] for row in rows]
        csv.writer(sys.stdout, lineterminator="\n").writerows([headings, *safe])
    else:
        _emit_json([dict(zip(headings, row, strict=True)) for row in rows])


def _emit_json(rows: Sequence[dict[str, Any]], beside: Mapping[str, Any] | None = None) -> None:
    emit_text(json.dumps({"schema": 1, **(beside or {}), "rows": rows}, indent=1, allow_nan=False))


def emit_text(text: str) -> None:
    """Write text for machines on stdout, in which what is not printable is escaped already."""
    sys.stdout.write(text + "\n")
