"""All errors of a file at once, in a statistician's terms, with file and line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from simtrial.errors import nearest

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Problem:
    """One error: its path in the file (keys and list positions), and its message; ``unknown``: a name nobody knows."""

    path: Path
    message: str
    unknown: str = ""


_BOUNDS = {"greater_than": ("gt", ">"), "greater_than_equal": ("ge", ">="), "less_than": ("lt", "<"),
           "less_than_equal": ("le", "<=")}  # fmt: skip
_TYPES = {
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "list_type": "a list in square brackets",
    "finite_number": "a finite number",
}
_TABLES = ("dict_type", "model_type")


def from_pydantic(error: ValidationError, model: type[BaseModel], path: Path) -> list[Problem]:
    """Translate every error of a validation."""
    return [_problem(dict(item), model, path) for item in error.errors(include_url=False)]


def _problem(item: dict[str, Any], model: type[BaseModel], path: Path) -> Problem:
    loc: Path = tuple(item["loc"])
    kind, given, context = item["type"], item.get("input"), item.get("ctx", {})
    name = str(loc[-1]) if loc else ""
    model, rest = _table(model, loc)
    fields = {spelled.alias or key: spelled for key, spelled in model.model_fields.items()}
    field = fields.get(str(rest[0])) if rest else None
    meaning = f" ({field.description})" if field is not None and field.description else ""
    if kind == "extra_forbidden":
        names = list(fields)
        close = nearest(name, names)
        hint = f"; did you mean '{close}'?" if close else ""
        message = f"unknown key '{name}'{hint} (allowed: {', '.join(names)})"
        return Problem((*path, *loc), message, unknown=name)
    elif kind == "missing":
        message = f"missing key '{name}'{meaning}"
    elif kind in _BOUNDS:
        key, sign = _BOUNDS[kind]
        message = f"{name} must be {sign} {context[key]:g}; {given!r} given{meaning}"
    elif kind == "literal_error":
        one_of = "one of " if " or " in context["expected"] else ""
        message = f"{name} must be {one_of}{context['expected']}; {given!r} given{_close(given, context['expected'])}"
    elif kind == "string_pattern_mismatch":
        message = f"{name} has a form that is not allowed; {given!r} given{meaning}"
    elif kind in _TYPES or kind in _TABLES:
        wanted = _written((*path, *loc)) if kind in _TABLES else _TYPES[kind]
        message = f"{name or key_name(path[-1:])} must be {wanted}; {short(given)} given{meaning}"
        if kind == "list_type" and isinstance(given, dict):
            message += '; write a path with dots in quotes: "mechanism.practices.number" = [...]'
    elif kind == "value_error":
        message = (f"{name}: " if name else "") + str(context["error"])
        blamed = getattr(context["error"], "key", "")
        loc = loc or ((blamed,) if blamed else ())
    else:
        message = f"{name}: {item['msg']}; {given!r} given{meaning}"
    return Problem((*path, *loc), message)


def _table(model: type[BaseModel], loc: Path) -> tuple[type[BaseModel], Path]:
    """Model of the innermost table on the way to a key, and what is left of the way."""
    while len(loc) > 1 and (field := model.model_fields.get(str(loc[0]))) is not None:
        inner = field.annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        model, loc = inner, loc[1:]
    return model, loc


def _written(path: Path) -> str:
    """How a table is written, where it has a header of its own rather than being a value in braces or one of a list."""
    if path == ("vary",):
        return 'tables, written [vary.cross] or [vary.zip], or [vary] with table = "grid.csv"'
    own = len(path) <= 3 and all(isinstance(key, str) for key in path)
    return f"a table, written [{key_name(path)}]" if own else "a table"


def short(given: Any, most: int = 60) -> str:
    """A value in at most so many letters, as far as it is the value itself that is wrong."""
    text = repr(given)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _close(given: Any, expected: str) -> str:
    close = nearest(str(given), re.findall(r"'([^']*)'", expected))
    return f"; did you mean '{close}'?" if close else ""


def depth(data: Any, path: Path) -> int:
    """Number of leading keys of a path that exist in nested tables and lists."""
    for at, key in enumerate(path):
        if isinstance(data, Mapping) and key in data:
            data = data[key]
        elif isinstance(data, Sequence) and isinstance(key, int) and key < len(data):
            data = data[key]
        else:
            return at
    return len(path)


def key_name(path: Path) -> str:
    """Spell a path as a user would write it: mechanism.outcomes.mansa.icc, methods[2].kind."""
    text = ""
    for key in path:
        text += f"[{key + 1}]" if isinstance(key, int) else f".{key}" if text else key
    return text
