"""The decimal mark of a file, and rejection of ambiguous numbers."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from simtrial.errors import DataError

_POWER = r"([eE][+-]?\d+)?$"
COMMA = r"^[+-]?\d*,\d+" + _POWER
POINT = r"^[+-]?\d*\.\d+" + _POWER
MARKED = r"^[+-]?\d[\d.,]*" + _POWER + r"|^[+-]?[.,]\d+" + _POWER
THOUSANDS = r"^[+-]?[1-9]\d{0,2}[.,]\d{3}$"

PARTED = r"^[+\-\u2212]?[.,]?\d[\d.,'\u2019 \u00a0\u202f\u2009]*([eE][+-]?\d+)?\s?%?$"
"""Digits with marks or spaces among them, a printed minus sign, a share in %: numbers to the eye alone."""


def with_points(frame: pl.DataFrame, places: pl.Series, file: Path) -> pl.DataFrame:
    """Turn decimal commas into points, in the columns of text that hold numbers.

    Raises
    ------
    DataError
        When the file has decimal commas and decimal points, or when every comma may as well part thousands.
    """
    columns = [name for name in frame.columns if _numeric(frame[name])]
    commas = _cells(frame, places, columns, COMMA)
    points = _cells(frame, places, columns, POINT)
    if not commas.height:
        _refuse_point_thousands(frame, points, columns, file)
        return frame
    if points.height:
        (first, here), (other, there) = commas.row(0), points.row(0)
        raise DataError(
            f"{file}: numbers with a comma ('{first}', line {here}) and with a point ('{other}', line {there}); write "
            "decimals in one way and no mark between thousands"
        )
    if commas["cell"].str.contains(THOUSANDS).all():
        raise _two_meanings(file, *commas.row(0))
    cell = pl.col(columns)
    return frame.with_columns(pl.when(cell.str.contains(COMMA)).then(cell.str.replace(",", ".")).otherwise(cell))


def _refuse_point_thousands(frame: pl.DataFrame, points: pl.DataFrame, columns: list[str], file: Path) -> None:
    """Reject points that may separate thousands: no other point in the file, and whole numbers in the column."""
    if not points.height or not points["cell"].str.contains(THOUSANDS).all():
        return
    for name in columns:
        whole = frame[name].drop_nulls().str.contains(r"^[+-]?\d{1,3}$")
        if whole.any() and not whole.all():
            raise _two_meanings(file, *points.row(0))


def _two_meanings(file: Path, cell: str, line: int) -> DataError:
    bare = cell.replace(",", ".")
    return DataError(
        f"{file}:{line}: '{cell}' may be {bare} or {bare.replace('.', '')}; write decimals with a point and no mark "
        "between thousands"
    )


def _numeric(text: pl.Series) -> bool:
    """Whether at least half of the cells are digits with marks."""
    return bool(text.len()) and 2 * int(text.str.contains(MARKED).sum() or 0) >= text.count()


def _cells(frame: pl.DataFrame, places: pl.Series, columns: list[str], pattern: str) -> pl.DataFrame:
    """Cells that follow a pattern, and their lines."""
    found = [
        pl.DataFrame({"cell": frame[name], "line": places}).filter(frame[name].str.contains(pattern).fill_null(False))
        for name in columns
    ]
    return pl.concat(found) if found else pl.DataFrame(schema={"cell": pl.String, "line": pl.Int64})
