"""Rows of a method beside those of a baseline, replicate by replicate, and what differs between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats
from simtrial.check.causes import cause
from simtrial.performance import Options, Sample, sample_of, truth_of

ROUNDING = 1e-9
"""Relative difference within which numbers are the same on another machine or with another library."""

State = Literal["equal", "rounded", "other"]
"""Equal to the last bit; alike but for rounding; other numbers."""


@dataclass(frozen=True)
class Side:
    """Results of a method on the common replicates, in the run or in the baseline; ``df`` (replicates,)."""

    sample: Sample
    df: Floats

    @property
    def half_width(self) -> Floats:
        """Half the width of the confidence sets (replicates,); infinite where unbounded."""
        return self.sample.width / 2


@dataclass(frozen=True)
class Pair:
    """The same method on the same trials, before and now.

    ``only_before`` and ``only_now`` count replicates that one side has and the other has not: they are not compared.
    ``cause`` says why the first fit failed that did not fail before.
    """

    cell: str
    method: str
    estimand: str
    replicate: NDArray[np.int64]
    before: Side
    now: Side
    only_before: int
    only_now: int
    cause: str = ""

    @property
    def failed_elsewhere(self) -> tuple[int, int]:
        """Replicates whose fit failed only before, and only now."""
        a, b = self.before.sample.failed, self.now.sample.failed
        return int((a & ~b).sum()), int((b & ~a).sum())


def paired(before: pl.DataFrame, now: pl.DataFrame, truth: Mapping[str, Any], options: Options) -> Pair:
    """Align rows of one cell, method and estimand by replicate."""
    cell, method, estimand = (str(before[name][0]) for name in ("cell", "method", "estimand"))
    before, now = before.sort("replicate"), now.sort("replicate")
    replicates, here, there = np.intersect1d(
        before["replicate"].to_numpy(), now["replicate"].to_numpy(), assume_unique=True, return_indices=True
    )
    return Pair(
        cell=cell, method=method, estimand=estimand, replicate=replicates.astype(np.int64),
        before=_side(before[here], truth, options, method), now=_side(now[there], truth, options, method),
        only_before=before.height - len(replicates), only_now=now.height - len(replicates),
        cause=_new_failure(before[here], now[there]),
    )  # fmt: skip


def _new_failure(before: pl.DataFrame, now: pl.DataFrame) -> str:
    """First replicate that failed now and not before, with its cause; empty if there is none."""
    new = now.filter((now["status"] == "failed") & (before["status"] != "failed"))
    if not new.height:
        return ""
    row = new.row(0, named=True)
    return f"replicate {row['replicate']}: {cause(row)}"


def _side(rows: pl.DataFrame, truth: Mapping[str, Any], options: Options, method: str) -> Side:
    sample = sample_of(rows, truth_of(truth, options.alpha(method)))
    df = rows["df"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return Side(sample, np.where(sample.failed, np.nan, df))


COLUMNS = ("estimate", "std_error", "ci_lower", "ci_upper", "df", "p_value")


def columns_of(side: Side) -> dict[str, Floats]:
    """Numbers of a side's rows by column."""
    return {name: side.df if name == "df" else getattr(side.sample, name) for name in COLUMNS}


def differing(pair: Pair) -> dict[str, tuple[Bools, Bools]]:
    """Where each column differs at all, and where by more than rounding (replicates,); ``status`` among them.

    Rounding is judged on the scale of the number, and not below that of what it is an estimate of: the standard error
    for an estimate, the half-width for the ends of an interval, 1 for a p-value.
    """
    before, now = columns_of(pair.before), columns_of(pair.now)
    with np.errstate(invalid="ignore"):
        error = np.fmax(pair.before.sample.std_error, pair.now.sample.std_error)
        half = np.fmax(pair.before.half_width, pair.now.half_width)
    least = {"estimate": error, "ci_lower": half, "ci_upper": half, "p_value": np.ones_like(error)}
    found = {name: _apart(before[name], now[name], least.get(name)) for name in COLUMNS}
    status = pair.before.sample.failed != pair.now.sample.failed
    kinds = _kind(pair.before.sample) != _kind(pair.now.sample)
    return {**found, "status": (status, status), "ci_type": (kinds, kinds)}


def _apart(a: Floats, b: Floats, least: Floats | None) -> tuple[Bools, Bools]:
    """Where two columns differ, and where by more than rounding; a missing value equals a missing one."""
    both = np.isnan(a) & np.isnan(b)
    any_ = ~((a == b) | both)
    scale = np.fmax(np.abs(a), np.abs(b))
    if least is not None:
        scale = np.fmax(scale, np.where(np.isfinite(least), least, 0.0))
    with np.errstate(invalid="ignore"):
        near = np.isfinite(a) & np.isfinite(b) & (np.abs(a - b) <= ROUNDING * scale)
    return any_, any_ & ~near


def _kind(sample: Sample) -> NDArray[np.int64]:
    """Type of the confidence sets as a number (replicates,): 1 two rays, 2 empty, else 0."""
    kinds = np.zeros(len(sample.estimate), dtype=np.int64)
    for code, marked in ((1, sample.apart), (2, sample.empty)):
        if marked is not None:
            kinds[marked] = code
    return kinds


def state_of(apart: tuple[Bools, Bools]) -> State:
    """State of a column, from where it differs."""
    return "other" if apart[1].any() else "rounded" if apart[0].any() else "equal"


def unchanged(pair: Pair) -> str:
    """In words, whether fits that succeeded on both sides gave the same results; empty where some did not."""
    ok = ~(pair.before.sample.failed | pair.now.sample.failed)
    columns = [where for name, where in differing(pair).items() if name != "status"]
    if any((beyond & ok).any() for _, beyond in columns):
        return ""
    return "unchanged but for rounding" if any((any_ & ok).any() for any_, _ in columns) else "unchanged"
