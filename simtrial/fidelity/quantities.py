"""Names of quantities that a trial shows, such as ``share:sex=female:int``, and their values in observed trials."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from simtrial.arrays import Bools, Floats, Ints
from simtrial.batch import Level, ObservedBatch
from simtrial.errors import SimtrialError
from simtrial.expressions import columns, evaluate, parse
from simtrial.fidelity.statistics import STATISTICS, latest
from simtrial.generate import Variable
from simtrial.kernels.segments import count_by

ARMS: dict[str, int | None] = {"all": None, "int": 1, "ctl": 0}
SUBSETS = {
    "window": "in_window == 1",
    "available": "arm == 0 or availability >= 0.7",
    "pre": "period == 'pre' and followed_up == 1",
    "during": "period == 'during' and followed_up == 1",
    "followed": "followed_up == 1",
    "lost": "followed_up == 0",
    "died": "followed_up == 0 and died == 1",
    "withdrew": "followed_up == 0 and died == 0",
    "analysed": "mansa_baseline > -1e9 and mansa_followup > -1e9",
    "incomplete": "followed_up == 1 and (baseline_complete == 0 or followup_complete == 0)",
    "incomplete_followup": "followed_up == 1 and followup_complete == 0",
}
"""People that a quantity is restricted to. A comparison with a blank is unknown, and so is its negation: who lacks a
score is read from the columns that say so, never from ``not`` and the score."""

_SUBJECT = re.compile(r"(?P<name>\w+)(?:(?P<op>=|>=|-)(?P<other>[\w.]+))?")


@dataclass(frozen=True)
class Quantity:
    """A statistic of a subject in an arm (all, int, ctl) among a subset of people (empty: everybody).

    Subjects: ``column``, ``column=category``, ``column>=number``, ``column-column``, ``X_change`` (follow-up less
    baseline), ``@subset`` (membership), ``people``, ``practices``, ``size`` (people of the subset in each practice that
    has any), ``empty`` (practices without any) and ``last_month`` (recruited in the trial's last month).
    """

    statistic: str
    subject: str
    arm: str = "all"
    subset: str = ""

    @property
    def change(self) -> tuple[str, str] | None:
        """Columns of which the subject is a difference."""
        name, op, other = parts(self.subject)
        if name.endswith("_change"):
            return name.removesuffix("_change") + "_followup", name.removesuffix("_change") + "_baseline"
        return (name, other) if op == "-" else None


def parts(subject: str) -> tuple[str, str, str]:
    """Split a subject into a name, an operation and what follows it."""
    match = _SUBJECT.fullmatch(subject.removeprefix("@"))
    if not match:
        raise SimtrialError(f"'{subject}' names no quantity of a trial")
    return match["name"], match["op"] or "", match["other"] or ""


@lru_cache(maxsize=4096)
def quantity(text: str) -> Quantity:
    """Read a name of a quantity, ``statistic:subject[:arm[:subset]]``."""
    found = Quantity(*text.split(":"))
    membership = found.subject.startswith("@") and found.subject[1:] not in SUBSETS
    if (
        found.statistic not in STATISTICS or found.arm not in ARMS or membership
        or (found.subset and found.subset not in SUBSETS)
    ):  # fmt: skip
        raise SimtrialError(f"'{text}' names no quantity of a trial")
    parts(found.subject)
    return found


def reads(wanted: Quantity) -> frozenset[str]:
    """Columns that a quantity needs."""
    name, _, _ = parts(wanted.subject)
    needed = {"arm"} if wanted.arm != "all" else set()
    subsets = [wanted.subset] if wanted.subset else []
    if wanted.change:
        needed |= set(wanted.change)
    elif wanted.subject.startswith("@"):
        subsets.append(name)
    elif name == "last_month":
        needed.add("recruitment_month")
    elif name not in ("people", "practices", "size", "empty"):
        needed.add(name)
    return frozenset(needed).union(*(columns(parse(SUBSETS[s])) for s in subsets))


def problem(wanted: Quantity, available: Mapping[str, Variable]) -> str:
    """Why trials with these variables do not show a quantity; empty: they do."""
    absent = sorted(n for n in reads(wanted) if n not in available or available[n].latent)
    if absent:
        return f"no column {', '.join(absent)}"
    name, op, label = parts(wanted.subject)
    if op == "=" and label not in available[name].categories:
        return f"{name} has no category {label}"
    return ""


class Described:
    """Observed trials of which quantities are asked, one after the other."""

    def __init__(self, batch: ObservedBatch) -> None:
        self.batch = batch
        self._members: dict[str, Bools] = {}

    def value(self, wanted: Quantity) -> Floats:
        """Value in every trial (trials,), NaN where there is none."""
        values, level = self._subject(wanted)
        kept = ~np.isnan(values)
        arm = ARMS[wanted.arm]
        if arm is not None:
            kept &= self.batch.at("arm", level) == arm
        if wanted.subset and level == "participant":
            kept &= self.members(wanted.subset)
        return STATISTICS[wanted.statistic](values[kept], self._trial(level)[kept], self.batch.index.trials)

    def members(self, subset: str) -> Bools:
        """Who belongs to a subset (participants,)."""
        if subset not in self._members:
            self._members[subset] = evaluate(SUBSETS[subset], self.batch)
        return self._members[subset]

    def _trial(self, level: Level) -> Ints:
        index = self.batch.index
        if level == "trial":
            return np.arange(index.trials)
        return index.practice_trial if level == "practice" else index.participant_trial

    def _subject(self, wanted: Quantity) -> tuple[Floats, Level]:
        """Values of the subject, blanks as NaN, and their level."""
        name, op, other = parts(wanted.subject)
        if wanted.subject.startswith("@"):
            return self.members(name).astype(np.float64), "participant"
        if name in ("people", "practices"):
            level: Level = "participant" if name == "people" else "practice"
            return np.ones(self.batch.index.size(level)), level
        if name in ("size", "empty"):
            return self._sizes(wanted.subset, name), "practice"
        if name == "last_month":
            months = self._numbers("recruitment_month", "participant")
            return latest(months, self._trial("participant"), self.batch.index.trials).astype(np.float64), "participant"
        if wanted.change:
            left, right = wanted.change
            level = max(
                (self.batch.column(c).level for c in (left, right)), key=("trial", "practice", "participant").index
            )
            return self._numbers(left, level) - self._numbers(right, level), level
        column = self.batch.column(name)
        values = self._numbers(name, column.level)
        if op:
            sought = column.categories.index(other) if op == "=" else float(other)
            holds = values == sought if op == "=" else values >= sought
            values = np.where(np.isnan(values), np.nan, holds)
        return values, column.level

    def _numbers(self, name: str, level: Level) -> Floats:
        values = self.batch.at(name, level)
        blank = bool(self.batch.column(name).categories)
        return np.where(values < 0, np.nan, values) if blank else np.asarray(values, dtype=np.float64)

    def _sizes(self, subset: str, what: str) -> Floats:
        """People per practice (practices,), blank where there are none; or 1 where there are none, blank elsewhere."""
        index = self.batch.index
        practice = index.participant_practice
        people = count_by(practice[self.members(subset)] if subset else practice, index.practices)
        return np.where(people > 0, people, np.nan) if what == "size" else np.where(people > 0, np.nan, 1.0)
