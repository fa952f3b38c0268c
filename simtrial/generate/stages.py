"""The stages of a trial's life in order, and the class that draws each: found in the files of this package."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from functools import cache
from types import ModuleType

from simtrial.errors import SimtrialError, unknown
from simtrial.generate.step import Generator, Step

STAGES = (
    "generator", "practices", "screening", "recruitment", "participants", "characteristics", "baseline", "allocation",
    "identification", "delivery", "outcomes.mansa", "outcomes.tus", "outcomes.wemwbs", "outcomes.qpr15",
    "outcomes.brief_inspire", "outcomes.icecap_a", "outcomes.eq5d5l", "safety", "dropout", "missingness",
)  # fmt: skip
"""Tables below [mechanism], in order of drawing; a generator replaces all the others."""

REQUIRED = ("practices", "allocation")
"""Required stages, which are always drawn; beside them at least one outcome."""


@cache
def steps() -> dict[str, type[Step]]:
    """Options model of every stage, in the order of a trial's life."""
    return by_stage(classes_in(importlib.import_module("simtrial.generate")))


def classes_in(package: ModuleType) -> Iterator[type[Step]]:
    """Classes of stages that modules of a package define, however deep; those of whole trials are in a registry."""
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            defined = isinstance(value, type) and value.__module__ == module.name
            if defined and issubclass(value, Step) and not issubclass(value, Generator) and hasattr(value, "stage"):
                yield value


def by_stage(classes: Iterable[type[Step]]) -> dict[str, type[Step]]:
    """Class of every stage, in the order of a trial's life.

    Raises
    ------
    SimtrialError
        Where a class draws a stage that `STAGES` does not name, or two draw one stage or bear one name.
    """
    found: dict[str, type[Step]] = {}
    names: dict[str, type[Step]] = {}
    for step in classes:
        place = f"{step.__module__}.{step.__qualname__}"
        if step.stage not in STAGES:
            raise SimtrialError(f"{place}: {unknown('stage', step.stage, STAGES)}; STAGES names all, in their order")
        for known, key, what in ((found, step.stage, "stage"), (names, step.__name__, "class name")):
            other = known.setdefault(key, step)
            if other is not step:
                raise SimtrialError(f"{place}: {what} '{key}' is that of {other.__module__}.{other.__qualname__}")
    return {stage: found[stage] for stage in STAGES if stage in found}
