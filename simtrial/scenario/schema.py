"""A scenario: aims, mechanism, estimands, methods, performance; assembled from the steps and methods there are."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from simtrial.errors import SimtrialError, unknown
from simtrial.estimands import Estimand
from simtrial.estimators import Method
from simtrial.expressions import ExpressionError
from simtrial.generate import (
    REQUIRED,
    STAGES,
    Mechanism,
    Step,
    Variable,
    drawing_order,
    drawn_for,
    steps,
    variables,
)
from simtrial.generate.generators import generator_class, generators, promise_problems
from simtrial.sample_size import Design
from simtrial.scenario.cross_checks import cross_checks
from simtrial.scenario.default_estimand import default_estimand
from simtrial.scenario.known_columns import Known, observed, presumed
from simtrial.scenario.methods import build_methods, validated
from simtrial.scenario.primary_outcome import about, measured, primary_outcome
from simtrial.scenario.problems import Path, Problem

Raw = dict[str, Any]
NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Aims(_Table):
    """What the simulation is to find out, in words."""

    question: str = Field("", description="the question the simulation answers")
    source: str = Field("", description="where the settings come from")


class Performance(_Table):
    """What is reported of every method."""

    measures: list[str] = Field(default_factory=list, description="measures to report; default: all")
    mcse: Literal["robust", "jackknife", "normal"] = Field("robust", description="form of Monte Carlo standard errors")
    reference: str = Field("", description="method the others are compared with, trial by trial; empty: none")


class Run(_Table):
    """How much is run, and from which seed."""

    replicates: int = Field(1000, ge=1, le=100_000_000, description="replicates per cell")
    seed: int = Field(1, ge=0, lt=2**63, description="seed of the run")
    block: int = Field(250, ge=1, le=100_000, description="replicates drawn together; part of the scenario's identity")
    streams: Literal["independent", "common"] = Field("independent", description="random streams across cells")


class Published(_Table):
    """A published result to show beside the simulated ones of a method."""

    method: str = Field(description="name of the method")
    estimate: float = Field(description="published estimate")
    ci_lower: float = Field(description="published lower limit")
    ci_upper: float = Field(description="published upper limit")
    source: str = Field("", description="where it is printed")

    @model_validator(mode="after")
    def _interval(self) -> Published:
        if self.ci_lower >= self.ci_upper:
            raise ValueError("ci_lower must be below ci_upper")
        return self


class Expectation(_Table):
    """What `simtrial check` asserts of a measure: a theory value, or bounds, judged in Monte Carlo errors."""

    measure: str = Field(description="name of a measure, failures, or flag:NAME (as a share of replicates)")
    method: str = Field(description="name of the method")
    estimand: str = Field("", description="estimand, where a method has several")
    cell: dict[str, Any] = Field(default_factory=dict, description="factors of the cells; default: all cells")
    value: float | None = Field(None, description="theory or published value")
    mcse: float = Field(0.0, ge=0, description="Monte Carlo error of that value")
    lower: float | None = Field(None, description="lower bound")
    upper: float | None = Field(None, description="upper bound")
    margin: float = Field(0.0, ge=0, description="difference that does not matter")
    z: float = Field(3.3, gt=0, description="standard errors allowed; 3.3 gives a false alarm in 1,000 checks")
    source: str = Field("", description="where the expectation comes from")

    @model_validator(mode="after")
    def _something(self) -> Expectation:
        bounds = self.lower is not None or self.upper is not None
        if (self.value is None) != bounds:
            raise ValueError("an expectation has either a value, or a lower and/or an upper bound")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ValueError("lower is above upper")
        return self


class Vary(_Table):
    """Factors of a sweep: ``cross`` full factorial, ``zip`` moved together, ``exclude`` combinations left out."""

    cross: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    zip: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    exclude: list[dict[str, Any]] = Field(default_factory=list)


class Head(_Table):
    """The keys above the first table."""

    schema_: Literal[1] = Field(1, alias="schema", description="version of the file format")
    name: str = Field(pattern=NAME, description="short name: lower-case letters, digits, - and _")
    title: str = Field("", description="one line for people")
    primary: str = Field("", description="outcome of methods and estimands that name none; default: the only one")


TABLES: dict[str, type[_Table]] = {"aims": Aims, "performance": Performance, "run": Run, "vary": Vary}
LISTS: dict[str, type[BaseModel]] = {"estimands": Estimand, "published": Published, "expect": Expectation}
HEAD = ("schema", "name", "title", "primary")
KNOWN = (*TABLES, *LISTS, "design", "mechanism", "methods", *HEAD)


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


def build(raw: Raw) -> tuple[Scenario | None, list[Problem]]:
    """Check a resolved file in whole.

    Returns
    -------
    scenario, problems
        The scenario is None when anything is wrong.
    """
    problems = [Problem((k,), unknown("table", k, KNOWN)) for k in raw if k not in KNOWN]
    head, found = validated(Head, {k: raw[k] for k in HEAD if k in raw}, ())
    problems += found
    parts: dict[str, Any] = {}
    for key, model in TABLES.items():
        parts[key], found = validated(model, raw.get(key, {}), (key,))
        problems += found
    parts["design"], found = validated(Design, raw["design"], ("design",)) if "design" in raw else (None, [])
    problems += found
    mechanism, found = build_mechanism(raw.get("mechanism", {}))
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
    rows = about(raw.get("methods", []), primary)
    rows = about(raw.get("methods", []), primary)
    methods, found = build_methods(rows, factors, known, allocation, measured(known.columns))
    problems += found + cross_checks(raw, parts, sound, known)
    if problems:
        return None, problems
    return Scenario(head.name, head.title, mechanism=mechanism, methods=methods, raw=raw, **parts), []


def _models(model: type[BaseModel], rows: Any, key: str) -> tuple[list[Any], list[Problem]]:
    if not isinstance(rows, list):
        return [], [Problem((key,), f"{key} must be written as [[{key}]], one table each")]
    pairs = [validated(model, row, (key, at)) for at, row in enumerate(rows)]
    return [made for made, _ in pairs], [p for _, found in pairs for p in found]


def build_mechanism(raw: Any) -> tuple[dict[str, Step], list[Problem]]:
    """Build the options of every stage, and check that each finds the columns it reads."""
    if not isinstance(raw, dict):
        return {}, [Problem(("mechanism",), "mechanism must be a table")]
    if "generator" in raw:
        return _build_generator(raw)
    found, problems = {}, []
    known = steps()
    for stage, data, path in _stages(raw):
        if stage not in known:
            names = [f"mechanism.{name}" for name in STAGES]
            problems.append(Problem(path, unknown("table", f"mechanism.{stage}", names)))
            continue
        step, wrong = validated(known[stage], data, path)
        problems += wrong
        if step is not None:
            found[stage] = step
    present = {stage for stage, _, _ in _stages(raw)}
    for stage in REQUIRED:
        if stage not in present:
            problems.append(Problem(("mechanism",), f"missing table [mechanism.{stage}]"))
    if not any(stage.startswith("outcomes.") for stage in present):
        outcomes = ", ".join(stage.removeprefix("outcomes.") for stage in STAGES if stage.startswith("outcomes."))
        problems.append(Problem(("mechanism",), f"missing table [mechanism.outcomes.NAME], NAME one of {outcomes}"))
    mechanism = {stage: found[stage] for stage in STAGES if stage in found}
    return mechanism, problems + (_unreadable(mechanism) if problems else _reads(mechanism))


def _build_generator(raw: Raw) -> tuple[dict[str, Step], list[Problem]]:
    """Build the options of a generator, which draws the whole trial, and check the columns it promises."""
    path: Path = ("mechanism", "generator")
    data = raw["generator"]
    beside = [key for key in raw if key != "generator"]
    problems = [Problem(("mechanism", key), "a generator draws the whole trial: omit this table") for key in beside]
    if not isinstance(data, dict) or "name" not in data:
        names = ", ".join(generators())
        return {}, [*problems, Problem(path, f"missing key 'name' (one of {names}, or your own by --plugin)")]
    try:
        model = generator_class(str(data["name"]))
    except SimtrialError as error:
        return {}, [*problems, Problem((*path, "name"), str(error))]
    step, found = validated(model, data, path)
    problems += found
    if step is not None:
        problems += [Problem(path, f"'{step.name}' {message}") for message in promise_problems(step)]
    return ({"generator": step} if not problems else {}), problems


def _stages(raw: Raw) -> list[tuple[str, Any, Path]]:
    rows: list[tuple[str, Any, Path]] = []
    for key, value in raw.items():
        if key == "outcomes" and isinstance(value, dict):
            rows += [(f"outcomes.{name}", data, ("mechanism", key, name)) for name, data in value.items()]
        else:
            rows.append((key, value, ("mechanism", key)))
    return rows


def _unreadable(mechanism: Mechanism) -> list[Problem]:
    """Report expressions that do not parse; columns of the others depend on stages with errors."""
    problems = []
    for stage, step in mechanism.items():
        try:
            step.reads()
        except ExpressionError as error:
            problems.append(Problem(("mechanism", *stage.split(".")), str(error)))
    return problems


def _reads(mechanism: Mechanism) -> list[Problem]:
    problems: list[Problem] = []
    available: dict[str, Variable] = {}
    everything = variables({stage: step.model_construct() for stage, step in steps().items() if stage not in mechanism})
    for stage in drawing_order(mechanism):
        step, path = mechanism[stage], ("mechanism", *stage.split("."))
        try:
            needed = step.reads()
        except ExpressionError as error:
            problems.append(Problem(path, str(error)))
            available |= step.adds()  # what is wrong here is told once, not again wherever its columns are read
            continue
        wrong = step.problems(available)
        seen = [name for name, variable in available.items() if not variable.latent]
        for name in sorted(needed - set(available)):
            if any(f"'{name}'" in message for _, message in wrong):
                continue  # told with the option that names it
            if name in everything:
                home = next(s for s, step in steps().items() if name in step.model_construct().adds())
                problems.append(Problem(path, f"{stage} reads '{name}', which [mechanism.{home}] would add"))
            elif step.drawn_before() and name in variables(mechanism):
                message = (
                    f"is drawn before [mechanism.{step.drawn_before()}] with these options, and '{name}' only after"
                )
                problems.append(Problem(path, f"{stage} {message}"))
            else:
                problems.append(Problem(path, f"{stage}: {unknown('column', name, seen)}"))
        problems += [Problem((*path, *key.split(".")), message) for key, message in wrong]
        available |= step.adds()
    return problems


def finite_targets(scenario: Scenario) -> list[Estimand]:
    """Estimands with a true value for each trial that some method is judged against."""
    named = {name for method in scenario.methods for name in targets(method, scenario)}
    return [e for e in scenario.estimands if e.finite and e.name in named]


def targets(method: Method, scenario: Scenario) -> list[str]:
    """Estimands of a method; by default those of `default_estimand`, or none if it estimates no effect."""
    if method.estimand is None and (method.spec().interaction is not None or not method.effect):
        return []
    if method.estimand is None:
        name = default_estimand(method, scenario.estimands)
        return [] if name is None else [name]
    return [method.estimand] if isinstance(method.estimand, str) else list(method.estimand)
