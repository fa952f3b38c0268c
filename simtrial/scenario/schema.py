"""A scenario: aims, mechanism, estimands, methods, performance; assembled from the steps and methods there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from simtrial.errors import unknown
from simtrial.estimands import Estimand
from simtrial.estimators import Method
from simtrial.generate import Mechanism, Variable, drawn_for, variables
from simtrial.sample_size import Design
from simtrial.scenario.cross_checks import cross_checks
from simtrial.scenario.default_estimand import default_estimand
from simtrial.scenario.homes import HEAD_PLACE, at_home, keys
from simtrial.scenario.known_columns import Known, observed, presumed
from simtrial.scenario.mechanism import build_mechanism
from simtrial.scenario.memory import Memory, remembered
from simtrial.scenario.methods import build_methods, validated
from simtrial.scenario.primary_outcome import about, measured, primary_outcome
from simtrial.scenario.problems import Problem
from simtrial.scenario.tables import Aims, Check, Expectation, Head, Margins, Performance, Published, Run, Table, Vary

Raw = dict[str, Any]
TABLES: dict[str, type[Table]] = {
    "aims": Aims, "performance": Performance, "run": Run, "vary": Vary, "check": Check, "margins": Margins,
}  # fmt: skip
LISTS: dict[str, type[BaseModel]] = {"estimands": Estimand, "published": Published, "expect": Expectation}
HEAD = ("schema", "name", "title", "primary")
KNOWN = (*TABLES, *LISTS, "design", "mechanism", "methods", *HEAD)
PLACES: dict[str, Sequence[str]] = {
    HEAD_PLACE: (*HEAD, "extends"),
    **{f"in [{name}]": keys(model) for name, model in TABLES.items()},
    "in [design]": keys(Design),
    **{f"in [[{name}]]": keys(model) for name, model in LISTS.items()},
    **{f"at the top level, as [{name}]": (name,) for name in (*TABLES, "design", "mechanism")},
    **{f"at the top level, as [[{name}]]": (name,) for name in (*LISTS, "methods")},
}
"""Keys by the place where they belong, in words."""


@dataclass(frozen=True)
class Scenario:
    """A checked scenario; ``raw`` is the resolved file it was built from."""

    name: str
    title: str
    aims: Aims
    mechanism: Mechanism
    estimands: list[Estimand]
    methods: list[Method]
    performance: Performance
    run: Run
    vary: Vary
    check: Check
    margins: Margins
    published: list[Published]
    expect: list[Expectation]
    design: Design | None
    raw: Raw = field(repr=False)

    @property
    def variables(self) -> dict[str, Variable]:
        """All columns of the mechanism."""
        return variables(self.mechanism)

    def reads(self) -> frozenset[str]:
        """Columns that its methods need; all there are where one of them is handed whole data sets."""
        if any(m.sees_all for m in self.methods):
            return frozenset(self.variables)
        return frozenset[str]().union(*(m.reads() for m in self.methods))

    @cached_property
    def needed(self) -> Mechanism:
        """What must be drawn of the mechanism for its methods, and for true values that are each trial's own."""
        own = (e.reads() for e in finite_targets(self) if e.kind != "full-availability")
        return drawn_for(self.mechanism, self.reads().union(*own))


def build(raw: Raw, memory: Memory | None = None) -> tuple[Scenario | None, list[Problem]]:
    """Check a resolved file in whole.

    Parameters
    ----------
    raw
        The file.
    memory
        What was built of files that share parts with this one, the very same objects.

    Returns
    -------
    scenario, problems
        The scenario is None when anything is wrong.
    """
    problems = [Problem((k,), unknown("table", k, KNOWN), unknown=k) for k in raw if k not in KNOWN]
    head, found = validated(Head, {k: raw[k] for k in HEAD if k in raw}, ())
    problems += found
    parts: dict[str, Any] = {}
    for key, model in TABLES.items():
        parts[key], found = remembered(memory, model, raw.get(key, _NONE), (key,))
        problems += found
    parts["design"], found = validated(Design, raw["design"], ("design",)) if "design" in raw else (None, [])
    problems += found
    mechanism, found = build_mechanism(raw.get("mechanism", {}), memory)
    problems += found
    factors = list(getattr(mechanism.get("allocation"), "factors", []))
    allocation = raw["mechanism"]["allocation"] if "allocation" in mechanism else None
    known = presumed(raw.get("mechanism")) if found else Known(observed(mechanism))
    sound = None if found else mechanism
    primary, found = primary_outcome(raw.get("primary"), known)
    problems += found
    for key, row_model in LISTS.items():
        rows = raw.get(key, [])
        parts[key], found = _models(row_model, about(rows, primary) if key == "estimands" else rows, key)
        problems += found
    stated = raw.get("methods", _NONE)

    def made() -> tuple[list[Method], list[Problem]]:
        rows = about(raw.get("methods", []), primary)
        return build_methods(rows, factors, known, allocation, measured(known.columns))

    if memory is None:
        methods, found = made()
    else:
        seen = tuple((name, v.level, v.categories) for name, v in known.columns.items())
        methods, found = memory.get(stated, (primary, *factors, id(allocation), seen, known.unsure, known.more), made)
    problems += found + cross_checks(raw, parts, sound, known)
    if problems:
        return None, at_home(problems, PLACES)
    return Scenario(head.name, head.title, mechanism=mechanism, methods=methods, raw=raw, **parts), []


_NONE: dict[str, Any] = {}
"""In place of a table that is not there, always the same."""


def _models(model: type[BaseModel], rows: Any, key: str) -> tuple[list[Any], list[Problem]]:
    if not isinstance(rows, list):
        return [], [Problem((key,), f"{key} must be written as [[{key}]], one table each")]
    pairs = [validated(model, row, (key, at)) for at, row in enumerate(rows)]
    return [made for made, _ in pairs], [p for _, found in pairs for p in found]


def finite_targets(scenario: Scenario) -> list[Estimand]:
    """Estimands with a true value for each trial that some method is judged against."""
    named = {name for method in scenario.methods for name in targets(method, scenario)}
    return [e for e in scenario.estimands if e.finite and e.name in named]


def targets(method: Method, scenario: Scenario) -> list[str]:
    """Estimands of a method; by default those of `default_estimand`, or none if it estimates no effect."""
    if method.estimand is None and (method.tested_covariate() is not None or not method.effect):
        return []
    if method.estimand is None:
        name = default_estimand(method, scenario.estimands)
        return [] if name is None else [name]
    return [method.estimand] if isinstance(method.estimand, str) else list(method.estimand)
