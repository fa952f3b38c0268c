"""Scenario and methods files: found, merged, checked as a whole."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

from simtrial.catalogue import builtin_folder, builtin_names
from simtrial.errors import ScenarioError, unknown
from simtrial.estimators import Method
from simtrial.generate.allocation.allocation import Allocation
from simtrial.scenario.categories import declared
from simtrial.scenario.cells import Cell, expand, expand_one, set_path
from simtrial.scenario.grid import Grid, with_grid
from simtrial.scenario.held import hold
from simtrial.scenario.homes import HEAD_PLACE, at_home, keys
from simtrial.scenario.levels import repeated
from simtrial.scenario.lines import find_lines
from simtrial.scenario.memory import Memory
from simtrial.scenario.methods import build_methods, validated
from simtrial.scenario.primary_outcome import about
from simtrial.scenario.problems import Path, Problem, depth, key_name
from simtrial.scenario.schema import HEAD, Raw, Scenario, build
from simtrial.scenario.toml_text import read_toml

__all__ = [
    "Cell",
    "Scenario",
    "builtin_names",
    "load",
    "load_categories",
    "load_methods",
    "rebuild",
    "rebuild_cell",
    "rebuild_scenario",
]


MOST_LINES = 100
"""Problems listed of a file; of more, the number."""


@dataclass(frozen=True)
class _Source:
    """A file that was read: its name as the user knows it, its text, its tables and the grid of its sweep."""

    name: str
    text: str
    data: Raw
    grid: Grid | None = None


def load(name: str, sets: Sequence[str] = ()) -> tuple[Scenario, list[Cell]]:
    """Load a scenario by built-in name or file, with ``path=value`` settings, and expand its cells.

    Raises
    ------
    ScenarioError
        Naming every problem with file, line, key, what is allowed and the nearest valid name.
    """
    sources = _sources(name)
    settings = {dotted: (text.strip(), value) for text in sets for dotted, value in [_setting(text)]}
    scenario, cells, problems = _built(sources, settings)
    if problems or scenario is None:
        raise ScenarioError(_message(problems, sources, _blamed(problems, sources, settings)))
    return scenario, cells


Settings = Mapping[str, tuple[str, Any]]
"""Changes made by --set: as typed, and the value, by dotted path."""


def _built(sources: Sequence[_Source], settings: Settings) -> tuple[Scenario | None, list[Cell], list[Problem]]:
    """Merge the files, apply the settings, and build the scenario with its cells."""
    raw: Raw = {}
    for source in sources:
        raw = _merge(_still_apt(raw, source.data), source.data)
    raw.pop("extends", None)
    twice = repeated(raw)
    for dotted, (text, value) in settings.items():
        try:
            set_path(raw, dotted, copy.deepcopy(value))
        except KeyError:
            raise ScenarioError(f"--set {text}: lies below a value that is not a table") from None
        hold(raw, dotted, value, text)
    raw = _without_published(raw, sources)
    scenario, problems = build(raw)
    if scenario is None:
        return None, [], problems + _of_other_factors(raw, problems) + twice
    cells, problems = expand(scenario)
    return scenario, cells, problems + twice


def _of_other_factors(raw: Raw, problems: Sequence[Problem]) -> list[Problem]:
    """Problems of the factors of [vary] beside those that are no lists, where only these are wrong."""
    wrong = {p.path[1:3] for p in problems if p.path[0] == "vary" and len(p.path) > 2}
    if not all(p.path[0] == "vary" for p in problems):
        return []
    if not isinstance(raw["vary"], dict):
        return []
    sound = {
        kind: {name: values for name, values in table.items() if (kind, name) not in wrong}
        for kind, table in raw["vary"].items()
        if isinstance(table, dict)
    }
    scenario, others = build({**raw, "vary": sound})
    return others if scenario is None else expand(scenario)[1]


def _blamed(problems: Sequence[Problem], sources: Sequence[_Source], settings: Settings) -> dict[Problem, str]:
    """Place of problems that the files alone do not have: the setting of the key, or those they go away without."""
    alone = set(_built(sources, {})[2]) if settings else set(problems)
    found: dict[Problem, str] = {}
    for problem in (p for p in problems if p not in alone):
        name = ".".join(map(str, problem.path))
        here = [text for dotted, (text, _) in settings.items() if name == dotted or name.startswith(f"{dotted}.")]
        texts = here[-1:] or [
            text for dotted, (text, _) in settings.items() if _needs(problem, dotted, sources, settings)
        ]
        place = " ".join(f"--set {text}" for text in texts or [text for text, _ in settings.values()])
        found[problem] = place if name in settings else f"{place}: {key_name(problem.path)}"
    return found


def _needs(problem: Problem, dotted: str, sources: Sequence[_Source], settings: Settings) -> bool:
    """Whether a problem goes away without one of the settings."""
    try:
        return problem not in _built(sources, {k: v for k, v in settings.items() if k != dotted})[2]
    except ScenarioError:  # another setting lies below what this one makes a table
        return True


def _without_published(raw: Raw, sources: Sequence[_Source]) -> Raw:
    """Drop published results when the trials are no longer those of the file that states them."""
    child_states_them = len(sources) > 1 and "published" in sources[-1].data
    if child_states_them or sources[0].data.get("mechanism") == raw.get("mechanism"):
        return raw
    return {k: v for k, v in raw.items() if k != "published"}


def rebuild(raw: Raw) -> tuple[Scenario, list[Cell]]:
    """Build a scenario and its cells from a resolved file that was checked before, as a run directory stores it."""
    scenario = rebuild_scenario(raw)
    return scenario, expand(scenario)[0]


def rebuild_scenario(raw: Raw) -> Scenario:
    """Build a scenario without its cells from a resolved file that was checked before."""
    scenario, problems = build(raw)
    if scenario is None:
        raise ScenarioError("; ".join(p.message for p in problems))
    return scenario


def rebuild_cell(scenario: Scenario, factors: Mapping[str, Any], memory: Memory) -> Cell:
    """Build one cell of a scenario from its varied factors; ``memory`` is shared by cells of one scenario."""
    cell, problems = expand_one(scenario, factors, memory)
    if cell is None:
        raise ScenarioError("; ".join(p.message for p in problems))
    return cell


def load_methods(name: str, outcomes: Sequence[str] = ()) -> list[Method]:
    """Load the methods of a methods file ([[methods]], [allocation] and [categories] if wanted) or a scenario.

    ``outcomes`` are those of the data: methods that name none analyse the file's ``primary`` one, or else the only one.
    """
    source = _read(name)
    if "mechanism" in source.data or "extends" in source.data:
        return load(name)[0].methods
    problems = [
        Problem((k,), unknown("table", k, ("methods", "allocation", "categories")), unknown=k)
        for k in source.data
        if k not in ("methods", "allocation", "categories", *HEAD)
    ]
    primary = source.data.get("primary", outcomes[0] if len(outcomes) == 1 else "")
    if not isinstance(primary, str):
        problems.append(Problem(("primary",), "primary must be the name of an outcome"))
    problems += declared(source.data.get("categories", {}))[1]
    allocation = source.data.get("allocation", {})
    factors = allocation.get("factors", []) if isinstance(allocation, dict) else []
    stated = allocation if isinstance(allocation, dict) and "method" in allocation else None
    if stated is not None:
        problems += validated(Allocation, stated, ("allocation",))[1]
    rows = about(source.data.get("methods", []), str(primary))
    methods, found = build_methods(rows, list(factors), None, None if problems else stated, outcomes)
    problems += found
    if not methods and not problems:
        problems.append(Problem((), "no [[methods]] table"))
    if problems:
        places = {HEAD_PLACE: HEAD, "in [allocation]": keys(Allocation)}
        raise ScenarioError(_message(at_home(problems, places, whole=False), [source], {}))
    return methods


def load_categories(name: str) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """Return the categories by column that a methods file declares, and those that a scenario's trials have."""
    source = _read(name)
    if "mechanism" in source.data or "extends" in source.data:
        variables = load(name)[0].variables
        return {}, {column: v.categories for column, v in variables.items() if v.categories}
    return declared(source.data.get("categories", {}))[0], {}


