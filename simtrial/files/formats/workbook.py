"""Workbooks of a spreadsheet: one sheet of them, with its cells as they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.errors import DataError, EnvironmentFailure, extra, unknown
from simtrial.files.formats.cells import as_text
from simtrial.files.formats.source import Content, Source, blanked, reading, stripped

BOOKS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
"""Endings of workbooks that can be read."""

KIND = "a workbook"


def sheet_of(file: Path) -> tuple[Path, str]:
    """The workbook of ``file.xlsx#Sheet2`` and the name of the sheet, empty where none is named."""
    if file.exists() or "#" not in str(file):
        return file, ""
    book, _, sheet = str(file).partition("#")
    while Path(book).suffix.lower() not in BOOKS and "#" in sheet:  # a folder or file with # in its name
        more, _, sheet = sheet.partition("#")
        book = f"{book}#{more}"
    return (Path(book), sheet) if Path(book).suffix.lower() in BOOKS else (file, "")


def workbook_source(file: Path) -> Source:
    """Open one sheet of a workbook: the one that is named, or the only one that holds anything."""
    book, sheet = sheet_of(file)
    rows = _rows(file, book, sheet)
    first = next((at for at, row in enumerate(rows) if any(_text(cell) for cell in row)), None)
    if first is None:
        raise DataError(f"{file}: the sheet is empty; expected a row of column names, and rows below it")
    names = stripped([_text(cell) for cell in rows[first]])
    body = rows[first + 1 :]
    numbers = pl.Series(range(first + 2, len(rows) + 1), dtype=pl.Int64)

    def cells(positions: Sequence[int]) -> Content:
        """Read columns by their places."""
        frame = pl.DataFrame([_column(names[at], [row[at] for row in body]) for at in positions])
        some = ~frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
        return Content(frame.filter(some), numbers.filter(some))

    return Source(file, names, cells)


def _rows(file: Path, book: Path, sheet: str) -> list[list[Any]]:
    """Rows of the sheet, from its first row and column on."""
    try:
        from python_calamine import CalamineWorkbook
    except ImportError:
        advice = f"{extra('excel')}, or save the sheet as CSV"
        raise EnvironmentFailure(f"{file}: a workbook needs one more package: {advice}") from None
    with reading(file, KIND):
        opened = CalamineWorkbook.from_path(str(book))
        there = list(opened.sheet_names)
        if sheet and sheet not in there:
            raise DataError(f"{file}: {unknown('sheet', sheet, there)}")
        if sheet:
            return opened.get_sheet_by_name(sheet).to_python(skip_empty_area=False)
        filled = [name for name in there if opened.get_sheet_by_name(name).height]
        if len(filled) > 1:
            named = f"'{book.name}#{filled[0]}'"
            raise DataError(
                f"{file}: {len(filled)} sheets hold something ({', '.join(filled)}); name one, e.g. {named}"
            )
        return opened.get_sheet_by_name((filled or there)[0]).to_python(skip_empty_area=False)


def _text(cell: Any) -> str:
    """A cell as text; whole numbers without decimals, days without a time."""
    if isinstance(cell, bool):
        return "TRUE" if cell else "FALSE"
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime) and cell.time() == time(0):
        return cell.date().isoformat()
    if isinstance(cell, (date, datetime, time)):
        return cell.isoformat()
    return "" if cell is None else str(cell).strip()


def _column(name: str, values: Sequence[Any]) -> pl.Series:
    """Cells as numbers where all are numbers or blank, else as text."""
    if all(isinstance(v, (int, float)) or v is None or v == "" for v in values):
        return pl.Series(name, [None if v is None or v == "" else float(v) for v in values], dtype=pl.Float64)
    text = pl.Series(name, [_text(v) for v in values], dtype=pl.String)
    return as_text(text.to_frame().select(blanked(pl.col(name)).alias(name)).to_series())
