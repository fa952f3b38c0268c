"""Observed columns of a mechanism, as far as known if it contains errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from simtrial.errors import unknown
from simtrial.expressions import ExpressionError, check, columns, parse
from simtrial.generate import REQUIRED, STAGES, Mechanism, Step, Variable, steps, variables
from simtrial.scenario.problems import Path, Problem


@dataclass(frozen=True)
class Known:
    """Observed columns by name.

    ``unsure``: columns of stages with mistakes, whose categories may be others. ``more``: there may be further columns,
    so that a name that is not among these says nothing.
    """

    columns: Mapping[str, Variable]
    unsure: frozenset[str] = field(default_factory=frozenset)
    more: bool = False

    def missing(self, names: frozenset[str]) -> list[str]:
        """Names that no column can have."""
        return [] if self.more else sorted(names - set(self.columns))

    def sure(self, names: frozenset[str]) -> bool:
        """Whether columns are there for certain, with the categories they are known by."""
        return names <= set(self.columns) - self.unsure

    def expression_problems(self, text: str, path: Path) -> list[Problem]:
        """Hold an expression against the columns an analyst will see."""
        try:
            names = columns(parse(text))
            found = [Problem(path, f"'{text}': {unknown('column', n, self.columns)}") for n in self.missing(names)]
            if self.sure(names):
                check(text, {name: v.categories for name, v in self.columns.items()})
        except ExpressionError as error:
            return [Problem(path, str(error))]
        return found


def observed(mechanism: Mechanism) -> dict[str, Variable]:
    """Columns of a mechanism without mistakes that an analyst will see."""
    return {name: v for name, v in variables(mechanism).items() if not v.latent}


def presumed(raw: Any) -> Known:
    """Columns of a mechanism with mistakes: of sound stages, and what others would add without them."""
    found: dict[str, Variable] = {}
    unsure: set[str] = set()
    if not isinstance(raw, dict) or "generator" in raw:
        return Known({}, more=True)
    tables = {k: v for k, v in raw.items() if k != "outcomes"}
    outcomes = raw.get("outcomes", {})
    tables |= (
        {f"outcomes.{k}": v for k, v in outcomes.items()} if isinstance(outcomes, dict) else {"outcomes": outcomes}
    )
    more = not set(REQUIRED) <= set(tables) <= set(steps()) or not any(name.startswith("outcomes.") for name in tables)
    for stage in STAGES:
        if stage not in tables or stage not in steps():
            continue
        step, certain = _mended(steps()[stage], tables[stage])
        added = _added(step)
        found |= {name: v for name, v in added.items() if not v.latent}
        unsure |= set() if certain else set(added)
        more |= not added
    return Known(found, frozenset(unsure), more)


def _mended(kind: type[Step], data: Any) -> tuple[Step | None, bool]:
    """Build a stage from the options that are right, and whether all are; None when a table or list is wrong.

    Tables and lists may name columns, so that without one it cannot be told which there would be.
    """
    if not isinstance(data, dict):
        return None, False
    try:
        return kind.model_validate(data), True
    except ValidationError as error:
        wrong = {str(item["loc"][0]) for item in error.errors(include_url=False) if item["loc"]}
    if any(isinstance(data.get(key), (dict, list)) for key in wrong):
        return None, False
    kept = {k: v for k, v in data.items() if k not in wrong}
    try:
        return kind.model_validate(kept), False
    except ValidationError:  # a key is missing, or options that are right by themselves do not go together
        return kind.model_construct(**kept), False


def _added(step: Step | None) -> dict[str, Variable]:
    try:
        return {} if step is None else step.adds()
    except (AttributeError, KeyError, TypeError, ValueError):  # of options that were not checked
        return {}
