"""Published performance: a file of [[expect]] tables, every value with its own Monte Carlo error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from simtrial.errors import MANY, ScenarioError, unknown
from simtrial.scenario.cross_checks import expectation_problems
from simtrial.scenario.lines import find_lines
from simtrial.scenario.problems import Problem, from_pydantic, key_name
from simtrial.scenario.tables import Expectation
from simtrial.scenario.toml_text import read_toml

KEYS = ("title", "source", "expect")


def published_values(file: Path, scenario: Mapping[str, Any], cells: pl.DataFrame) -> list[dict[str, Any]]:
    """Read the values that a run is held against.

    Parameters
    ----------
    file
        Its ``[[expect]]`` tables are those of a scenario; each has a value and the value's own error.
    scenario
        The resolved file of the run.
    cells
        cell, factors: what was run.

    Raises
    ------
    ScenarioError
        Naming every problem with file, line and key.
    """
    text, data = read_toml(file, str(file))
    problems = [Problem((key,), unknown("key", key, KEYS)) for key in data if key not in KEYS]
    tables = data.get("expect", [])
    if not (isinstance(tables, list) and tables and all(isinstance(table, dict) for table in tables)):
        raise ScenarioError(f"{file}: no [[expect]] tables; each has measure, method, value and mcse")
    methods = {str(method["name"]) for method in scenario["methods"]}
    ran = [json.loads(factors) for factors in cells["factors"].unique(maintain_order=True)]
    for at, table in enumerate(tables):
        if len(problems) < MANY:
            problems += _problems(table, at, methods, ran)
    if problems:
        lines = find_lines(text, [problem.path for problem in problems])
        told = [f"{file}:{lines[p.path]}: {key_name(p.path)}: {p.message}" for p in problems]
        raise ScenarioError("\n".join(told))
    return tables


def _problems(table: Mapping[str, Any], at: int, methods: set[str], ran: list[dict[str, Any]]) -> list[Problem]:
    try:
        wanted = Expectation.model_validate(table)
    except ValidationError as error:
        return from_pydantic(error, Expectation, ("expect", at))
    levels: dict[str, list[Any]] = {name: [] for factors in ran for name in factors}
    for factors in ran:
        for name, value in factors.items():
            levels[name] += [value] if value not in levels[name] else []
    problems = expectation_problems(wanted, at, methods, levels)
    if wanted.value is None:
        problems.append(Problem(("expect", at), "a published result is a value, not a bound"))
    elif "mcse" not in table:
        problems.append(Problem(("expect", at), "missing key 'mcse': the value's own error (0 if it is exact)"))
    if not problems and not any(all(f.get(k) == v for k, v in wanted.cell.items()) for f in ran):
        problems.append(Problem(("expect", at, "cell"), "no cell of the run has these values together"))
    return problems
