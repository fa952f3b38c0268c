"""Cells of a sweep: every combination of the varied factors, each with its scenario."""

from __future__ import annotations

import copy
import gc
import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

from simtrial.errors import SimtrialError, unknown
from simtrial.scenario.memory import Memory
from simtrial.scenario.problems import Path, Problem
from simtrial.scenario.schema import Raw, Scenario, build
from simtrial.scenario.tables import Vary

MOST_CELLS = 20_000
"""Cells of a sweep; each is a scenario in memory."""


@dataclass(frozen=True)
class Cell:
    """One combination of varied factors: its id, the address of its random streams, its factors and its scenario."""

    id: str
    key: str
    factors: Mapping[str, Any]
    scenario: Scenario

    @property
    def label(self) -> str:
        """Its name in output: its factors, or its id without a sweep."""
        return label(self.factors) or self.id


def label(factors: Mapping[str, Any]) -> str:
    """Short description of a cell: the shortest distinct end of each varied key, and its value."""
    names = short_names(factors)
    return ", ".join(f"{names[name]}={value}" for name, value in factors.items())


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Shortest ending of each dotted key that no other one has: icc, or baseline.icc beside mansa.icc."""
    every = [name.split(".") for name in names]
    found = {}
    for parts in every:
        for length in range(1, len(parts) + 1):
            if sum(other[-length:] == parts[-length:] for other in every) == 1:
                break
        found[".".join(parts)] = ".".join(parts[-length:])
    return found


def file_names(cells: Sequence[Cell]) -> dict[str, str]:
    """Name of every cell for files, by id: its factors in letters that any disk takes; empty where nothing is varied.

    Where two would be alike, or a name too long, the id ends it.
    """
    found = {c.id: re.sub(r"[^A-Za-z0-9.=+-]+", "_", c.label).strip("_.") if c.factors else "" for c in cells}
    lower = [name.lower() for name in found.values()]  # some disks do not tell capitals from small letters
    plain = {i: n for i, n in found.items() if len(n) <= LONGEST and lower.count(n.lower()) == 1}
    return {i: plain.get(i, f"{n[: LONGEST - 13]}-{i}") for i, n in found.items()}


LONGEST = 100
"""Letters of a cell's name in a file name."""


def named_cell(cells: Sequence[Cell], name: str | None) -> Cell:
    """Cell by name: its factors in any order (0.10 is 0.1), the name in files, or its id; default: the first."""
    if name is None:
        return cells[0]
    files = file_names(cells)
    parts = _factors(name)
    for cell in cells:
        if (name and name in (cell.id, cell.label, files[cell.id])) or parts == _factors(cell.label):
            return cell
    raise SimtrialError(unknown("cell", name, [cell.label for cell in cells]))


def _factors(label: str) -> list[str]:
    """Factors of a cell's name in one order and without spaces, numbers in one spelling."""
    return sorted("=".join(_spelled(side) for side in part.split("=")) for part in label.split(","))


def _spelled(text: str) -> str:
    """A number as Python writes it, true and false in small letters, anything else as it is."""
    text = text.strip()
    try:
        return repr(float(text))
    except ValueError:
        return text.lower() if text.lower() in ("true", "false") else text


def set_path(raw: Raw, dotted: str, value: Any) -> None:
    """Set a dotted path in nested tables, making tables on the way."""
    *parents, last = dotted.split(".")
    table = raw
    for key in parents:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise KeyError(dotted)
    table[last] = value


def file_stem(cells: Sequence[Cell], chosen: Cell) -> str:
    """What names of files about a cell begin with: the scenario's name and, in a sweep, the cell's."""
    short = file_names(cells)[chosen.id]
    return f"{chosen.scenario.name}-{short}" if short else chosen.scenario.name


def with_value(table: Mapping[str, Any], keys: Sequence[str], value: Any) -> dict[str, Any]:
    """A table with one value set, tables made on the way; what lies beside the way is shared and not copied."""
    if len(keys) == 1:
        return {**table, keys[0]: value}
    inner = table.get(keys[0], {})
    if not isinstance(inner, dict):
        raise KeyError(".".join(keys))
    return {**table, keys[0]: with_value(inner, keys[1:], value)}


def expand(scenario: Scenario) -> tuple[list[Cell], list[Problem]]:
    """Expand [vary] into cells and check every one of them.

    A cell is identified by the factors whose value differs from the scenario's own, so reordering levels, or adding a
    factor that contains the present value, leaves the numbers of existing cells as they are.
    """
    rows, problems = combinations(scenario.vary)
    cells: dict[str, Cell] = {}
    memory = Memory()
    stated = {_key(problem) for problem in problems}
    with _uncollected():
        for place, factors in rows:
            cell, found = expand_one(scenario, factors, memory, place)
            if cell is not None:
                other = cells.setdefault(cell.id, cell)
                found += [] if other.factors == factors else [_alike(other, cell)]
            for problem in found:  # of a wrong value that several rows have, the first
                if _key(problem) not in stated:
                    stated.add(_key(problem))
                    problems.append(problem)
    return list(cells.values()), problems


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the collector of circular garbage, of which cells make none, from going through thousands of them again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _key(problem: Problem) -> tuple[Path, str]:
    """What makes two problems one: the same said of a factor, in whatever row."""
    return problem.path[:3] if problem.path[0] == "vary" else problem.path, problem.message


