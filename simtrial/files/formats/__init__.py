"""Files of people's own data: delimited text, Parquet and Stata, each read into the same kind of cells."""

from __future__ import annotations

from pathlib import Path

from simtrial.errors import DataError
from simtrial.files.formats.source import Content, Labels, Source

__all__ = ["KINDS", "Content", "Labels", "Source", "open_file"]

TEXT = (".csv", ".tsv", ".tab", ".txt")
KINDS = (*TEXT, ".parquet", ".dta")
"""Endings of the files that can be read."""

BOOKS = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers")


def open_file(file: Path) -> Source:
    """Open a data file by the ending of its name.

    Raises
    ------
    DataError
        When there is no such file, or it is none of the kinds that can be read.
    """
    ending = file.suffix.lower()
    if file.is_dir():
        raise DataError(f"{file}: is a folder; give the files in it, e.g. {file}/*.csv")
    if ending not in KINDS:
        advice = "; save the sheet of a workbook as CSV and give that file" if ending in BOOKS else ""
        raise DataError(f"{file}: unknown kind of file '{file.suffix}' (allowed: .csv, .parquet, .dta){advice}")
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    if ending == ".parquet":
        from simtrial.files.formats.parquet_file import parquet_source as source
    elif ending == ".dta":
        from simtrial.files.formats.stata_file import stata_source as source
    else:
        from simtrial.files.formats.text_file import text_source as source
    return source(file)
