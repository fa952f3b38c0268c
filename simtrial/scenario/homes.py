"""Where keys belong: one that is unknown in its table may be a key of another."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pydantic import BaseModel

from simtrial.estimators import Method, kinds
from simtrial.generate import steps
from simtrial.scenario.problems import Problem

MOST = 4
"""Places of a key that are named; a key of more tables than these says nothing."""

HEAD_PLACE, METHODS_PLACE = "at the top of the file, before the first table", "in [[methods]]"


def at_home(problems: Sequence[Problem], tables: Mapping[str, Iterable[str]], whole: bool = True) -> list[Problem]:
    """Problems of unknown keys that are keys of other tables, with the place where they belong.

    ``tables`` are keys by place; those of methods and, for a ``whole`` scenario, of the mechanism are known here.
    """
    if not any(problem.unknown for problem in problems):
        return list(problems)
    homes = _homes(tables, whole)
    return [_placed(problem, homes) for problem in problems]


def keys(model: type[BaseModel]) -> list[str]:
    """Keys of a table as a file spells them."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _placed(problem: Problem, homes: Mapping[str, Sequence[str]]) -> Problem:
    name, here = problem.unknown, problem.path[0]
    if here == "vary":
        factor = name.startswith(("mechanism", "design"))
        advice = 'varied keys stand in [vary.cross], in quotes: "mechanism.practices.number" = [20, 40]'
        return _told(problem, advice) if factor else problem
    places = [place for place in homes.get(name, ()) if here != "methods" or place != METHODS_PLACE]
    if here == "methods" and (own := _kinds_with(name)):
        return _told(problem, f"it is an option of kind {' or '.join(own)}") if len(own) <= MOST else problem
    tables = [place for place in places if ", as [" in place]  # of a table's name, the table
    if problem.message.startswith("unknown table") and (tables or "did you mean" in problem.message):
        return _told(problem, f"it belongs {tables[0]}") if tables else problem
    return _told(problem, f"it belongs {', or '.join(places)}") if 0 < len(places) <= MOST else problem


def _told(problem: Problem, advice: str) -> Problem:
    """A problem with advice in place of a name that is spelled alike."""
    if not problem.unknown:
        return problem
    beginning, _, allowed = problem.message.partition(" (")
    return replace(problem, message=f"{beginning.partition(';')[0]}; {advice} ({allowed}")


def _kinds_with(name: str) -> list[str]:
    """Kinds of method that have an option of their own of this name."""
    common = {*Method.model_fields}
    return [f"'{kind}'" for kind, model in kinds().items() if name in {*keys(model)} - common]


def _homes(tables: Mapping[str, Iterable[str]], whole: bool) -> dict[str, list[str]]:
    """Places by key."""
    found: dict[str, list[str]] = defaultdict(list)
    for place, names in tables.items():
        for name in names:
            found[name].append(place)
    for name in (*Method.model_fields, *(key for model in kinds().values() for key in keys(model))):
        if METHODS_PLACE not in found[name]:
            found[name].append(METHODS_PLACE)
    for stage, step in steps().items() if whole else ():
        found[stage.rpartition(".")[2]].insert(0, f"in the mechanism, as [mechanism.{stage}]")
        table = "outcomes.NAME" if stage.startswith("outcomes.") else stage
        for name in keys(step):
            if (place := f"in [mechanism.{table}]") not in found[name]:
                found[name].append(place)
    return found