def _alike(one: Cell, other: Cell) -> Problem:
    """Problem of two combinations that are written in two ways and mean the same trials."""
    return Problem(("vary",), f"cells '{one.label}' and '{label(other.factors)}' are the same; leave one out")


Row = tuple[int, dict[str, Any]]
"""A combination of factors, and the place in [vary.zip] of those that are moved together, 0 without any."""


def combinations(vary: Vary) -> tuple[list[Row], list[Problem]]:
    """Every combination of factors that is not excluded."""
    problems: list[Problem] = []
    both = sorted(set(vary.cross) & set(vary.zip))
    problems += [Problem(("vary", "zip", name), f"'{name}' is varied in [vary.cross] as well") for name in both]
    lengths = {len(values) for values in vary.zip.values()}
    if len(lengths) > 1:
        sizes = ", ".join(f"{name} has {len(v)}" for name, v in vary.zip.items())
        problems.append(Problem(("vary", "zip"), f"factors varied together must have equal numbers of values: {sizes}"))
        return [], problems
    cells = prod(len(values) for values in vary.cross.values()) * (min(lengths) if lengths else 1)
    if cells > MOST_CELLS:
        return [], [
            *problems,
            Problem(("vary",), f"{cells:,} cells; at most {MOST_CELLS:,} are allowed"),
        ]
    together = [dict(zip(vary.zip, row, strict=True)) for row in zip(*vary.zip.values(), strict=True)] or [{}]
    crossed = [dict(zip(vary.cross, row, strict=True)) for row in itertools.product(*vary.cross.values())]
    rows = [(at, {**a, **b}) for at, b in enumerate(together) for a in crossed]
    names = {*vary.cross, *vary.zip}
    for at, rule in enumerate(vary.exclude):
        for name in rule:
            if name not in names:
                problems.append(Problem(("vary", "exclude", at), f"'{name}' is not varied"))
    kept = [row for row in rows if not _excluded(row[1], vary)]
    if not kept and not problems:
        problems.append(Problem(("vary", "exclude"), "every combination is excluded"))
    return kept, problems


def _excluded(factors: Mapping[str, Any], vary: Vary) -> bool:
    """Whether a rule excludes a combination."""
    return any(rule and all(factors.get(k) == v for k, v in rule.items()) for rule in vary.exclude)


def expand_one(
    scenario: Scenario, factors: Mapping[str, Any], memory: Memory, at: int = 0
) -> tuple[Cell | None, list[Problem]]:
    """Cell of a combination; what its file shares with the scenario's is the same object, built once.

    ``at`` is the place in [vary.zip] of the factors that are moved together.
    """
    raw = {k: v for k, v in scenario.raw.items() if k not in ("vary", "expect")}
    where = {name: _where(scenario, name) for name in factors}
    problems = [
        Problem(
            where[name], f"'{name}' cannot be varied: write a key of the mechanism, e.g. mechanism.practices.number"
        )
        for name in factors
        if not name.startswith(("mechanism.", "design."))
    ]
    if problems:
        return None, problems
    for name, value in factors.items():
        try:
            raw = with_value(raw, name.split("."), copy.deepcopy(value))
        except KeyError:
            return None, [Problem(where[name], f"'{name}' lies below a value that is not a table")]
    made, found = build(raw, memory)
    if made is None:
        blame = [p for p in found if ".".join(map(str, p.path)) in factors] or found
        exactly = {name: (*path, at) if path[1] == "zip" else path for name, path in where.items()}
        return None, [Problem(_blamed(p, exactly), p.message) for p in blame]
    changed = {n: value_at(made, n) for n in factors if value_at(scenario, n) != value_at(made, n)}
    text = json.dumps(changed, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode()).hexdigest()[:12] if changed else "base"
    key = "" if scenario.run.streams == "common" or not changed else text
    return Cell(digest, key, factors, made), []


def _where(scenario: Scenario, name: str) -> Path:
    return ("vary", "cross" if name in scenario.vary.cross else "zip", name)


def _blamed(problem: Problem, where: Mapping[str, Path]) -> Path:
    dotted = ".".join(map(str, problem.path))
    return next((path for name, path in where.items() if dotted == name or name.startswith(f"{dotted}.")), problem.path)


def value_at(scenario: Scenario, dotted: str) -> Any:
    """Value of a mechanism or design key in a checked scenario, defaults included."""
    keys = dotted.split(".")[1:]
    if dotted.startswith("design."):
        return scenario.design.model_dump().get(keys[0]) if scenario.design else None
    stage = ".".join(keys[:2]) if keys[0] == "outcomes" else keys[0]
    keys = keys[2:] if keys[0] == "outcomes" else keys[1:]
    value: Any = scenario.mechanism[stage].model_dump() if stage in scenario.mechanism else {}
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
