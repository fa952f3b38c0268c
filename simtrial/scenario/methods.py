"""Methods of a file: options checked by their kind, columns and expressions by what there will be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from simtrial.batch import averaged
from simtrial.errors import SimtrialError, unknown
from simtrial.estimators import Method, inherit, kinds, method_class
from simtrial.expressions import ExpressionError, check, parse
from simtrial.generate import Variable
from simtrial.scenario.problems import Path, Problem, from_pydantic

Raw = dict[str, Any]


def validated(model: type[BaseModel], data: Any, path: Path) -> tuple[Any, list[Problem]]:
    """Validate one table; return the record or None, and what is wrong."""
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        return None, from_pydantic(error, model, path)


def check_expression(text: str, available: Mapping[str, Variable], path: Path) -> list[Problem]:
    """Check an expression against the columns an analyst will see."""
    try:
        check(text, {name: v.categories for name, v in available.items() if not v.latent})
    except ExpressionError as error:
        return [Problem(path, str(error))]
    return []


def build_methods(
    rows: Any, factors: list[str], columns: Mapping[str, Variable] | None, allocation: Raw | None = None
) -> tuple[list[Method], list[Problem]]:
    """Build every method; ``columns`` known in advance (a scenario's) are checked against what the methods read.

    ``allocation`` is the file's, for methods that replay it.
    """
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return [], [Problem(("methods",), "methods must be written as [[methods]], one table each")]
    methods: list[Method] = []
    problems: list[Problem] = []
    for at, row in enumerate(rows):
        method, found = build_method(_with_allocation(_with_adjust(row, factors, columns), allocation), ("methods", at))
        problems += found
        if method is not None:
            methods.append(method)
            if columns is not None:
                problems += _method_columns(method, columns, ("methods", at))
    names = [m.name for m in methods]
    for name in sorted({n for n in names if names.count(n) > 1}):
        problems.append(
            Problem(("methods", len(names) - 1 - names[::-1].index(name), "name"), f"two methods are named '{name}'")
        )
    return methods, problems


def _with_adjust(row: Raw, factors: list[str], columns: Mapping[str, Variable] | None) -> Raw:
    """Fill in the covariates of a method that names none: baseline of its response and the allocation factors."""
    if "adjust" in row:
        return row
    baseline = f"{row.get('response', 'mansa')}_baseline"
    known = columns is None or baseline in columns
    return {**row, "adjust": [*([baseline] if known else []), *factors]}


def _with_allocation(row: Raw, allocation: Raw | None) -> Raw:
    """Hand the file's allocation to a method that replays it and states none, or to the analysis inside a method."""
    if isinstance(row.get("analysis"), dict):
        row = {**row, "analysis": _with_allocation(row["analysis"], allocation)}
    model = kinds().get(str(row.get("kind")))
    if allocation is None or model is None or "allocation" in row or "allocation" not in model.model_fields:
        return row
    return {**row, "allocation": allocation}


def build_method(row: Raw, path: Path) -> tuple[Method | None, list[Problem]]:
    """Build one method, the analysis inside it first."""
    if "kind" not in row:
        return None, [Problem(path, f"missing key 'kind' (one of {', '.join(kinds())})")]
    try:
        model = method_class(str(row["kind"]))
    except SimtrialError as error:
        return None, [Problem((*path, "kind"), str(error))]
    row = inherit(row)
    if "analysis" in model.model_fields and isinstance(row.get("analysis"), dict):
        inner, found = build_method(row["analysis"], (*path, "analysis"))
        if inner is None:
            return None, found
        row = {**row, "analysis": inner}
    made, problems = validated(model, row, path)
    if made is not None:
        for text in made.expressions():
            try:
                parse(text)
            except ExpressionError as error:
                problems.append(Problem(path, str(error)))
    return (None if problems else made), problems


def _method_columns(method: Method, columns: Mapping[str, Variable], path: Path) -> list[Problem]:
    problems = [
        Problem(path, f"method '{method.name}': {unknown('column', name, columns)}")
        for name in sorted(method.reads() - set(columns))
    ]
    for name in method.spec().adjust:
        variable = columns.get(averaged(name) or "")
        if variable is not None and (variable.categories or variable.level != "participant"):
            said = f"method '{method.name}': '{name}' needs a number that people of one practice differ in"
            problems.append(Problem((*path, "adjust"), said))
    tested = method.spec().interaction
    if not problems and tested is not None and len(columns[tested].categories) == 1:
        problems.append(Problem((*path, "interaction"), f"'{tested}' has one category only"))
    if not problems:
        for text in method.expressions():
            problems += check_expression(text, columns, path)
    return problems
