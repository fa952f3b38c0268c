"""One guarded registry of named objects: methods, generators, engines."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from simtrial.errors import SimtrialError, unknown

T = TypeVar("T")
_DOORS = frozenset(
    {
        __name__,
        "simtrial.estimators.method",
        "simtrial.estimators.imputation.engine",
        "simtrial.generate.generators",
        "simtrial.run.engines",
        "simtrial.plugins.plain_methods",
    }
)
"""Modules that register objects defined elsewhere."""


class Place(NamedTuple):
    """Where an object was registered: module, name in it, file, line, and when the file was last written."""

    module: str
    name: str
    file: str
    line: int
    written: float

    def again(self, other: Place) -> bool:
        """Whether the other entry is the same object after re-importing its module or rerunning its cell.

        A definition of the same name on another line is a second one, unless the file was edited in between.
        """
        if not self.written or not other.written:
            return self.module == other.module and self.name == other.name
        here = (self.file, self.name) == (other.file, other.name)
        return here and (self.line == other.line or self.written != other.written)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (" (built in)" if self.module.startswith("simtrial.") else "")


def _place(name: str) -> Place:
    """Place of the code that calls a register function, the first outside of `_DOORS`."""
    frame = sys._getframe(1)
    while frame.f_globals.get("__name__") in _DOORS and frame.f_back is not None:
        frame = frame.f_back
    file = frame.f_code.co_filename
    written = os.stat(file).st_mtime if os.path.isfile(file) else 0.0
    module = str(frame.f_globals.get("__name__"))
    return Place(
        module=module, name=name, file=os.path.realpath(file) if written else file, line=frame.f_lineno, written=written
    )


@dataclass(frozen=True)
class Registry(Generic[T]):
    """Things by name; those of ``package``, one module each, are there from the start.

    A name entered twice is an error that tells both places; entering the same thing again, by importing its module
    anew, replaces it.
    """

    what: str
    package: str
    found: dict[str, T] = field(default_factory=dict)
    _places: dict[str, Place] = field(default_factory=dict)
    _loaded: set[str] = field(default_factory=set)

    def enter(self, name: str, thing: T, source: Any = None) -> None:
        """Enter a thing; ``source`` is the function or class it was made from, where that is another."""
        place = _place(str(getattr(source or thing, "__qualname__", name)))
        if not place.module.startswith(f"{self.package}."):
            self.load()
        before = self._places.get(name) if name in self.found else None
        if before is not None and self.found[name] is not thing and not before.again(place):
            raise SimtrialError(f"{self.what} '{name}' is registered twice, at {before} and at {place}; rename one")
        self.found[name] = thing
        self._places[name] = place

    def load(self) -> None:
        """Import the modules of the package and of its folders, once."""
        if self.package in self._loaded:
            return
        self._loaded.add(self.package)
        for module in pkgutil.walk_packages(importlib.import_module(self.package).__path__, f"{self.package}."):
            importlib.import_module(module.name)

    def all(self) -> dict[str, T]:
        """Everything by name, sorted."""
        self.load()
        return dict(sorted(self.found.items()))

    def get(self, name: str) -> T:
        """Return an entry by name, or suggest the closest name."""
        found = self.all()
        if name not in found:
            raise SimtrialError(unknown(self.what, name, found) + "; load your own by --plugin")
        return found[name]