def _sources(name: str) -> list[_Source]:
    """Return the file and, before it, the one it extends."""
    source = _read(name)
    base = source.data.get("extends")
    if base is None:
        return [source]
    if not isinstance(base, str):
        raise ScenarioError(f"{source.name}: extends must be the name of a scenario")
    beside = File(source.name).parent / base if File(source.name).exists() else None
    parent = _read(str(beside)) if beside is not None and beside.suffix == ".toml" else _read(base)
    if "extends" in parent.data:
        raise ScenarioError(f"{source.name}: extends '{base}', which extends another; one level is allowed")
    return [parent, source]


def _read(name: str) -> _Source:
    file = File(name)
    if name in builtin_names():
        file = builtin_folder() / f"{name}.toml"
    elif file.is_dir():
        raise ScenarioError(f"{name}: a folder; a scenario or methods file ends in .toml")
    elif not file.is_file():
        if file.suffix == ".toml" or ("/" in name and not file.suffix):
            raise ScenarioError(
                f"no file '{name}', nor a built-in scenario of that name ({', '.join(builtin_names())})"
            )
        raise ScenarioError(unknown("scenario", name, builtin_names()) + "; a file's name ends in .toml")
    shown = name if file == File(name) else f"{name}.toml"
    text, data = read_toml(file, shown)
    return _Source(shown, text, *with_grid(data, shown, file.parent))


