"""The table [categories] of a methods file: the categories of a column, the reference first."""

from __future__ import annotations

from typing import Any

from simtrial.scenario.problems import Problem


def declared(table: Any) -> tuple[dict[str, tuple[str, ...]], list[Problem]]:
    """Read the table: column -> its categories in order, and its problems."""
    if not isinstance(table, dict):
        return {}, [
            Problem(("categories",), "categories must be a table, e.g. [categories] and region = ['North', 'South']")
        ]
    found: dict[str, tuple[str, ...]] = {}
    problems = []
    for name, labels in table.items():
        words = [_word(label) for label in labels] if isinstance(labels, list) else []
        if not words or None in words:
            message = "list every category, words or whole numbers, the reference first, e.g. ['North', 'South']"
            problems.append(Problem(("categories", name), message))
        elif len(set(words)) < len(words):
            twice = next(word for word in words if words.count(word) > 1)
            problems.append(Problem(("categories", name), f"category '{twice}' is listed twice"))
        else:
            found[name] = tuple(str(word) for word in words)
    return found, problems


def _word(label: Any) -> str | None:
    """Text of a category as data spell it, None when it cannot be one."""
    if isinstance(label, bool) or not isinstance(label, (str, int, float)):
        return None
    text = str(label).strip()
    return text.removesuffix(".0") if isinstance(label, float) else text or None
