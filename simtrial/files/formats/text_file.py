"""Delimited text as people export it: comma, semicolon, tab or bar, any usual encoding, blank lines and columns."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.errors import DataError
from simtrial.files.formats.decimals import with_points
from simtrial.files.formats.decoding import decoded
from simtrial.files.formats.source import Content, Source, blanked, reading, stripped

SEPARATORS = (",", ";", "\t", "|")
"""What may stand between cells; of those as frequent in the header the first is taken."""

_SEP_LINE = re.compile(r'"?sep=(.)"?[,;\t]*$', re.IGNORECASE)
AT_ONCE = 50_000
"""Rows of quoted text that are taken apart before they become columns."""


@dataclass(frozen=True)
class Lines:
    """Text of a file from its header on: separator, number of the header's line, and header with rows (from there)."""

    separator: str
    first: int
    text: str


def text_source(file: Path) -> Source:
    """Open a file of delimited text."""
    try:
        text = decoded(file.read_bytes(), file)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    lines = _lines(text)
    if lines is None:
        raise DataError(f"{file}: the file is empty; expected a header line, and rows below it")
    with reading(file, "CSV"):
        header, rows, numbers = _table(lines, file)
    names = stripped(header)

    def cells(positions: Sequence[int]) -> Content:
        """Read columns by their places."""
        with reading(file, "CSV"):
            bare = rows.select(blanked(pl.col(str(at))).alias(names[at]) for at in positions)
            if lines.separator != ",":
                bare = with_points(bare, numbers, file)
            some = ~bare.select(pl.all_horizontal(pl.all().is_null())).to_series()
        return Content(bare.filter(some), numbers.filter(some))

    return Source(file, names, cells, unit=":")


def _table(lines: Lines, file: Path) -> tuple[list[str], pl.DataFrame, pl.Series]:
    """Header, one column per place, and the line of each row; R's ``write.table`` leaves row names without a heading.

    They are taken for such where every row has one cell more than the header, and the first cells are all different.
    """
    apart = _quoted if '"' in lines.text else _plain
    try:
        return apart(lines, file)
    except OneCellMore as error:
        try:
            found = apart(replace(lines, text=lines.separator + lines.text), file)
        except DataError:
            raise error from None
        names = found[1]["0"]
        if len(names) < 2 or names.is_duplicated().any():  # one row alone shows no pattern
            raise error from None
        return found


def _lines(text: str) -> Lines | None:
    """Find the header: the first line that is not blank, after a spreadsheet's ``sep=;`` if there is one."""
    start, number, separator = 0, 1, ""
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        line = text[start:end]
        declared = _SEP_LINE.match(line) if not separator else None
        if declared:
            separator = declared[1]
        elif line.strip():
            return Lines(separator or _separator(line), number, text[start:])
        start, number = end + 1, number + 1
    return None


def _separator(header: str) -> str:
    outside = re.sub(r'"[^"]*"', "", header)
    return max(SEPARATORS, key=outside.count)


def _width(header: Sequence[str]) -> int:
    """Cells that every row must have: up to the last column with a name."""
    return max((at for at, name in enumerate(header, 1) if name.strip()), default=0)


class OneCellMore(DataError):
    """A row with one cell more than the header."""


def _ragged(file: Path, line: int, cells: int, header: int) -> DataError:
    message = (
        f"{file}:{line}: cannot be read as CSV: {cells} cell{'s' * (cells != 1)}, the header has {header}; a cell that "
        "holds the separator needs quotes, and blank cells at the end of a row need their separators"
    )
    if cells == header + 1:
        return OneCellMore(f"{message}; if the first cells are row names of R, write the file with row.names=FALSE")
    return DataError(message)


def _plain(lines: Lines, file: Path) -> tuple[list[str], pl.DataFrame, pl.Series]:
    """Take text without quotes apart: header, one column per place, and the line of each row."""
    separator = lines.separator
    every = pl.DataFrame({"text": lines.text.split("\n")}).with_row_index("line", lines.first)
    header = every["text"][0].split(separator)
    width, needed = len(header), _width(header)
    blank = pl.col("text").str.strip_chars(f"{separator} \t\u00a0") == ""
    rows = every[1:].filter(~blank).with_columns(cells=pl.col("text").str.count_matches(separator, literal=True) + 1)
    for line, text, cells in rows.filter((pl.col("cells") < needed) | (pl.col("cells") > width)).iter_rows():
        if cells < needed or "".join(text.split(separator)[width:]).strip():
            raise _ragged(file, line, cells, width)
    apart = pl.col("text").str.split_exact(separator, width)
    columns = rows.select(apart.struct.field(f"field_{at}").alias(str(at)) for at in range(width))
    return header, columns, rows["line"].cast(pl.Int64)


def _quoted(lines: Lines, file: Path) -> tuple[list[str], pl.DataFrame, pl.Series]:
    """Take text with quotes apart; see `_plain`."""
    reader = csv.reader(io.StringIO(lines.text), delimiter=lines.separator, skipinitialspace=True, strict=True)
    rows = _numbered(reader, lines.first, file)
    _, header = next(rows)
    width, needed = len(header), _width(header)
    frames, numbers = [], []
    schema = {str(at): pl.String for at in range(width)}
    while part := list(islice(rows, AT_ONCE)):
        fitted = []
        for line, row in part:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) < needed or (len(row) > width and "".join(row[width:]).strip()):
                raise _ragged(file, line, len(row), width)
            fitted.append((row + [""] * (width - len(row)))[:width])
            numbers.append(line)
        frames.append(pl.DataFrame(fitted, schema=schema, orient="row"))
    every = pl.concat(frames) if frames else pl.DataFrame(schema=schema)
    return header, every, pl.Series(numbers, dtype=pl.Int64)


def _numbered(reader: Any, first: int, file: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows with the number of the line each begins on."""
    while True:
        line = first + reader.line_num
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(f"{file}:{line}: cannot be read as CSV: quotes that do not match ({error})") from None
        yield line, row
