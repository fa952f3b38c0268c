"""The mechanism of a file: options of every stage, or of a generator, each finding the columns that it reads."""

from __future__ import annotations

from typing import Any

from simtrial.errors import SimtrialError, unknown
from simtrial.expressions import ExpressionError
from simtrial.generate import REQUIRED, STAGES, Mechanism, Step, Variable, added, drawing_order, steps, variables
from simtrial.generate.generators import generator_class, generators, promise_problems
from simtrial.scenario.memory import Memory, remembered
from simtrial.scenario.methods import validated
from simtrial.scenario.problems import Path, Problem, short

Raw = dict[str, Any]


def build_mechanism(raw: Any, memory: Memory | None = None) -> tuple[dict[str, Step], list[Problem]]:
    """Build the options of every stage, and check that each finds the columns it reads; ``memory`` as of `Memory`."""
    if not isinstance(raw, dict):
        message = f"mechanism must be tables, written [mechanism.practices] and so on; {short(raw)} given"
        return {}, [Problem(("mechanism",), message)]
    if "generator" in raw:
        return _build_generator(raw)
    found, problems = {}, []
    known = steps()
    for stage, data, path in _stages(raw):
        if stage not in known:
            problems.append(_unknown_stage(stage, path))
            continue
        step, wrong = remembered(memory, known[stage], data, path)
        problems += wrong
        if step is not None:
            found[stage] = step
    present = {stage for stage, _, _ in _stages(raw)}
    for stage in REQUIRED:
        if stage not in present:
            problems.append(Problem(("mechanism",), f"missing table [mechanism.{stage}]"))
    if not any(stage.startswith(OUTCOMES) for stage in present):
        outcomes = ", ".join(_outcomes())
        problems.append(Problem(("mechanism",), f"missing table [mechanism.outcomes.NAME], NAME one of {outcomes}"))
    mechanism = {stage: found[stage] for stage in STAGES if stage in found}
    return mechanism, problems + (_unreadable(mechanism) if problems else _reads(mechanism))


OUTCOMES = "outcomes."
"""Before the name of every stage that draws an outcome."""


def _outcomes() -> list[str]:
    return [stage.removeprefix(OUTCOMES) for stage in STAGES if stage.startswith(OUTCOMES)]


def _unknown_stage(stage: str, path: Path) -> Problem:
    if not stage.startswith(OUTCOMES):
        message = unknown("table", f"mechanism.{stage}", [f"mechanism.{name}" for name in STAGES])
        return Problem(path, message, unknown=stage.rpartition(".")[2])
    name = stage.removeprefix(OUTCOMES)
    other = "an outcome of your own takes the place of one of these, or comes from a generator (docs/own-generator.md)"
    return Problem(path, f"{unknown('outcome', name, _outcomes())}; {other}")


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
    for stage in drawing_order(mechanism):
        step, path = mechanism[stage], ("mechanism", *stage.split("."))
        try:
            needed = step.reads()
        except ExpressionError as error:
            problems.append(Problem(path, str(error)))
            available |= added(step)  # what is wrong here is told once, not again wherever its columns are read
            continue
        wrong = step.problems(available)
        for name in sorted(needed.difference(available)):
            if any(f"'{name}'" in message for _, message in wrong):
                continue  # told with the option that names it
            absent = {s: other for s, other in steps().items() if s not in mechanism}
            home = next((s for s, other in absent.items() if name in other.model_construct().adds()), None)
            if home is not None:
                problems.append(
                    Problem(path, f"{stage} reads '{name}'; add a table [mechanism.{home}], which draws it")
                )
            elif step.drawn_before() and name in variables(mechanism):
                message = (
                    f"is drawn before [mechanism.{step.drawn_before()}] with these options, and '{name}' only after"
                )
                problems.append(Problem(path, f"{stage} {message}"))
            else:
                seen = [there for there, variable in available.items() if not variable.latent]
                problems.append(Problem(path, f"{stage}: {unknown('column', name, seen)}"))
        problems += [Problem((*path, *key.split(".")), message) for key, message in wrong]
        available |= added(step)
    return problems
