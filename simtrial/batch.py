"""Trials of a block: ragged levels tied by an index, and the observed batch that methods receive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, reduce
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import in_order
from simtrial.core import compiled
from simtrial.errors import SimtrialError, unknown

Array = NDArray[Any]
Level = Literal["trial", "practice", "participant"]


@dataclass(frozen=True)
class Index:
    """Who belongs to whom: practices sorted by trial, participants sorted by practice.

    ``practice_trial`` (practices,) and ``participant_practice`` (participants,) hold row numbers of the level above.
    Every trial has at least one practice.
    """

    trials: int
    practice_trial: NDArray[np.intp]
    participant_practice: NDArray[np.intp]

    @cached_property
    def participant_trial(self) -> NDArray[np.intp]:
        """Trial of each participant (participants,)."""
        return self.practice_trial[self.participant_practice]

    @property
    def practices(self) -> int:
        """Practices of all trials together."""
        return len(self.practice_trial)

    @property
    def participants(self) -> int:
        """Participants of all trials together."""
        return len(self.participant_practice)

    def size(self, level: Level) -> int:
        """Return the number of rows at a level."""
        if level == "participant":
            return self.participants
        return self.practices if level == "practice" else self.trials

    def rows(self, level: Level, target: Level) -> NDArray[np.intp] | None:
        """Row numbers that spread values of ``level`` over ``target`` below it; None when they are the same level."""
        if level == target:
            return None
        if (level, target) == ("practice", "participant"):
            return self.participant_practice
        if (level, target) == ("trial", "practice"):
            return self.practice_trial
        if (level, target) == ("trial", "participant"):
            return self.participant_trial
        raise SimtrialError(f"a {level}-level column has no single value per {target}")

    def only(self, trial: int) -> tuple[Index, slice, slice]:
        """Index of one trial alone, and the positions of its practices and participants."""
        first, last = np.searchsorted(self.practice_trial, [trial, trial + 1])
        low, high = np.searchsorted(self.participant_practice, [first, last])
        index = Index(1, np.zeros(last - first, dtype=np.intp), self.participant_practice[low:high] - first)
        return index, slice(first, last), slice(low, high)


@dataclass(frozen=True)
class Column:
    """One variable at one level: values (rows of the level,), category names for factors (values are their codes).

    ``latent`` variables never reach a method. A mask (0/1) ``hides`` other variables wherever it is 0; an entry that
    starts with * is an ending (*_followup). A missing value is NaN in a number and code -1 in a factor; both occur only
    after masks were applied or in data that were read.
    """

    values: Array
    level: Level
    categories: tuple[str, ...] = ()
    latent: bool = False
    hides: tuple[str, ...] = ()


@lru_cache(maxsize=4096)  # the same columns in every block
def hidden_by(name: str, hides: tuple[str, ...]) -> bool:
    """Whether a variable is among those a mask hides."""
    return any(name == h or (h[0] == "*" and name.endswith(h[1:])) for h in hides)


def averaged(name: str) -> str | None:
    """Return the variable in ``mean(variable)``, None for a plain name."""
    return name[5:-1] if name.startswith("mean(") and name.endswith(")") else None


@dataclass(frozen=True)
class ObservedBatch:
    """What an analyst sees: no latent variables, blanks where something is missing."""

    index: Index
    columns: Mapping[str, Column]

    def column(self, name: str) -> Column:
        """Return a variable, or suggest the closest name; ``mean(variable)`` is its mean by practice."""
        inner = averaged(name)
        if inner is not None:
            return self._mean(self.column(inner), name)
        try:
            return self.columns[name]
        except KeyError:
            raise SimtrialError(unknown("column", name, self.columns)) from None

    def _mean(self, column: Column, name: str) -> Column:
        """Mean by practice over everyone with a value, analysed or not; blank in practices without values."""
        if column.categories or column.level != "participant":
            raise SimtrialError(f"'{name}' needs a number that people of one practice differ in")
        seen = ~np.isnan(column.values)
        group, practices = self.index.participant_practice[seen], self.index.practices
        count = np.bincount(group, minlength=practices)
        with np.errstate(invalid="ignore"):
            mean = np.bincount(group, weights=column.values[seen], minlength=practices) / count
        return Column(mean, "practice")

    def at(self, name: str, level: Level = "participant") -> Array:
        """Values of a variable spread over the rows of ``level`` (rows,)."""
        column = self.column(name)
        rows = self.index.rows(column.level, level)
        return column.values if rows is None else column.values[rows]

    def with_columns(self, new: Mapping[str, Column]) -> ObservedBatch:
        """Return the same trials with variables added or replaced."""
        return replace(self, columns={**self.columns, **new})

    def only(self, trial: int) -> ObservedBatch:
        """Return one trial alone."""
        index, practices, participants = self.index.only(trial)
        where = {"trial": slice(trial, trial + 1), "practice": practices, "participant": participants}
        columns = {name: replace(c, values=c.values[where[c.level]]) for name, c in self.columns.items()}
        return ObservedBatch(index, columns)


@dataclass(frozen=True)
class TrialBatch:
    """Simulated trials with everything that is known of them, potential outcomes and latent traits included."""

    index: Index
    columns: Mapping[str, Column] = field(default_factory=dict)

    def at(self, name: str, level: Level = "participant") -> Array:
        """Values of a variable spread over the rows of ``level`` (rows,)."""
        column = self.columns[name]
        rows = self.index.rows(column.level, level)
        return column.values if rows is None else column.values[rows]

    def add(self, new: Mapping[str, Column]) -> TrialBatch:
        """Return the batch with more columns; none that exists is touched."""
        if taken := sorted(new.keys() & self.columns.keys()):
            raise SimtrialError(f"columns are only added, and {', '.join(taken)} exists already")
        for name, column in new.items():
            if column.values.shape != (self.index.size(column.level),):
                raise SimtrialError(f"column '{name}' has shape {column.values.shape} at {column.level} level")
        return TrialBatch(self.index, {**self.columns, **new})

    def only_practices(self, kept: NDArray[np.bool_]) -> TrialBatch:
        """Leave out practices with all of their participants (practices,); every trial must keep one."""
        index = self.index
        people = kept[index.participant_practice]
        renumbered = np.cumsum(kept) - 1
        made = Index(index.trials, index.practice_trial[kept], renumbered[index.participant_practice[people]])
        return self._subset(made, {"trial": None, "practice": kept, "participant": people})

    def only_participants(self, kept: NDArray[np.bool_]) -> TrialBatch:
        """Leave out participants (participants,); practices stay, even without any."""
        index = self.index
        made = Index(index.trials, index.practice_trial, index.participant_practice[kept])
        return self._subset(made, {"trial": None, "practice": None, "participant": kept})

    def _subset(self, index: Index, kept: Mapping[Level, NDArray[np.bool_] | None]) -> TrialBatch:
        columns = {
            n: c if (rows := kept[c.level]) is None else replace(c, values=c.values[rows])
            for n, c in self.columns.items()
        }
        return TrialBatch(index, columns)

    def observed(self) -> ObservedBatch:
        """Drop latent columns and blank missing values."""
        columns: dict[str, Column] = {}
        masks = [(c, c.values == 0) for c in self.columns.values() if c.hides]
        for name, column in self.columns.items():
            if not column.latent:
                hiding = [(mask.level, absent) for mask, absent in masks if hidden_by(name, mask.hides)]
                columns[name] = self._blanked(name, hiding)
        return ObservedBatch(self.index, columns)

    def _blanked(self, name: str, hiding: Sequence[tuple[Level, NDArray[np.bool_]]]) -> Column:
        """Column as an analyst sees it; ``hiding`` are the levels of its masks, and which rows there they hide.

        What no mask hides is the same memory, read-only. What one hides is copied, so that nothing leads back to it,
        and so is what is part of another array, which may hold more than is seen.
        """
        column = self.columns[name]
        level: Level = "participant" if any(at == "participant" for at, _ in hiding) else column.level
        values = np.asarray(self.at(name, level), dtype=None if column.categories else np.float64)
        if hiding:
            spread = [absent if (rows := self.index.rows(at, level)) is None else absent[rows] for at, absent in hiding]
            values = blanked(values, reduce(np.logical_or, spread), -1 if column.categories else np.nan)
        values = values.view() if values.flags.owndata and values.flags.c_contiguous else values.copy()
        values.flags.writeable = False
        return Column(values, level, column.categories)


def blanked(values: Array, absent: NDArray[np.bool_], blank: float) -> Array:
    """Values (rows,) with a blank, NaN in numbers and -1 in codes, where they are absent."""
    if values.dtype == np.float64 and (core := compiled()) is not None:  # here alone simtrial/core/blanked.c takes over
        found = np.empty(len(values))
        core.blanked(*in_order(values), absent, found)
        return found
    return np.where(absent, values.dtype.type(blank), values)
