"""The same tests wherever they run: what a terminal or a CI job says about itself is not theirs."""

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "TERM"):
    os.environ.pop(name, None)


def registries() -> list[Any]:
    """The registries whose modules are imported by now."""
    places = (
        ("simtrial.estimators.method", "METHODS"), ("simtrial.estimators.imputation.engine", "IMPUTATION_ENGINES"),
        ("simtrial.generate.generators", "GENERATORS"), ("simtrial.run.engines", "ENGINES"),
    )  # fmt: skip
    return [getattr(sys.modules[module], name) for module, name in places if module in sys.modules]


def forgotten() -> Iterator[None]:
    """What a test registers is not there for the next one, nor is the plug-in that registered it."""
    before = {name for registry in registries() for name in registry.found}
    yield
    for registry in registries():
        for name in set(registry.found) - before:
            module = registry._places[name].module
            if not module.startswith("simtrial."):
                del registry.found[name], registry._places[name]
                if not module.startswith("test_"):
                    sys.modules.pop(module, None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of many minutes come first, so that none is left at the end; others as they were."""

    def minutes(item: pytest.Item) -> float:
        mark = item.get_closest_marker("slow")
        return 0.0 if mark is None else float(mark.kwargs.get("minutes", 1.0))

    items.sort(key=minutes, reverse=True)


each_test = pytest.fixture(autouse=True)(forgotten)
each_file = pytest.fixture(autouse=True, scope="module")(forgotten)
