"""Errors that a user can correct: the fault, its place, allowed values, the closest valid name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SimtrialError(Exception):
    """A request that cannot be carried out; the message is complete."""

    exit_code = 2


class ScenarioError(SimtrialError):
    """An invalid scenario or methods file."""


class OptionError(ScenarioError, ValueError):
    """Incompatible options; ``key`` is the one to change, if known."""

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class DataError(SimtrialError):
    """An unreadable file of data or results; the message is always one line."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class RunError(SimtrialError):
    """A run directory that does not fit the request."""


class IncompleteRunError(SimtrialError):
    """Chunks that are missing or failed."""

    exit_code = 3


class StoreError(SimtrialError):
    """A stored chunk that does not match its record."""

    exit_code = 4


class EnvironmentFailure(SimtrialError):
    """The disk or the engine failed, not the request."""

    exit_code = 5


class WorkerDiedError(Exception):
    """Every process that was given a task ended before it was done."""


def extra(name: str) -> str:
    """How to install what an optional part needs."""
    return f"pip install '.[{name}]' where the source of simtrial is"


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """Return the valid name closest to a misspelt one, whatever its case, or None if none is close."""
    names = list(valid)
    folded = [v.casefold() for v in names]
    found = get_close_matches(name, names, n=1, cutoff=0.6)
    alike = get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    return found[0] if found else names[folded.index(alike[0])] if alike else None


def one_line(text: str) -> str:
    """Text on one line, with line breaks and unprintable characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable(text: str) -> str:
    """Text whose lines may be printed anywhere: what moves a cursor or turns the direction of writing is escaped."""
    return "\n".join(one_line(line) for line in text.split("\n"))


def in_words(error: BaseException) -> str:
    """An exception in a line: what kind, and what it says."""
    return f"{type(error).__name__}: {error}"


MANY = 60
"""Maximum number of names listed in full; of more, only the nearest."""


def unknown(what: str, name: str, valid: Iterable[str], meant: str | None = None) -> str:
    """Message for an unknown name: the closest name, or the one that is ``meant`` by it, and the allowed ones."""
    names = sorted(valid)
    close = meant or nearest(name, names)
    hint = f"; did you mean '{close}'?" if close else ""
    shown = names if len(names) <= MANY else get_close_matches(name, names, n=6, cutoff=0.0)
    listed = [f"'{n}'" for n in shown] if any("," in n or " " in n for n in shown) else shown
    which = "allowed" if shown is names else f"nearest of {len(names)} allowed"
    return f"unknown {what} '{name}'{hint} ({which}: {', '.join(listed) or 'none'})"