def _still_apt(base: Raw, over: Raw) -> Raw:
    """Drop the base's tables about methods if the file has its own methods."""
    spoken = ("published", "expect") if "methods" in over else ()
    return {k: v for k, v in base.items() if k not in spoken or k in over}


def _merge(base: Raw, over: Raw) -> Raw:
    """Lay one file over another: tables are merged, everything else replaces."""
    merged = copy.deepcopy(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else copy.deepcopy(value)
    return merged


def _setting(text: str) -> tuple[str, Any]:
    """Split ``path=value``; the value is TOML, or plain text."""
    path, equals, value = text.partition("=")
    path = path.strip()
    if not equals or not path:
        raise ScenarioError(f"--set takes path=value, e.g. --set mechanism.practices.number=20; '{text}' given")
    try:
        return path, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return path, value.strip()


def _message(problems: Sequence[Problem], sources: Sequence[_Source], places: Mapping[Problem, str]) -> str:
    """One line per problem: file:line: key: message; or --set path=value: message if a setting causes it."""
    lines = [find_lines(source.text, [p.path for p in problems]) for source in sources]
    lines_by_place: list[tuple[int, int, str]] = []
    for problem in problems:
        if problem in places:
            lines_by_place.append((-len(sources), 0, f"{places[problem]}: {problem.message}"))
            continue
        at = _origin(problem.path, sources)
        grid = sources[at].grid
        if grid is not None and problem.path[:2] == ("vary", "zip"):
            line, where = grid.place(problem.path[2:])
            lines_by_place.append((-at, line, where + problem.message))
            continue
        line = lines[at][problem.path]
        name = key_name(problem.path)
        where = f"{sources[at].name}{f':{line}' if line else ''}: {f'{name}: ' if name else ''}"
        lines_by_place.append((-at, line, where + problem.message))
    every = list(dict.fromkeys(text for _, _, text in sorted(lines_by_place, key=lambda t: t[:2])))
    more = [f"and {len(every) - MOST_LINES} more"] if len(every) > MOST_LINES else []
    return "\n".join([*every[:MOST_LINES], *more])


def _origin(path: Path, sources: Sequence[_Source]) -> int:
    """Index of the last file that defines this key, or a list that contains it.

    For a missing key: the last file that contains the table.
    """
    for at, source in reversed(list(enumerate(sources))):
        reached = depth(source.data, path)
        value: Any = source.data
        for key in path[:reached]:
            value = value[key]
        if reached == len(path) or not isinstance(value, dict) or any(isinstance(k, int) for k in path[:reached]):
            return at
    depths = [depth(source.data, path) for source in sources]
    return max(at for at, found in enumerate(depths) if found == max(depths))
