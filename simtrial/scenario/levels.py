"""Levels of varied factors that are written twice."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from simtrial.scenario.problems import Problem


def repeated(raw: Mapping[str, Any]) -> list[Problem]:
    """Problems of a file that lists a level of a factor, or a row of what is moved together, a second time.

    Settings hold factors at one level, so they come after this.
    """
    vary = raw.get("vary")
    cross, together = (_lists(vary.get(key)) if isinstance(vary, dict) else {} for key in ("cross", "zip"))
    problems = [
        Problem(("vary", "cross", name), f"levels {before + 1} and {at + 1} are both {levels[at]!r}; leave one out")
        for name, levels in cross.items()
        for at, before in same_as_before(levels)
    ]
    rows = [*zip(*together.values(), strict=False)]
    return problems + [
        Problem(("vary", "zip"), f"rows {before + 1} and {at + 1} have the same values; leave one out")
        for at, before in same_as_before(rows)
    ]


def same_as_before(values: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """Places of values that are there already, each with the first place of its value."""
    first: dict[str, int] = {}
    for at, value in enumerate(values):
        before = first.setdefault(_spelled(value), at)
        if before != at:
            yield at, before


def _lists(table: Any) -> dict[str, list[Any]]:
    """Factors of a table that are lists, as they should be."""
    return {name: v for name, v in table.items() if isinstance(v, list)} if isinstance(table, dict) else {}


def _spelled(value: Any) -> str:
    """A value in one spelling: 1 and 1.0 are the same, whatever the order of keys."""
    return json.dumps(_plain(value), sort_keys=True, default=str)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    whole = isinstance(value, float) and value.is_integer()
    return int(value) if whole else value
