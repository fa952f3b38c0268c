"""The user's words for our values: `arm=group: Control=0, Intervention=1` names a column and maps its values."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from simtrial.errors import DataError, nearest
from simtrial.files.formats.cells import as_text, number
from simtrial.files.formats.source import BLANKS, Labels, shown
from simtrial.files.trials.column_values import Place, words_of

GRAMMAR = "arm=group: Control=0, Intervention=1 (names or values with , : or = in double quotes)"

_PART = re.compile(r'\s*("(?:[^"]|"")*"|[^",:=]*)\s*([,:=]|$)')
"""A name or value, quoted where it holds a separator, and the separator after it."""


@dataclass(frozen=True)
class Mapped:
    """A column under our name: theirs, and where ``values`` says so our value of each of theirs, blank: missing."""

    ours: str
    column: str
    values: Mapping[str, str] = field(default_factory=dict)


def mapped(text: str, columns: Collection[str]) -> Mapped:
    """Read NAME=COLUMN, or NAME=COLUMN: THEIRS=OURS, ...; a column of a file may itself be called so.

    Raises
    ------
    DataError
        When the text is neither.
    """
    ours, equals, rest = text.partition("=")
    ours = ours.strip()
    if not (ours and equals and rest.strip()):
        raise DataError(f"--map takes name=yours, e.g. --map practice=gp_id; '{text}' given")
    if ":" not in rest or rest.strip() in columns:
        return Mapped(ours, rest.strip())
    column, values = _parts(text, rest)
    return Mapped(ours, column, values)


def _parts(text: str, rest: str) -> tuple[str, dict[str, str]]:
    """The column, and the pairs after its colon."""
    words, at = [], 0
    while True:
        found = _PART.match(rest, at)
        if found is None:
            raise DataError(f"--map {text}: quotes that do not match; the form is --map '{GRAMMAR}'")
        words.append((_unquoted(found[1]), found[2]))
        at = found.end()
        if not found[2]:
            break
    (column, mark), *pairs = words
    marks = "".join(mark for _, mark in pairs)
    if mark != ":" or not column or not re.fullmatch("(=,)*=", marks):
        raise DataError(f"--map {text}: after the column pairs THEIRS=OURS are wanted: --map '{GRAMMAR}'")
    theirs, new = [word for word, _ in pairs[::2]], [word for word, _ in pairs[1::2]]
    if "" in theirs:
        raise DataError(f"--map {text}: blank cells are missing and cannot be mapped; leave the pair out")
    twice = next((word for word in theirs if theirs.count(word) > 1), None)
    if twice is not None:
        raise DataError(f"--map {text}: the value '{twice}' is mapped twice")
    return column, dict(zip(theirs, new, strict=True))


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def recoded(cells: pl.Series, labels: Labels | None, way: Mapped, where: Place) -> tuple[pl.Series, frozenset[str]]:
    """Our values of a column's cells, blanks left; also which of the user's values occur.

    A value is a number in any spelling, or a word; of a labelled column its label or its code.

    Raises
    ------
    DataError
        When a cell has a value that the map lacks.
    """
    text = as_text(cells)
    known = {_spelled(theirs): (theirs, new) for theirs, new in way.values.items()}
    words = words_of(labels) if labels is not None else {}
    of: dict[str, str] = {}
    for cell in text.unique().drop_nulls():
        hit = known.get(_spelled(cell)) or known.get(_spelled(words.get(cell, cell)))
        if hit is None:
            row = int((text == cell).fill_null(False).arg_true()[0])
            raise DataError(f"{where.at(row)}: {_lacks(way, words.get(cell, cell))}")
        of[cell] = hit[0]
    new = {cell: way.values[theirs] for cell, theirs in of.items()}
    found = text.replace_strict(new, default=None, return_dtype=pl.String)
    blank = found.is_in(list(BLANKS)).fill_null(True)
    return found.set(blank, None), frozenset(of.values())


def _lacks(way: Mapped, cell: str) -> str:
    listed = ", ".join(f"'{value}'" for value in way.values)
    close = nearest(cell, way.values)
    hint = f"; is it '{close}'?" if close else ""
    return f"column '{way.column}' ({way.ours}) is '{shown(cell)}', which --map does not map (mapped: {listed}){hint}"


def _spelled(text: str) -> str:
    value = number(text.strip())
    return f"{value.normalize():f}" if value is not None else text.strip()


def unused(ways: Sequence[Mapped], occurring: Mapping[str, Collection[str]]) -> list[str]:
    """Say which mapped values occur in no file."""
    return [
        f"--map {way.ours}={way.column}: no cell is '{value}'"
        for way in ways
        for value in way.values
        if way.ours in occurring and value not in occurring[way.ours]
    ]
