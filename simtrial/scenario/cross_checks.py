"""What refers to something elsewhere in a file: names of methods, estimands, measures, cells and columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simtrial.errors import MANY, unknown
from simtrial.estimands import NEEDS, Estimand
from simtrial.estimands import problems as estimand_problems
from simtrial.generate import Mechanism, Variable, variables
from simtrial.generate.column_names import IF_CONTROL
from simtrial.scenario.known_columns import Known
from simtrial.scenario.problems import Path, Problem
from simtrial.scenario.tables import Expectation, Performance, Vary

Raw = Mapping[str, Any]


def cross_checks(raw: Raw, parts: Mapping[str, Any], mechanism: Mechanism | None, known: Known) -> list[Problem]:
    """Check every reference of a file.

    Parameters
    ----------
    raw
        The file. Names are taken from it, so that a method with a mistake is still there to be named.
    parts
        Checked tables and lists by name; None, or None in a list, where there is a mistake that was told already.
    mechanism, known
        The mechanism, None where it holds mistakes, and the columns an analyst will see as far as can be told.
    """
    methods, estimands = (_rows(raw, key) for key in ("methods", "estimands"))
    listed = {key: isinstance(raw.get(key, []), list) for key in ("methods", "estimands")}
    problems: list[Problem] = []
    there = {} if mechanism is None else variables(mechanism)
    for at, estimand in enumerate(parts["estimands"]):
        if estimand is not None:
            problems += _about_an_estimand(estimand, mechanism, there, known, ("estimands", at))
    names = [str(row.get("name")) for row in estimands]
    for at, row in enumerate(methods if listed["estimands"] else []):
        stated = row.get("estimand", [])
        for name in [stated] if isinstance(stated, str) else stated if isinstance(stated, list) else []:
            if isinstance(name, str) and name not in names:
                problems.append(Problem(("methods", at, "estimand"), unknown("estimand", name, set(names))))
    for name in sorted({n for n in names if names.count(n) > 1}):
        at = len(names) - 1 - names[::-1].index(name)
        problems.append(Problem(("estimands", at, "name"), f"two estimands are named '{name}'"))
    if not listed["methods"]:
        return problems
    if not methods:
        return [*problems, Problem(("methods",), "no [[methods]] table")]
    return problems + _about_methods(parts, {str(row.get("name")) for row in methods})


def _rows(raw: Raw, key: str) -> list[Raw]:
    """Tables of a list, empty ones where something else stands."""
    rows = raw.get(key, [])
    return [row if isinstance(row, dict) else {} for row in rows] if isinstance(rows, list) else []


def _about_an_estimand(
    estimand: Estimand, mechanism: Mechanism | None, there: Mapping[str, Variable], known: Known, path: Path
) -> list[Problem]:
    """Check that the columns of an estimand exist and are defined for potential outcomes."""
    problems: list[Problem] = []
    if estimand.expression is not None:
        problems = known.expression_problems(estimand.expression, (*path, NEEDS[estimand.kind]))
    if mechanism is None:
        return problems
    if estimand.response + IF_CONTROL not in there:
        message = f"no outcome '{estimand.response}' in [mechanism.outcomes]"
        problems.append(Problem((*path, "response"), message))
    if not problems:
        problems += [Problem((*path, key), message) for key, message in estimand_problems(estimand, mechanism, there)]
    return problems


def _about_methods(parts: Mapping[str, Any], methods: set[str]) -> list[Problem]:
    """Check names of methods in published results, expectations and reference; and names of measures."""
    problems: list[Problem] = []
    for at, row in enumerate(parts["published"]):
        if row is not None and row.method not in methods:
            problems.append(Problem(("published", at, "method"), unknown("method", row.method, methods)))
    for at, wanted in enumerate(parts["expect"]):
        if wanted is not None and len(problems) < MANY:  # each name is compared with every valid one
            vary: Vary | None = parts["vary"]
            levels = None if vary is None else {**vary.cross, **vary.zip}
            problems += expectation_problems(wanted, at, methods, levels)
    performance: Performance | None = parts["performance"]
    if performance is None:
        return problems
    measures = _measures()
    for at, name in enumerate(performance.measures):
        if name not in measures:
            problems.append(Problem(("performance", "measures", at), _unknown(name, measures)))
    if performance.reference and performance.reference not in methods:
        problems.append(Problem(("performance", "reference"), unknown("method", performance.reference, methods)))
    return problems


def _measures() -> set[str]:
    """Names of all that performance gives, the counts of failures and flags included."""
    from simtrial.flags import CAUSES
    from simtrial.kernels.interval_sets import KINDS
    from simtrial.performance import MEASURES, PAIRED

    counts = {"failures", *(f"flag:{name}" for name in CAUSES), *(f"ci_type:{kind}" for kind in KINDS[1:])}
    return {*MEASURES, *PAIRED, *counts}


def _unknown(name: str, measures: set[str]) -> str:
    from simtrial.performance.spoken import unknown_measure

    return unknown_measure(name, measures)


def expectation_problems(
    wanted: Expectation, at: int, methods: set[str], levels: Mapping[str, Sequence[Any]] | None
) -> list[Problem]:
    """Check that an expectation is about something that will be there; ``levels`` of varied keys, None: not known."""
    measures = _measures()
    problems: list[Problem] = []
    if wanted.method not in methods:
        problems.append(Problem(("expect", at, "method"), unknown("method", wanted.method, methods)))
    if wanted.measure not in measures:
        problems.append(Problem(("expect", at, "measure"), _unknown(wanted.measure, measures)))
    if levels is None:
        return problems
    for name, value in wanted.cell.items():
        path: Path = ("expect", at, "cell", name)
        if name not in levels:
            problems.append(Problem(path, unknown("varied key", name, levels)))
        elif value not in levels[name]:
            problems.append(Problem(path, f"{value!r} is not among the values of '{name}': {levels[name]}"))
    return problems
