"""Check a stated allocation against a data set: its columns, and whether it can have produced these arms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools
from simtrial.batch import Column, ObservedBatch
from simtrial.generate.allocation.allocation import Allocation
from simtrial.generate.allocation.possible import doubts


@dataclass(frozen=True)
class Stated:
    """A stated allocation and the trials of a batch.

    ``columns`` are those the allocation needs (practices,); ``known`` (trials,) tells where it can be replayed,
    ``impossible`` where it can but cannot have given the arms; ``reasons`` (trials,) tells why, in either case.
    """

    columns: Mapping[str, NDArray[Any]]
    known: Bools
    impossible: Bools
    reasons: NDArray[np.str_]

    def notes(self) -> dict[str, NDArray[np.str_]]:
        """Reasons as a method reports them; none if the allocation is possible."""
        return {"reason": self.reasons} if (self.reasons != "").any() else {}


def stated(options: Allocation | None, batch: ObservedBatch) -> Stated:
    """Hold an allocation against every trial of a batch."""
    trials = batch.index.trials
    nowhere = np.zeros(trials, dtype=bool)
    if options is None:
        return Stated({}, nowhere, nowhere, np.full(trials, "no allocation is stated"))
    found: dict[str, NDArray[Any]] = {}
    reasons = np.full(trials, "", dtype=object)
    for name in sorted(options.reads()):
        column, wrong = batch.columns.get(name), _unfit(batch, name, name in options.numeric)
        if wrong or column is None:
            return Stated({}, nowhere, nowhere, np.full(trials, wrong))
        there = column.values >= 0 if column.categories else ~np.isnan(column.values)
        blank = np.bincount(batch.index.practice_trial, weights=~there, minlength=trials) > 0
        reasons[blank & (reasons == "")] = f"'{name}' is blank in some practices"
        found[name] = _coded(column, there, name in options.numeric)
    practices = np.bincount(batch.index.practice_trial, minlength=trials)
    few = practices <= options.intervention_practices
    reasons[few] = f"intervention_practices = {options.intervention_practices} leaves no practice to control"
    known = np.asarray(reasons == "", dtype=bool)
    impossible = _impossible(options, found, batch, known)
    reasons = np.where(known, impossible, reasons)
    return Stated(found, known, impossible != "", reasons.astype(str))


def _unfit(batch: ObservedBatch, name: str, number: bool) -> str:
    """Why a column cannot serve the allocation; empty where it can."""
    column = batch.columns.get(name)
    if column is None:
        return f"no column '{name}'"
    if column.level != "practice":
        return f"'{name}' varies within practices"
    return f"'{name}' is no number" if number and column.categories else ""


def _coded(column: Column, there: Bools, number: bool) -> NDArray[Any]:
    values = np.where(there, column.values, 0)
    if number or column.categories:
        return values
    return np.unique(values, return_inverse=True)[1].reshape(values.shape)


def _impossible(
    options: Allocation, columns: Mapping[str, NDArray[Any]], batch: ObservedBatch, known: Bools
) -> NDArray[np.str_]:
    """Why the arms cannot have come from the allocation (trials,), where it can be replayed and all arms are seen.

    Practices of which no row is left are not in the data: an allocation is judged by those that are.
    """
    arm, of = batch.at("arm", "practice"), batch.index.practice_trial
    odd = np.bincount(of, weights=(arm != 0) & (arm != 1), minlength=batch.index.trials) > 0
    able = np.flatnonzero(known & ~odd)
    reasons = np.full(batch.index.trials, "", dtype=object)
    if len(able):
        rows = np.flatnonzero(np.isin(of, able))

        def describe(name: str, practice: int) -> str:
            column = batch.columns[name]
            value = column.values[rows[practice]]
            return column.categories[int(value)] if column.categories else f"{value:g}"

        mine = {name: values[rows] for name, values in columns.items()}
        reasons[able] = doubts(options, mine, arm[rows].astype(np.int64), np.searchsorted(able, of[rows]), describe)
    return reasons.astype(str)
