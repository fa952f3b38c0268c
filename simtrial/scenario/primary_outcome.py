"""The primary outcome: what methods and estimands are about that name none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from simtrial.errors import unknown
from simtrial.generate.column_names import FOLLOWUP
from simtrial.scenario.known_columns import Known
from simtrial.scenario.problems import Problem

_OPEN = "outcome"


def measured(columns: Iterable[str]) -> list[str]:
    """Outcomes that have a value at follow-up, in the order of their columns."""
    return [name.removesuffix(FOLLOWUP) for name in columns if name.endswith(FOLLOWUP)]


def primary_outcome(stated: Any, known: Known) -> tuple[str, list[Problem]]:
    """The outcome that a file states, or else the only one there is; empty where there are several.

    Of a mechanism with mistakes that leave its outcomes open, a name that stands for whatever they will be.
    """
    outcomes = measured(known.columns)
    if not isinstance(stated, str) or not stated:
        return _OPEN if known.more else outcomes[0] if len(outcomes) == 1 else "", []
    if stated in outcomes or known.more:
        return stated, []
    return stated, [Problem(("primary",), unknown("outcome", stated, outcomes))]


def about(rows: Any, primary: str) -> Any:
    """Tables of methods or estimands, those that name no response with the primary outcome."""
    if not isinstance(rows, list) or not primary:
        return rows
    return [{"response": primary, **row} if isinstance(row, dict) else row for row in rows]


def unstated(outcomes: Iterable[str]) -> str:
    """Message for a method or an estimand of which the outcome cannot be told."""
    listed = ", ".join(outcomes)
    none = "no column ends in _followup (--map NAME_followup=yours renames one)"
    there = f"the outcomes are {listed}: " if listed else f"{none}: "
    return f"missing key 'response': {there}name one here, or for the whole file as primary = \"...\" above its tables"
