"""Mechanisms that draw whole trials by themselves: those of published simulations, and the user's own.

One file holds one generator; it is found by its name, in ``[mechanism.generator]``. A module of the user's own
registers its generators when it is loaded, which happens only by ``--plugin``: a scenario file cannot import anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from simtrial.generate import Drawn, EstimandOptions, Generator, Variable
from simtrial.generate.column_names import FOLLOWUP, IF_CONTROL, IF_INTERVENTION, outcomes_in
from simtrial.registry import Registry

__all__ = [
    "Drawn",
    "EstimandOptions",
    "Generator",
    "Variable",
    "generator_class",
    "generators",
    "promise_problems",
    "register_generator",
]  # fmt: skip

G = TypeVar("G", bound=type[Generator])
GENERATORS: Registry[type[Generator]] = Registry("generator", __name__)
_FOUND = GENERATORS.found


def register_generator(name: str) -> Callable[[G], G]:
    """Enter a generator under the name that scenario files use; a name that is taken is an error."""

    def enter(generator: G) -> G:
        GENERATORS.enter(name, generator)
        return generator

    return enter


def generators() -> dict[str, type[Generator]]:
    """Every generator, by the name scenario files use."""
    return GENERATORS.all()


def generator_class(name: str) -> type[Generator]:
    """Return a generator by name, or suggest the closest name."""
    return GENERATORS.get(name)


def promise_problems(generator: Generator) -> Iterator[str]:
    """What is wrong with the columns a generator promises, one sentence each."""
    promised = generator.adds()
    arm = promised.get("arm")
    if arm is None or arm.level != "practice" or arm.latent or arm.categories:
        yield "needs a practice-level column 'arm', 0 control and 1 intervention, that everybody sees"
    taken = sorted({"trial_id", "practice", "participant"} & set(promised))
    if taken:
        yield f"adds '{taken[0]}', which every data set has already"
    outcomes = outcomes_in(promised)
    if not outcomes:
        yield "needs an outcome y with columns 'y_if_control', 'y_if_intervention' and 'y_followup'"
    for outcome in sorted(outcomes):
        for ending, latent in ((IF_CONTROL, True), (IF_INTERVENTION, True), (FOLLOWUP, False)):
            variable = promised.get(outcome + ending)
            if variable is None or variable.level != "participant" or variable.latent != latent:
                seen = "latent" if latent else "not latent"
                yield f"needs '{outcome}{ending}' at participant level, {seen}"
    for name, variable in promised.items():
        if not name.isidentifier():
            yield f"column '{name}' needs a name of letters, digits and _"
        if variable.hides and (variable.categories or variable.latent):
            yield f"column '{name}' hides others and must be an observed 0/1 number"
