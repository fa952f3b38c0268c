"""A data file: the names of its columns, and the cells of requested ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_lowercase

import polars as pl

from simtrial.errors import DataError

BLANKS = ("", "NA", "NaN", "nan", "NAN", ".", *(f".{c}" for c in ascii_lowercase), "NULL", "null", "N/A", "#N/A")
"""Texts that stand for a missing value: R's, Stata's with its extended ones, a spreadsheet's, a database's."""


@dataclass(frozen=True)
class Labels:
    """Value labels of a numeric column: code -> label, in the order of the codes.

    ``twice`` is a label that stands for two codes, None when every label is of one.
    """

    of_code: Mapping[float, str]
    twice: str | None = None


@dataclass(frozen=True)
class Content:
    """Cells of some columns of a file, rows without any value left out.

    Attributes
    ----------
    frame
        One column per name asked for: Int64, UInt64, Float64 or String; a blank is null.
    places
        Where each row stands in the file (rows,), in the words of ``unit``.
    labels
        Value labels of numeric columns (Stata).
    orders
        Categories of text columns that have an order of their own (Parquet's enumerations).
    """

    frame: pl.DataFrame
    places: pl.Series
    labels: Mapping[str, Labels] = field(default_factory=dict)
    orders: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A file that was opened: its column names, and how to read some of them.

    ``unit`` stands between the file's name and the number of a row in a message: ``:`` for lines of text. ``other``
    names columns of values that are neither numbers nor words.
    """

    file: Path
    names: Sequence[str]
    cells: Callable[[Sequence[int]], Content]
    unit: str = ": row "
    other: frozenset[str] = frozenset()

    @property
    def columns(self) -> list[str]:
        """Names of the columns that have one, each once."""
        return [*dict.fromkeys(name for name in self.names if name)]

    def read(self, wanted: Sequence[str]) -> Content:
        """Read the columns of some names; other columns may hold anything.

        Raises
        ------
        DataError
            When two columns have a name that is wanted.
        """
        twice = [name for name in wanted if self.names.count(name) > 1]
        if twice:
            raise DataError(f"{self.file}: two columns are named '{twice[0]}'; rename or delete one of them")
        content = self.cells([self.names.index(name) for name in wanted])
        if not content.frame.height:
            raise DataError(f"{self.file}: no rows")
        return content


def shown(cell: object, most: int = 60) -> str:
    """Return a cell or name as one line of a message."""
    text = " ".join(str(cell).split())
    return text if len(text) <= most else f"{text[: most - 3]}..."


def stripped(names: Sequence[object]) -> list[str]:
    """Return column names without spaces around them."""
    return [str(name).strip().strip("\ufeff").strip() for name in names]


def blanked(text: pl.Expr) -> pl.Expr:
    """Return text cells without spaces around them, blanks as nulls."""
    bare = text.str.strip_chars()
    return pl.when(bare.is_in(BLANKS)).then(None).otherwise(bare)


@contextmanager
def reading(file: Path, kind: str) -> Iterator[None]:
    """Turn any exception of a third-party reader into one message about the file.

    A reader written in another language may panic, which is an exception beside `Exception` and writes to stderr.
    """
    try:
        yield
    except (DataError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[0].strip() if lines else type(error).__name__
        raise DataError(f"{file}: cannot be read as {kind} ({reason[:200]})") from None


@contextmanager
def silent() -> Iterator[None]:
    """Hide stderr output of native code from the user; the exception has the message."""
    saved = None
    with suppress(OSError):
        saved = os.dup(2)
    if saved is None:
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
            yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
