"""Methods and generators that were defined in a session, a notebook or a module that no run keeps."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence

from simtrial.errors import SimtrialError
from simtrial.estimators import Method
from simtrial.plugins.plain_methods import PlainMethod
from simtrial.scenario import Scenario


def refuse_unkept(scenario: Scenario, records: Sequence[Mapping[str, str]], *, kept: bool, spread: bool) -> None:
    """Refuse what a run could not find again.

    Parameters
    ----------
    scenario, records
        The scenario, and the plug-ins that were loaded for it.
    kept, spread
        Whether the run stays in a directory, which later runs may extend; whether other processes work on it.
    """
    if not (kept or spread):
        return
    for what, module in _own(scenario):
        file = getattr(sys.modules.get(module), "__file__", None)
        if records and file is not None and module != "__main__":
            continue
        where = "in this session" if file is None or module == "__main__" else f"by the module {module}"
        why = "workers cannot see it" if spread else "a run directory keeps the source of what it was made with"
        raise SimtrialError(f"{what} is registered {where}, and {why}; save it in a .py file and name that in plugins")


def _own(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """Methods and generators that do not come with the program, and the module of each."""
    for method in scenario.methods:
        yield from _own_methods(method)
    generator = scenario.mechanism.get("generator")
    if generator is not None and not type(generator).__module__.startswith("simtrial."):
        yield f"generator '{getattr(generator, 'name', '')}'", type(generator).__module__


def _own_methods(method: Method) -> Iterator[tuple[str, str]]:
    source = type(method).function if isinstance(method, PlainMethod) else type(method)
    if not source.__module__.startswith("simtrial."):
        yield f"kind '{method.kind}'", source.__module__
    inner = getattr(method, "analysis", None)
    if isinstance(inner, Method):
        yield from _own_methods(inner)
