"""Rows of one cell and estimand, method by method, as the arrays that measures are made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import polars as pl

from simtrial.arrays import Bools, Floats
from simtrial.kernels.interval_sets import EMPTY, KINDS, TWO_RAYS
from simtrial.performance.sample import Sample
from simtrial.performance.values import NOTHING

NUMBERS = ("estimate", "std_error", "ci_lower", "ci_upper", "p_value")
"""Columns of numbers that every row has; null where there is none."""


@dataclass(frozen=True)
class Truth:
    """What a method is judged against: one true value with its error, or each trial's own; nominal type I error."""

    value: float
    mcse: float
    own: bool
    alpha: float


def truth_of(line: Mapping[str, Any], alpha: float) -> Truth:
    """Read the line of an estimand in the table of true values; an empty one says that it is not known."""
    if line.get("own"):
        return Truth(NOTHING, 0.0, True, alpha)
    value = line.get("true_value")
    return Truth(NOTHING if value is None else float(value), line.get("true_value_mcse") or 0.0, False, alpha)


UNKNOWN = truth_of({}, 0.05)
"""No true value."""


@dataclass(frozen=True)
class Judged:
    """Results of a method, and how often its rows have each text of flags and each type of confidence set.

    Types are counted where a fit did not fail. ``replicates``: which ones the results are of. Where these are those
    that all methods have in common, failures, flags and types are still counted in all.
    """

    sample: Sample
    flags: Mapping[str, int]
    sets: Mapping[str, int]
    replicates: Any


class Group(Protocol):
    """Rows of one cell and estimand, by method."""

    cell: str
    estimand: str
    methods: Sequence[str]

    def judged(self, method: str, truth: Truth) -> Judged:
        """Results of a method."""
        ...

    def beside(self, one: Judged, other: Judged) -> tuple[Sample, Sample]:
        """Results of two methods in the replicates that both have."""
        ...


def groups_held(rows: pl.DataFrame, common: bool) -> Iterator[Group]:
    """Take a frame apart by cell and estimand, in the order of its rows."""
    for cell, estimand in rows.select("cell", "estimand").unique(maintain_order=True).iter_rows():
        yield Held(rows, str(cell), str(estimand), common)


class Held:
    """Rows of a group in a frame that holds others as well: each method's are copied when they are wanted.

    A copy of all of them would double what a run of many replicates takes. ``common``: only replicates in which every
    method has an estimate.
    """

    def __init__(self, rows: pl.DataFrame, cell: str, estimand: str, common: bool) -> None:
        self.cell, self.estimand = cell, estimand
        here = (pl.col("cell") == cell) & (pl.col("estimand") == estimand)
        self.methods: Sequence[str] = [
            str(m) for m in rows.select(pl.col("method").filter(here).unique(maintain_order=True))["method"]
        ]
        self._here, self._rows = here, rows
        self._common = _complete(rows.filter(here)) if common else None

    def judged(self, method: str, truth: Truth) -> Judged:
        """Results of a method, from its rows."""
        every = self._rows.filter(self._here & (pl.col("method") == method))
        part = every if self._common is None else self._common.filter(pl.col("method") == method)
        sample = sample_of(part, truth) if part is every else replace(sample_of(part, truth), failed=failed(every))
        return Judged(sample, _times(every["flags"]), _set_times(every), part["replicate"].to_numpy())

    def beside(self, one: Judged, other: Judged) -> tuple[Sample, Sample]:
        """Results of two methods, paired by their replicates."""
        if np.array_equal(one.replicates, other.replicates):
            return one.sample, other.sample
        _, at, there = np.intersect1d(one.replicates, other.replicates, return_indices=True)
        return one.sample.only(at), other.sample.only(there)


def _complete(group: pl.DataFrame) -> pl.DataFrame:
    """Replicates in which no method failed, and every one has an estimate and a standard error, or only a p-value.

    A method that never has a standard error needs none; a joint test of several terms has only a p-value.
    """
    methods, sound = group["method"].n_unique(), pl.col("status") != "failed"
    errors = pl.col("std_error").is_not_null() & sound
    enough = (errors | ~errors.any().over("method")).alias("enough")
    has = pl.col("estimate").is_not_null() & pl.col("enough")
    has |= pl.col("estimate").is_null() & pl.col("p_value").is_not_null()
    return group.with_columns(enough).filter((has & sound).sum().over("replicate") == methods).drop("enough")


def sample_of(group: pl.DataFrame, truth: Truth) -> Sample:
    """Arrays of one method's rows beside what they are judged against."""
    gone = failed(group)
    columns: dict[str, Any] = {**numbers(group, gone), "failed": gone}
    if "ci_type" in group.columns:
        columns |= {"apart": _is(group, TWO_RAYS), "empty": _is(group, EMPTY) & ~gone}
    if truth.own:
        columns["own"] = own_true_values(group)
    return Sample(**columns, truth=truth.value, truth_mcse=truth.mcse, alpha=truth.alpha)


def numbers(group: pl.DataFrame, gone: Bools) -> dict[str, Floats]:
    """Columns of `NUMBERS`, NaN where there is none or the fit is ``gone``, whatever it could still say."""
    return {name: np.where(gone, np.nan, _column(group, name)) for name in NUMBERS}


def own_true_values(group: pl.DataFrame) -> Floats:
    """True values of the trials themselves, NaN where there is none."""
    return _column(group, "own_true_value") if "own_true_value" in group.columns else np.full(group.height, np.nan)


def failed(group: pl.DataFrame) -> Bools:
    """Which fits failed."""
    return (group["status"] == "failed").to_numpy()


def _column(group: pl.DataFrame, name: str) -> Floats:
    return group[name].cast(pl.Float64).fill_null(np.nan).to_numpy()


def _is(group: pl.DataFrame, kind: str) -> Bools:
    return (group["ci_type"] == kind).fill_null(False).to_numpy()


def _set_times(group: pl.DataFrame) -> dict[str, int]:
    if "ci_type" not in group.columns:
        return {}
    return _times(group.filter((pl.col("status") != "failed") & pl.col("ci_type").is_in(KINDS))["ci_type"])


def _times(texts: pl.Series) -> dict[str, int]:
    """How often each text is there, none counted as an empty one."""
    found = texts.cast(pl.String).fill_null("").value_counts()
    return dict(zip(*(column.to_list() for column in found.get_columns()), strict=True))
