"""Methods of a file: options checked by their kind, columns and expressions by the columns of the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from simtrial.batch import averaged
from simtrial.errors import MANY, SimtrialError, unknown
from simtrial.estimators import Method, inherit, kinds, method_class
from simtrial.expressions import ExpressionError, columns, parse
from simtrial.generate.column_names import FOLLOWUP, at_baseline, at_followup
from simtrial.scenario.known_columns import Known
from simtrial.scenario.primary_outcome import unstated
from simtrial.scenario.problems import Path, Problem, from_pydantic

Raw = dict[str, Any]

REPLAYED_WITH = {"iv": ("ci", "randomisation")}
"""Option and value of it with which a kind replays the allocation, of those that do not always."""


def validated(model: type[BaseModel], data: Any, path: Path) -> tuple[Any, list[Problem]]:
    """Validate one table; return the record or None, and its problems."""
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        return None, from_pydantic(error, model, path)


def build_methods(
    rows: Any, factors: list[str], known: Known | None, allocation: Raw | None = None, outcomes: Sequence[str] = ()
) -> tuple[list[Method], list[Problem]]:
    """Build every method; columns ``known`` in advance (a scenario's) are held against what the methods read.

    ``allocation`` is the file's, for methods that replay it; ``outcomes`` are those a method can name, for a message.
    """
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return [], [Problem(("methods",), "methods must be written as [[methods]], one table each")]
    methods: list[Method] = []
    problems: list[Problem] = []
    for at, row in enumerate(rows):
        path: Path = ("methods", at)
        row = _with_allocation(_with_adjust(row, factors, known), allocation)
        method, found = build_method(row, path)
        problems += found
        if method is not None:
            methods.append(method)
        else:  # its other options may name columns that are not there
            wrong = {p.path[2] for p in found if len(p.path) > 2}
            method = build_method({k: v for k, v in row.items() if k not in wrong}, path)[0]
        if method is not None and FOLLOWUP in method.reads():  # of an outcome without a name
            problems.append(Problem(path, unstated(outcomes)))
        elif method is not None and known is not None:
            problems += _method_columns(method, known, path)
    names = [m.name for m in methods]
    for name in sorted({n for n in names if names.count(n) > 1}):
        problems.append(
            Problem(("methods", len(names) - 1 - names[::-1].index(name), "name"), f"two methods are named '{name}'")
        )
    return methods, problems


def _with_adjust(row: Raw, factors: list[str], known: Known | None) -> Raw:
    """Fill in the covariates of a method that names none: baseline of its response and the allocation factors."""
    if "adjust" in row:
        return row
    baseline = at_baseline(str(row.get("response", "")))
    there = baseline in known.columns if known is not None else "response" in row
    return {**row, "adjust": [*([baseline] if there else []), *factors]}


def _with_allocation(row: Raw, allocation: Raw | None) -> Raw:
    """Hand the file's allocation to a method that replays it and states none, or to the analysis inside a method."""
    if isinstance(row.get("analysis"), dict):
        row = {**row, "analysis": _with_allocation(row["analysis"], allocation)}
    model = kinds().get(str(row.get("kind")))
    if allocation is None or model is None or "allocation" in row or "allocation" not in model.model_fields:
        return row
    option, value = REPLAYED_WITH.get(str(row["kind"]), ("kind", row["kind"]))
    if row.get(option) != value:
        return row
    return {**row, "allocation": allocation}


def build_method(row: Raw, path: Path) -> tuple[Method | None, list[Problem]]:
    """Build one method, the analysis inside it first."""
    if "kind" not in row:
        return None, [Problem(path, f"missing key 'kind' (one of {', '.join(kinds())})")]
    try:
        model = method_class(str(row["kind"])).variant(row)
    except SimtrialError as error:
        return None, [Problem((*path, getattr(error, "key", "kind")), str(error))]
    row = inherit(row)
    if "analysis" in model.model_fields and isinstance(row.get("analysis"), dict):
        inner, found = build_method(row["analysis"], (*path, "analysis"))
        if inner is None:
            return None, found
        row = {**row, "analysis": inner}
    made, problems = validated(model, row, path)
    if made is not None:
        for text in dict.fromkeys(made.expressions()):
            try:
                parse(text)
            except ExpressionError as error:
                problems.append(Problem((*path, *_option(made, text)), str(error)))
    return (None if problems else made), problems


def _option(method: Method, text: str) -> Path:
    """Which option of a method, or of the analysis inside it, holds an expression."""
    for name, value in method:
        if value == text:
            return (name,)
        if isinstance(value, list) and text in value:
            return (name, value.index(text))
    inner = getattr(method, "analysis", None)
    return ("analysis", *_option(inner, text)) if isinstance(inner, Method) else ()


def _naming(method: Method, column: str) -> Path:
    """Which option of a method, or of the analysis inside it, names a column, an outcome by its response."""
    if column in (at_baseline(method.response), at_followup(method.response)):
        return ("response",)
    for name, value in method:
        for at, text in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(text, str) and column in (text, averaged(text)):
                return (name, at) if isinstance(value, list) else (name,)
    inner = getattr(method, "analysis", None)
    place = _naming(inner, column) if isinstance(inner, Method) else ()
    return ("analysis", *place) if place else ()


def _method_columns(method: Method, known: Known, path: Path) -> list[Problem]:
    """Hold what a method reads, and the expressions among its options, against the columns there will be."""
    texts = list(dict.fromkeys(method.expressions()))
    problems = []
    for name in known.missing(method.reads())[:MANY]:  # each is compared with every column there is
        place = next((_option(method, text) for text in texts if name in columns(parse(text))), _naming(method, name))
        problems.append(Problem((*path, *place), f"method '{method.name}': {unknown('column', name, known.columns)}"))
    for name in method.spec().adjust:
        inner = averaged(name)
        variable = known.columns[inner] if inner is not None and known.sure(frozenset({inner})) else None
        if variable is not None and (variable.categories or variable.level != "participant"):
            message = f"method '{method.name}': '{name}' needs a number that people of one practice differ in"
            problems.append(Problem((*path, "adjust"), message))
    tested = method.tested_covariate()
    if tested is not None and known.sure(frozenset({tested})) and len(known.columns[tested].categories) == 1:
        problems.append(Problem((*path, "interaction"), f"'{tested}' has one category only"))
    for text in texts:
        if known.sure(columns(parse(text))):  # what is not there was told above
            problems += known.expression_problems(text, (*path, *_option(method, text)))
    return problems
