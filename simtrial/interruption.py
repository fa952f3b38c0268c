"""Ctrl-C and termination, kept in mind: raised inside an import or a clean-up, an exception can get lost.

Python ignores what is raised in a callback of its own, such as the one that ends the import of a module. So the
handlers note what they raise, and work that takes long raises it again where it begins something new.
"""

from __future__ import annotations

import sys
from typing import NoReturn

_noted: list[BaseException] = []


def raise_and_note(error: BaseException) -> NoReturn:
    """Raise an exception of a signal, and note it."""
    _noted[:] = [error]
    raise error


def raise_what_is_noted() -> None:
    """Raise once more what a signal has raised, if it got lost."""
    if _noted:
        raise _noted[0]


def what_is_kept() -> str:
    """What to say of work that a signal ends: a run is continued by the same command, other commands keep nothing."""
    return ": finished chunks are kept; run the same command to go on" if sys.argv[1:2] == ["run"] else ""


def forget() -> None:
    """Begin anew: no signal has come."""
    _noted.clear()
