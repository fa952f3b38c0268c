"""Numbers and states of imported results: impossible values are rejected with line and value."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from simtrial.errors import DataError, unknown
from simtrial.files.results.columns import NUMBERS, PLACE, Columns
from simtrial.files.results.reading import Reading
from simtrial.kernels.interval_sets import KINDS

OK = ("ok", "success", "successful", "succeeded", "converged")
FAILED = ("failed", "fail", "failure", "error", "not converged", "nonconverged", "non-converged")
TRUTHS = ("true_value", "true_value_mcse", "own_true_value")
STATA_LARGEST = 8.9e307  # its files hold no infinity, and 8.988e307 is the largest number that is not missing
ROUNDING = 1e-9  # by which a p-value may exceed 1, or limits cross
FEW, MANY = 5, 20  # a column "p" of so few values in so many rows may be a factor


def numbered(rows: pl.DataFrame, file: Path, columns: Columns, reading: Reading) -> pl.DataFrame:
    """Turn text into numbers; refuse text, and a column of p that may be a factor."""
    for name in (*NUMBERS, *TRUTHS):
        if name not in rows.columns:
            continue
        values = rows[name].cast(pl.Float64, strict=False)
        wrong = rows[name].is_not_null() & values.is_null()
        _refuse(rows, wrong, f"'{name}' must hold numbers", name)
        rows = rows.with_columns(_unbounded(values.fill_nan(None), name).alias(name))
    if {"true_value", "own_true_value"} <= set(rows.columns):  # a trial with its own true value is judged by that
        shared = pl.when(pl.col("own_true_value").is_null()).then(pl.col("true_value"))
        rows = rows.with_columns(shared.alias("true_value"))
    theirs = "" if "p_value" in reading.renamed else columns.roles.get("p_value", "")
    if theirs.lower() == "p" and _like_a_factor(rows["p_value"]):
        raise DataError(
            f"{file}: column '{theirs}' has only {rows['p_value'].n_unique()} different values in {rows.height} rows: "
            f"a factor (--by {theirs}), or p-values (--map p_value={theirs})?"
        )
    return rows


def _unbounded(values: pl.Series, name: str) -> pl.Series:
    """Limits of intervals, the largest number of Stata being its infinity."""
    if name not in ("ci_lower", "ci_upper"):
        return values
    limit, beyond = pl.col(name), pl.col(name).abs() >= STATA_LARGEST
    whole = pl.when(beyond).then(limit.sign() * float("inf")).otherwise(limit)
    return values.alias(name).to_frame().select(whole.alias(name)).to_series()


def _like_a_factor(p: pl.Series) -> bool:
    values = p.drop_nulls()
    inside = bool(((values > 0) & (values < 1)).all())
    return inside and len(values) >= MANY and values.n_unique() <= FEW


def statuses(rows: pl.DataFrame) -> pl.DataFrame:
    """Read words of success and failure; where there is none, or no number at all, the numbers decide.

    Numbers of failed fits are not looked at; those of the others must be possible.
    """
    there = [n for n in ("estimate", "ci_lower", "p_value") if n in rows.columns]
    empty = pl.all_horizontal(pl.col(there).is_null())
    if "status" not in rows.columns:
        rows = rows.with_columns(pl.lit(None, pl.String).alias("status"))
    word = rows["status"].str.to_lowercase()
    _refuse(rows, word.is_not_null() & ~word.is_in([*OK, *FAILED]),
            "'status' must be ok, failed or blank (a factor of that name: --by)", "status")  # fmt: skip
    bad = word.is_in(FAILED).fill_null(False)
    failed = pl.when(pl.lit(bad) | empty).then(pl.lit("failed"))
    rows = rows.with_columns(failed.otherwise(pl.lit("ok")).alias("status"))
    _possible(rows)
    return rows


def set_types(rows: pl.DataFrame, file: Path) -> pl.DataFrame:
    """Check the words that say which confidence sets are no intervals, where there are any."""
    if "ci_type" in rows.columns:
        strange = rows["ci_type"].filter(rows["ci_type"].is_not_null() & ~rows["ci_type"].is_in(KINDS))
        if len(strange):
            raise DataError(f"{file}: {unknown('ci_type', strange[0], KINDS)}")
    return rows


def _possible(rows: pl.DataFrame) -> None:
    """Refuse numbers that are none of their kind: negative SEs, crossed limits, p beyond 0 and 1, infinite values."""
    numbers = pl.DataFrame({n: rows[n] if n in rows.columns else pl.Series(n, [None] * rows.height, dtype=pl.Float64)
                            for n in (*NUMBERS, "true_value", "own_true_value")})  # fmt: skip
    fitted = rows["status"] == "ok"
    e, s, df, low, high, p, *truths = numbers.get_columns()
    hint = "blank it or give the row the status failed"
    _refuse(rows, fitted & (s < 0), "a standard error is negative", "std_error")
    for name, values in (("estimate", e), ("std_error", s)):
        _refuse(rows, fitted & values.is_infinite(), f"the {name} is not finite ({hint})", name)
    for values in truths:
        _refuse(rows, values.is_infinite(), "a true value is not finite", values.name)
    _refuse(rows, fitted & (df <= 0), "degrees of freedom (df) must be above 0 (a factor: --by)", "df")
    advice = "a p-value lies between 0 and 1 (a factor of that name: --by)"
    _refuse(rows, fitted & ((p < 0) | (p > 1 + ROUNDING)), advice, "p_value")
    _refuse(rows, fitted & (low == float("inf")), "a lower limit cannot be plus infinity", "ci_lower")
    _refuse(rows, fitted & (high == float("-inf")), "an upper limit cannot be minus infinity", "ci_upper")
    crossed = fitted & (low - high > ROUNDING * (low.abs() + high.abs()))
    if crossed.fill_null(False).any():
        row = rows.row(int(crossed.fill_null(False).arg_true()[0]), named=True)
        raise DataError(
            f"{row[PLACE]}: the lower limit is above the upper; {row['ci_lower']:g} and {row['ci_upper']:g} "
            "given (--map ci_lower=... and ci_upper=... name them)"
        )


def _refuse(rows: pl.DataFrame, wrong: pl.Series, message: str, name: str) -> None:
    """Refuse the first row of those that are wrong."""
    places = wrong.fill_null(False).arg_true()
    if len(places):
        row = rows.row(int(places[0]), named=True)
        shown = f"{row[name]:g}" if isinstance(row[name], float) else f"'{row[name]}'"
        raise DataError(f"{row[PLACE]}: {message}; {shown} given")
