"""Errors that a user can act on: what is wrong, where, what is allowed, what was probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SimtrialError(Exception):
    """A request that cannot be carried out; the message is complete as it stands."""

    exit_code = 2


class ScenarioError(SimtrialError):
    """A scenario or methods file that says something impossible."""


class OptionError(ScenarioError, ValueError):
    """Options that do not go together; ``key`` is the one to change, where one can be named."""

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class DataError(SimtrialError):
    """A file of data or results that cannot be read; one line, whatever the file holds."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class RunError(SimtrialError):
    """A run directory that does not fit the request."""


class IncompleteRunError(SimtrialError):
    """Chunks that are missing or failed."""

    exit_code = 3


class StoreError(SimtrialError):
    """A stored chunk that is not what its record says."""

    exit_code = 4


class EnvironmentFailure(SimtrialError):
    """The disk or the engine failed, not the request."""

    exit_code = 5


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """Return the valid name closest to a misspelt one, or None when nothing is close."""
    found = get_close_matches(name, list(valid), n=1, cutoff=0.6)
    return found[0] if found else None


def one_line(text: str) -> str:
    """Text on one line: what breaks lines or cannot be printed is written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def in_words(error: BaseException) -> str:
    """An exception in a line: what kind, and what it says."""
    return f"{type(error).__name__}: {error}"


MANY = 60
"""Names that a message lists in full; of more it names the nearest."""


def unknown(what: str, name: str, valid: Iterable[str]) -> str:
    """Say that a name is unknown, which one was probably meant, and which exist."""
    names = sorted(valid)
    close = nearest(name, names)
    hint = f"; did you mean '{close}'?" if close else ""
    shown = names if len(names) <= MANY else get_close_matches(name, names, n=6, cutoff=0.0)
    listed = [f"'{n}'" for n in shown] if any("," in n or " " in n for n in shown) else shown
    said = "allowed" if shown is names else f"nearest of {len(names)} allowed"
    return f"unknown {what} '{name}'{hint} ({said}: {', '.join(listed) or 'none'})"
