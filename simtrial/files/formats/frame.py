"""Data frames in memory, read as the files that they would be written to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.errors import DataError
from simtrial.files.formats.parquet_file import fits, plain
from simtrial.files.formats.source import Content, Source, stripped


def frame_source(frame: Any, name: str) -> Source:
    """Open a frame of polars or pandas; messages call it ``name``.

    Raises
    ------
    DataError
        When it is neither.
    """
    data = _polars(frame, name)
    file, there = Path(name), data.columns

    def cells(positions: Sequence[int]) -> Content:
        """Read columns by their places."""
        chosen = [there[at] for at in positions]
        for column in (column for column in chosen if not fits(data.schema[column])):
            kind = str(data.schema[column]).lower()
            raise DataError(f"{file}: column '{column}' holds values of type {kind}; numbers or words are needed")
        read = data.select(plain(data[column]).alias(column.strip()) for column in chosen)
        kinds = {column.strip(): data.schema[column] for column in chosen}
        orders = {column: kind.categories.to_list() for column, kind in kinds.items() if isinstance(kind, pl.Enum)}
        rows = pl.int_range(1, read.height + 1, dtype=pl.Int64, eager=True)
        some = ~read.select(pl.all_horizontal(pl.all().is_null())).to_series()
        return Content(read.filter(some), rows.filter(some), orders=orders)

    other = frozenset(column.strip() for column in there if not fits(data.schema[column]))
    return Source(file, stripped(there), cells, other=other)


def _polars(frame: Any, name: str) -> pl.DataFrame:
    """The frame as one of polars."""
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if isinstance(frame, pl.DataFrame):
        return frame
    if type(frame).__module__.split(".")[0] == "pandas" and hasattr(frame, "columns"):
        return pl.DataFrame([_series(str(column), frame[column], name) for column in frame.columns])
    raise DataError(f"{name}: a data frame of polars or pandas is needed; {type(frame).__name__} given")


def _series(column: str, values: Any, name: str) -> pl.Series:
    """A column of pandas; ordered categories stay in their order."""
    absent = values.isna().tolist()
    cells = [None if lacks else value for value, lacks in zip(values.tolist(), absent, strict=True)]
    if values.dtype == "category":
        return pl.Series(column, map(_word, cells), dtype=pl.Enum([str(c) for c in values.cat.categories]))
    try:
        return pl.Series(column, cells, strict=True)
    except (TypeError, pl.exceptions.PolarsError):
        raise DataError(f"{name}: column '{column}' mixes numbers and words; write all cells in one way") from None


def _word(cell: Any) -> str | None:
    return None if cell is None else str(cell)
