"""A table of combinations for a sweep: ``[vary] table = "grid.csv"``, one row for each cell."""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simtrial.errors import ScenarioError
from simtrial.scenario.levels import same_as_before


@dataclass(frozen=True)
class Grid:
    """A grid that was read: its file, the lines of its rows, and the values of each varied key in their order."""

    file: Path
    lines: Sequence[int]
    values: dict[str, list[Any]]

    def place(self, key: Sequence[str | int]) -> tuple[int, str]:
        """Line of a key's value in a row (key and number of the row), or of the key, and how a message begins."""
        name = "".join(f"{part}: " for part in key[:1] if isinstance(part, str))
        row = next((part for part in key if isinstance(part, int)), None)
        line = 1 if row is None else self.lines[row]
        return line, f"{self.file}:{line}: {name}"


def with_grid(data: dict[str, Any], shown: str, beside: Path) -> tuple[dict[str, Any], Grid | None]:
    """A file's tables with the rows of its grid as factors that are moved together, as ``[vary.zip]`` has them.

    ``shown`` names the scenario file in messages, ``beside`` is the folder in which the grid is looked for.
    """
    vary = data.get("vary")
    if not isinstance(vary, dict) or "table" not in vary:
        return data, None
    name = vary["table"]
    if not isinstance(name, str):
        raise ScenarioError(f"{shown}: vary.table must be the name of a CSV file in quotes; {name!r} given")
    if "zip" in vary:
        raise ScenarioError(f"{shown}: vary.table and [vary.zip] both move factors together; write one of them")
    rest = {key: value for key, value in vary.items() if key != "table"}
    grid = read_grid(beside / name)
    return {**data, "vary": {**rest, "zip": grid.values}}, grid


def read_grid(file: Path) -> Grid:
    """Values of each varied key in the order of rows; a cell is a TOML value, or else text."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ScenarioError(f"{file}: not UTF-8 text; save the grid as CSV in UTF-8") from None
    except OSError as error:
        raise ScenarioError(f"{file}: cannot be read ({error.strerror}); vary.table names a file beside it") from None
    delimiter = ";" if text.partition("\n")[0].count(";") > text.partition("\n")[0].count(",") else ","
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows = [(lines.line_num, row) for row in lines if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        raise ScenarioError(f"{file}: a grid has a header of varied keys and a row for each cell")
    names = [name.strip() for name in rows[0][1]]
    twice = next((name for name in names if names.count(name) > 1 or not name), None)
    if twice is not None:
        raise ScenarioError(f"{file}:1: " + (f"two columns are called '{twice}'" if twice else "a column has no name"))
    for line, row in rows[1:]:
        if len(row) != len(names):
            raise ScenarioError(f"{file}:{line}: {len(row)} cells, and {len(names)} names in the header")
    values = {name: [_value(row[at], file, line) for line, row in rows[1:]] for at, name in enumerate(names)}
    numbers = [line for line, _ in rows[1:]]
    for at, before in same_as_before([*zip(*values.values(), strict=True)]):
        raise ScenarioError(f"{file}:{numbers[at]}: the same values as in line {numbers[before]}; leave one out")
    return Grid(file, numbers, values)


def _value(cell: str, file: Path, line: int) -> Any:
    text = cell.strip()
    if not text:
        raise ScenarioError(f"{file}:{line}: a blank cell; every row needs a value of every varied key")
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
