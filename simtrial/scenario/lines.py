"""Where in a TOML text each key stands, found in one pass over its statements."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from typing import Any

from simtrial.scenario.problems import Path

_TEXTS = r'"""(?:\\.|[^\\])*?"""|\'\'\'.*?\'\'\'|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|#[^\n]*'
TEXTS = re.compile(_TEXTS, re.DOTALL)
"""Texts and comments, which may hold anything."""

_PIECES = re.compile(_TEXTS + r"|[\[{]|[\]}]|\n", re.DOTALL)
"""Beside them brackets, within which a statement goes on, and ends of lines."""


def find_lines(text: str, paths: Iterable[Path]) -> dict[Path, int]:
    """Line of each path in a valid TOML text, or of the closest table that holds it; 0 where there is none.

    A key's line is the last one of its statement.
    """
    known = _lines(text)
    found = {}
    for path in paths:
        ends = (path[:length] for length in range(len(path), 0, -1))
        found[path] = next((known[part] for part in ends if part in known), 0)
    return found


def _lines(text: str) -> dict[Path, int]:
    """Line of every table and key."""
    lines: dict[Path, int] = {}
    tables: dict[Path, int] = {}  # how many tables each list of tables has so far
    place: Path = ()
    for line, statement in _statements(text):
        if statement.startswith("["):
            place = _header(statement, tables)
            for length in range(1, len(place) + 1):
                lines.setdefault(place[:length], line)
        else:
            for path in _paths(tomllib.loads(statement)):
                lines.setdefault(place + path, line)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Statements with their last lines; blank lines and comments are none."""
    begun, depth, line = 0, 0, 1
    for piece in _PIECES.finditer(text):
        found = piece[0]
        if found == "\n":
            if not depth and (statement := text[begun : piece.start()].strip()) and not statement.startswith("#"):
                yield line, statement
            if not depth:
                begun = piece.end()
            line += 1
        elif found in "[{":
            depth += 1
        elif found in "]}":
            depth -= 1
        else:
            line += found.count("\n")
    statement = text[begun:].strip()
    if statement and not statement.startswith("#"):
        yield line, statement


def _header(statement: str, tables: dict[Path, int]) -> Path:
    """Path of the table that a header opens; a table in a list bears its number."""
    keys, value = [], tomllib.loads(statement)
    listed = statement.startswith("[[")
    while value:
        ((key, value),) = value.items()
        keys.append(key)
        if isinstance(value, list):
            value = value[0]
    place: Path = ()
    for at, key in enumerate(keys):
        place += (key,)
        if listed and at == len(keys) - 1:
            tables[place] = tables.get(place, 0) + 1
        if place in tables:
            place += (tables[place] - 1,)
    return place


def _paths(value: Any) -> Iterator[Path]:
    """Every path in nested tables and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (key,)
        yield from ((key, *rest) for rest in _paths(inner))
