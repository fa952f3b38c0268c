"""Files of people's own data: delimited text, Parquet, Stata and workbooks, each read into the same kind of cells."""

from __future__ import annotations

from pathlib import Path

from simtrial.errors import DataError
from simtrial.files.formats.source import Content, Labels, Source
from simtrial.files.formats.workbook import BOOKS, sheet_of

__all__ = ["KINDS", "Content", "Labels", "Source", "open_file"]

TEXT = (".csv", ".tsv", ".tab", ".txt")
KINDS = (*TEXT, ".parquet", ".dta", *BOOKS)
"""Endings of the files that can be read."""


def open_file(file: Path) -> Source:
    """Open a data file by the ending of its name; ``book.xlsx#Sheet2`` is one sheet of a workbook.

    Raises
    ------
    DataError
        When there is no such file, or it is none of the kinds that can be read.
    """
    stored, _ = sheet_of(file)
    ending = stored.suffix.lower()
    if stored.is_dir():
        raise DataError(f"{file}: is a folder; give the files in it, e.g. {file}/*.csv")
    if ending not in KINDS:
        advice = "; save the sheet of a workbook as CSV and give that file" if ending == ".numbers" else ""
        raise DataError(f"{file}: unknown kind of file '{file.suffix}' (allowed: .csv, .parquet, .dta, .xlsx){advice}")
    if not stored.is_file():
        raise DataError(f"{stored}: no such file")
    if ending in BOOKS:
        from simtrial.files.formats.workbook import workbook_source as source
    elif ending == ".parquet":
        from simtrial.files.formats.parquet_file import parquet_source as source
    elif ending == ".dta":
        from simtrial.files.formats.stata_file import stata_source as source
    else:
        from simtrial.files.formats.text_file import text_source as source
    return source(file)
