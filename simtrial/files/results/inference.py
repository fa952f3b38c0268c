"""Intervals and p-values that a file of results lacks, made so that each row's inference comes from one test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from simtrial.arrays import Bools, Floats
from simtrial.errors import DataError
from simtrial.files.results.columns import NUMBERS
from simtrial.files.results.reading import Reading
from simtrial.files.results.values import TRUTHS
from simtrial.kernels.interval_sets import KINDS
from simtrial.kernels.students_t import critical, two_sided

PRINTED = 6e-4  # p-values of three decimals differ by this much from those of the test they come from
NARROW = 0.9  # of the width that the normal distribution gives: no t interval of the level is narrower


def completed(rows: pl.DataFrame, file: Path, reading: Reading) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Add intervals and p-values from estimate and standard error, method by method; also returns notes.

    A method with intervals gets no p-values: those of another test could contradict them, and a test by the interval
    rejects exactly where it leaves out 0. A method with p-values gets intervals only where the p-values are those of
    the very t or normal test that the intervals would come from.
    """
    absent = [n for n in (*NUMBERS, *TRUTHS) if n not in rows.columns]
    rows = rows.with_columns(pl.lit(None, pl.Float64).alias(n) for n in absent)
    if reading.true_number is not None:
        rows = rows.with_columns(pl.lit(reading.true_number).alias("true_value"))
    notes = list(_blanks(rows))
    rows = _tidy(rows)
    e, s, df, low, high, p = (rows[n].fill_null(np.nan).to_numpy().copy() for n in NUMBERS)
    df = np.where(np.isnan(df), np.inf, df) if reading.df is None else np.full(len(df), reading.df)
    with np.errstate(all="ignore"):
        half, made_p = critical(df, reading.level) * s, two_sided(e / s, df)
        made_low, made_high = e - half, e + half
    fitted = (rows["status"] == "ok").to_numpy()
    odd_set = _no_interval(rows)
    methods = rows["method"].to_numpy()
    for method in rows["method"].unique(maintain_order=True):
        chosen = fitted & (methods == method)
        has_interval = bool((odd_set | ~np.isnan(low))[chosen].any())
        has_p = bool((~np.isnan(p[chosen])).any())
        subject = f"method '{method}': "
        if has_interval:
            plain = chosen & ~odd_set
            notes += [subject + note for note in _odd(e, s, low, high, p, plain, reading.level, file, method)]
            continue
        if has_p:
            off = np.abs(p - made_p)[chosen]
            if (off > PRINTED).any():
                test = "t test with the degrees of freedom given" if np.isfinite(df[chosen]).any() else "normal test"
                notes.append(f"{subject}no intervals computed, because its p-values are not those of the {test}")
                continue
        low[chosen], high[chosen] = made_low[chosen], made_high[chosen]
        p[chosen] = p[chosen] if has_p else made_p[chosen]
    filled = {"ci_lower": low, "ci_upper": high, "p_value": p}
    return rows.with_columns(pl.Series(n, v).fill_nan(None) for n, v in filled.items()), tuple(notes)


def _no_interval(rows: pl.DataFrame) -> Bools:
    """Rows whose ci_type is not interval."""
    if "ci_type" not in rows.columns:
        return np.zeros(rows.height, dtype=bool)
    return rows["ci_type"].is_in(KINDS[1:]).fill_null(False).to_numpy()


def _tidy(rows: pl.DataFrame) -> pl.DataFrame:
    """Take away half intervals, and what rounding put beyond 0 and 1 or in the wrong order."""
    half = pl.col("ci_lower").is_null() | pl.col("ci_upper").is_null()
    low, high = pl.min_horizontal("ci_lower", "ci_upper"), pl.max_horizontal("ci_lower", "ci_upper")
    return rows.with_columns(
        pl.when(~half).then(low).alias("ci_lower"),
        pl.when(~half).then(high).alias("ci_upper"),
        pl.col("p_value").clip(0.0, 1.0),
    )


def _blanks(rows: pl.DataFrame) -> Iterator[str]:
    """Intervals with one limit."""
    one = rows["ci_lower"].is_null() != rows["ci_upper"].is_null()
    if one.any():
        yield f"{int(one.sum())} rows have one limit of an interval and count as without (write Inf if unbounded)"


def _odd(
    e: Floats, s: Floats, low: Floats, high: Floats, p: Floats, chosen: Bools, level: float, file: Path, method: str
) -> Iterator[str]:
    """What does not go together in a method's intervals: estimates outside, p-values that disagree, another level."""
    e, s, low, high, p = (a[chosen] for a in (e, s, low, high, p))
    there = ~np.isnan(low)
    outside = there & ((e < low) | (e > high))
    if outside.sum() > there.sum() / 2:
        raise DataError(
            f"{file}: method '{method}': {outside.sum()} of {there.sum()} intervals do not contain their own estimate; "
            "are both on the same scale?"
        )
    if outside.any():
        yield f"{outside.sum()} of {there.sum()} intervals do not contain their own estimate"
    both = there & ~np.isnan(p)
    without = (low > 0) | (high < 0)
    differ = both & ((p < 1 - level) != without)
    if differ.any():
        yield (
            f"p-value and interval disagree about 0 in {differ.sum()} of {both.sum()} rows (level {level:g}: --level)"
        )
    seen = there & (s > 0)
    with np.errstate(all="ignore"):
        errors = np.median((high[seen] - low[seen]) / (2 * s[seen])) if seen.any() else np.inf
    if errors < NARROW * float(critical(np.array([np.inf]), level)[0]):
        yield f"intervals reach {errors:.2f} standard errors either way, too little for {level:.0%}: another --level?"
