"""A column of several files as numbers or as categories: which of the two, and which values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from shlex import quote

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simtrial.errors import DataError
from simtrial.files.formats import Content, Labels
from simtrial.files.formats.cells import alike, as_numbers, as_text, in_order, merged, number
from simtrial.files.formats.decimals import PARTED
from simtrial.files.formats.source import shown
from simtrial.files.trials.column_use import Use


@dataclass(frozen=True)
class Place:
    """A file, and the line of each row."""

    file: Path
    unit: str
    numbers: pl.Series

    def at(self, row: int) -> str:
        """Name the line of a row."""
        return f"{self.file}{self.unit}{self.numbers[row]}"

    def every(self) -> pl.Series:
        """Say it of every row."""
        numbers = self.numbers.alias("n").to_frame()
        return numbers.select(pl.lit(f"{self.file}{self.unit}") + pl.col("n").cast(pl.String)).to_series()


@dataclass(frozen=True)
class Pieces:
    """One column as each of several files has it."""

    name: str
    contents: Sequence[Content]
    where: Sequence[Place]

    @property
    def cells(self) -> list[pl.Series]:
        """Cells by file."""
        return [content.frame[self.name] for content in self.contents]

    @cached_property
    def labels(self) -> list[Labels | None]:
        """Value labels by file, None where there are none."""
        return [content.labels.get(self.name) for content in self.contents]

    @cached_property
    def named(self) -> bool:
        """Whether codes have words for labels, every code that occurs: then they are names rather than numbers."""
        found = [_words(c, labels) for c, labels in zip(self.cells, self.labels, strict=True) if labels is not None]
        return any(found)

    @cached_property
    def numbers(self) -> list[pl.Series]:
        """Numbers by file, null if missing."""
        return [as_numbers(cells) for cells in self.cells]

    @cached_property
    def text(self) -> pl.Series:
        """Text of all cells: the label of a labelled code."""
        found = []
        for cells, labels in zip(self.cells, self.labels, strict=True):
            text = as_text(cells)
            found.append(text.replace(words_of(labels)) if labels is not None else text)
        return pl.concat(found)

    @property
    def count(self) -> int:
        """Cells that are not blank."""
        return sum(cells.count() for cells in self.cells)

    def first(self, wrong: Sequence[pl.Series]) -> tuple[str, str] | None:
        """Place and text of the first cell for which one of ``wrong`` (by file) holds."""
        for cells, bad, where in zip(self.cells, wrong, self.where, strict=True):
            rows = bad.fill_null(False).arg_true()
            if len(rows):
                return where.at(rows[0]), shown(cells[rows[0]])
        return None


def words_of(labels: Labels) -> dict[str, str]:
    """Label by the text of its code; none where two codes have one label."""
    return {} if labels.twice is not None else {as_text(pl.Series([c]))[0]: word for c, word in labels.of_code.items()}


def _words(codes: pl.Series, labels: Labels) -> bool:
    """Whether every code that occurs has a label, and the labels are words rather than numbers."""
    if labels.twice is not None:
        return True
    occurring = set(codes.cast(pl.Float64).drop_nulls().unique())
    words = [word for code, word in labels.of_code.items() if code in occurring]
    return bool(occurring) and occurring <= set(labels.of_code) and all(number(word) is None for word in words)


def wants_categories(pieces: Pieces, use: Use) -> bool:
    """Decide whether a column is categories.

    It is where the user says so, and where its cells are words. A labelled column of Stata is where every code that
    occurs has a word for a label, unless numbers are wanted of it: an outcome or an arm, a mean by practice, a
    comparison with a number.
    """
    name = pieces.name
    if use.category(name):
        return True
    if use.number(name) or not pieces.count:
        return False
    if pieces.named or (name in use.compared_with_text and any(pieces.labels)):
        _refuse_twice(pieces)
        return not _numbers_are_wanted(pieces, use)
    if any(found.count() for found in pieces.numbers):
        return False
    parted = pieces.first([c.cast(pl.String).str.contains(PARTED) for c in pieces.cells])
    if parted is not None:
        raise _no_number(name, *parted)
    return True


def _refuse_twice(pieces: Pieces) -> None:
    for labels, where in zip(pieces.labels, pieces.where, strict=True):
        if labels is not None and labels.twice is not None:
            raise DataError(
                f"{where.file}: column '{pieces.name}': the label '{labels.twice}' stands for two codes; --factor "
                f"{pieces.name} takes the codes as categories, --number {pieces.name} as numbers"
            )


def _numbers_are_wanted(pieces: Pieces, use: Use) -> bool:
    """Whether to read a labelled column as its codes."""
    name = pieces.name
    if name in use.compared_with_text or not (name in use.compared_with_number or name in use.averaged):
        return False
    codes = {code for labels in pieces.labels if labels is not None for code in labels.of_code}
    if not codes <= {0.0, 1.0}:
        words = ", ".join(
            f"'{shown(word)}'" for labels in pieces.labels if labels is not None for word in labels.of_code.values()
        )
        raise DataError(
            f"{pieces.where[0].file}: column '{name}' is labelled ({words}) and used as a number; --number {name} "
            f"takes its codes, --factor {name} its labels"
        )
    return True


def numbers_of(pieces: Pieces) -> NDArray[np.float64]:
    """Values of a numeric column (rows,), NaN where blank; other cells are rejected."""
    wrong = [cells.is_not_null() & found.is_null() for cells, found in zip(pieces.cells, pieces.numbers, strict=True)]
    first = pieces.first(wrong)
    if first is not None:
        raise _no_number(pieces.name, *first)
    return np.asarray(pl.concat(pieces.numbers).fill_null(np.nan).to_numpy(), dtype=np.float64)


def _no_number(name: str, place: str, cell: str) -> DataError:
    marks = bool(pl.Series([cell]).str.contains(PARTED)[0])
    advice = "; write decimals with a point, and no mark between thousands, unit or %" if marks else ""
    if not any(c.isdigit() for c in cell):
        words = "Control=0, Intervention=1" if name == "arm" else f"{cell}=0, OTHER=1"
        advice += f"; --map {quote(f'{name}=COLUMN: {words}')} turns words into numbers"
        advice += f"; --missing {quote(cell)} would take such cells as missing"
    return DataError(f"{place}: column '{name}' must hold numbers (blank or NA if missing); '{cell}' given{advice}")


def categories_of(pieces: Pieces, use: Use) -> tuple[str, ...]:
    """Categories that occur, the reference first.

    Their order is that of the methods file or scenario; else that of the data where these have one (codes of Stata's
    labels, Parquet's enumerations); else numbers by size and words by the alphabet. The order of rows has no say.
    """
    name = pieces.name
    found = pieces.text.unique().drop_nulls().to_list()
    same = alike(found)
    if same is not None:
        raise DataError(
            f"{pieces.where[0].file}: categories '{same[0]}' and '{same[1]}' of '{name}' are one number written in two "
            "ways; write it in one way"
        )
    if name in use.orders:
        order = list(use.orders[name])
        _refuse_others(pieces, order, use)
    else:
        order = _order_of_data(pieces) or []
    listed = [label for label in order if label in set(found)]
    return (*listed, *in_order([label for label in found if label not in set(listed)]))


def _order_of_data(pieces: Pieces) -> list[str] | None:
    orders: list[Sequence[str]] = []
    for content, labels in zip(pieces.contents, pieces.labels, strict=True):
        if labels is not None:
            codes, words = content.frame[pieces.name].unique().drop_nulls().sort(), words_of(labels)
            orders.append([words.get(code, code) for code in as_text(codes)])
        elif pieces.name in content.orders:
            orders.append(content.orders[pieces.name])
        elif content.frame[pieces.name].count():
            return None
    return merged(orders)


def _refuse_others(pieces: Pieces, order: Sequence[str], use: Use) -> None:
    if pieces.name not in use.closed:
        return
    start = 0
    for cells, where in zip(pieces.cells, pieces.where, strict=True):
        text = pieces.text.slice(start, len(cells))
        start += len(cells)
        rows = (~text.is_in(list(order))).fill_null(False).arg_true()
        if len(rows):
            raise DataError(
                f"{where.at(rows[0])}: '{shown(text[rows[0]])}' is none of the categories of '{pieces.name}' "
                f"in the methods file ({', '.join(order)})"
            )


def codes_of(pieces: Pieces, categories: Sequence[str]) -> NDArray[np.int64]:
    """Code of each row's category (rows,), -1 where blank."""
    codes = {label: code for code, label in enumerate(categories)}
    found = pieces.text.replace_strict(codes, default=None, return_dtype=pl.Int64).fill_null(-1)
    return np.asarray(found.to_numpy(), dtype=np.int64)
