"""Results made elsewhere (R, Stata, a spreadsheet) as rows: rsimsum's, siman's and our own names, long or wide."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from simtrial.data import hint, read_frame
from simtrial.errors import DataError, unknown
from simtrial.interval_sets import EMPTY, KINDS
from simtrial.kernels.students_t import critical, two_sided

NAMES: dict[str, tuple[str, ...]] = {
    "estimate": ("estimate", "est", "b", "theta", "thetahat", "beta", "coef"),
    "std_error": ("std_error", "se", "stderr", "std.error"),
    "df": ("df", "dof"),
    "ci_lower": ("ci_lower", "lci", "lower", "conf.low", "ll", "lo"),
    "ci_upper": ("ci_upper", "uci", "upper", "conf.high", "ul", "hi"),
    "p_value": ("p_value", "p", "pvalue", "p.value"),
    "true_value": ("true_value", "true", "truth"),
    "own_true_value": ("own_true_value", "own_truth", "theta_r"),
    "replicate": ("replicate", "rep", "dataset", "repno", "i", "id", "sim"),
    "method": ("method", "model", "analysis", "meth"),
    "estimand": ("estimand", "target"),
    "ci_type": ("ci_type",),
    "status": ("status",),
    "flags": ("flags",),
}
"""Our name of a column, and the names it is recognised by, case aside."""

FACTORS = ("cell", "dgm", "scenario")
NUMBERS = ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value")


@dataclass(frozen=True)
class Reading:
    """How a file is to be read: names of columns, factors, a true value for all, df and level of intervals."""

    renamed: Mapping[str, str] = field(default_factory=dict)
    by: Sequence[str] = ()
    true: str | None = None
    df: float | None = None
    level: float = 0.95


def read_results(file: Path, reading: Reading) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Read a file of estimates.

    Intervals and p-values that the file lacks are made from estimate and standard error, by Student's t where there are
    degrees of freedom (a column df, or ``reading.df`` for all), else by the normal distribution.

    Returns
    -------
    rows, cells
        As `simtrial.store.read_rows` gives them.

    Raises
    ------
    DataError
        When a column is missing or is not a number, or an estimand has two true values in one cell.
    """
    frame = read_frame(file)
    there = frame.columns
    frame, names = _renamed(_long(frame, reading), file, reading)
    if "estimate" not in frame.columns and not {"ci_lower", "ci_upper"} <= set(frame.columns):
        raise DataError(
            f"{file}: no column of estimates (known names: {', '.join(NAMES['estimate'])}); columns there: "
            f"{', '.join(there)}; name yours with --map estimate=yours"
        )
    frame = _numbers(frame, file)
    frame = _with_sets(frame, file)
    frame = _with_cells(frame, file, reading)
    frame = _with_truth(frame, file, reading, names)
    rows = _completed(_once(frame, file), reading)
    return rows, _cells(rows, file)


def recognised(file: Path, reading: Reading) -> str:
    """Say which columns of a file were understood as what, and which were not used."""
    frame = read_frame(file)
    _, names = _renamed(_long(frame, reading), file, reading)
    used = ", ".join(f"{ours} = {theirs}" for ours, theirs in names.items())
    wide = {n for n in frame.columns if n not in _long(frame, reading).columns}
    spare = [c for c in frame.columns if c not in {*names.values(), *reading.by, *FACTORS, *wide, reading.true}]
    return f"read: {used}" + (f"; not used: {', '.join(spare)}" if spare else "")


def _once(frame: pl.DataFrame, file: Path) -> pl.DataFrame:
    """Refuse a replicate that a method has twice: cells or methods that were not told apart, or rows copied."""
    if "replicate" not in frame.columns:
        return frame
    keys = [k for k in ("cell", "method", "estimand", "replicate") if k in frame.columns]
    twice = frame.filter(pl.len().over(keys) > 1)
    if twice.height:
        row = twice.row(0, named=True)
        where = ", ".join(f"{k} {row[k]}" for k in keys)
        raise DataError(
            f"{file}: {where} has more than one row; name the method with --map method=..., factors with --by"
        )
    return frame


def _long(frame: pl.DataFrame, reading: Reading) -> pl.DataFrame:
    """Stack a wide file: simsum's x and se_x, or siman's est1, se1, est2, se2."""
    if reading.renamed:
        return frame
    stems = [(c, c, f"se_{c}") for c in frame.columns if f"se_{c}" in frame.columns]
    for start in NAMES["estimate"][:2]:
        ends = [c.removeprefix(start) for c in frame.columns if c.startswith(start) and c != start]
        found = [(e.strip("_."), f"{start}{e}", f"se{e}") for e in ends if f"se{e}" in frame.columns]
        stems = stems or found
    if not stems:
        return frame
    used = {name for _, estimate, error in stems for name in (estimate, error)}
    rest = [c for c in frame.columns if c not in used]
    parts = [
        frame.select(*rest, pl.lit(method).alias("method"), pl.col(e).alias("estimate"), pl.col(s).alias("std_error"))
        for method, e, s in stems
    ]
    return pl.concat(parts)


def _renamed(frame: pl.DataFrame, file: Path, reading: Reading) -> tuple[pl.DataFrame, dict[str, str]]:
    """Give columns our names; also returns which of theirs became which of ours."""
    names = dict(reading.renamed)
    for ours, theirs in names.items():
        if ours not in NAMES:
            raise DataError(f"--map {ours}={theirs}: unknown column '{ours}' (allowed: {', '.join(NAMES)})")
        if theirs not in frame.columns:
            raise DataError(f"{file}: --map {ours}={theirs}: no column '{theirs}'{hint(theirs, frame.columns)}")
    taken = {*names.values(), *reading.by}
    lower = {c.lower(): c for c in frame.columns if c not in taken}
    for ours, known in NAMES.items():
        found = next((lower[k] for k in known if k in lower), None)
        if ours not in names and found is not None:
            names[ours] = found
            lower.pop(found.lower())
    return frame.rename({theirs: ours for ours, theirs in names.items()}), names


def _numbers(frame: pl.DataFrame, file: Path) -> pl.DataFrame:
    for name in (*NUMBERS, "true_value", "own_true_value"):
        if name not in frame.columns:
            continue
        values = frame[name].cast(pl.Float64, strict=False)
        wrong = frame[name].is_not_null() & values.is_null()
        if wrong.any():
            row = int(wrong.arg_true()[0])
            raise DataError(f"{file}:{row + 2}: '{name}' must hold numbers; '{frame[name][row]}' given")
        if name == "std_error" and (values < 0).any():
            row = int((values < 0).arg_true()[0])
            raise DataError(f"{file}:{row + 2}: a standard error is negative; {values[row]:g} given")
        frame = frame.with_columns(values.fill_nan(None).alias(name))
    return frame


def _with_sets(frame: pl.DataFrame, file: Path) -> pl.DataFrame:
    """Check the words that say which confidence sets are no intervals, where there are any."""
    if "ci_type" not in frame.columns:
        return frame
    words = frame["ci_type"].cast(pl.String).replace("", None)
    strange = words.filter(words.is_not_null() & ~words.is_in(KINDS))
    if strange.len():
        raise DataError(f"{file}: {unknown('ci_type', strange[0], KINDS)}")
    return frame.with_columns(words.alias("ci_type"))


def _with_cells(frame: pl.DataFrame, file: Path, reading: Reading) -> pl.DataFrame:
    for name in reading.by:
        if name not in frame.columns:
            raise DataError(f"{file}: --by {name}: no such column{hint(name, frame.columns)}")
    factors = [*reading.by] or [c for c in FACTORS if c in frame.columns]
    if not factors:
        return frame.with_columns(pl.lit("base").alias("cell"), pl.lit("{}").alias("factors"))
    shown = pl.concat_str([pl.lit(f"{f}=") + pl.col(f).fill_null("") for f in factors], separator=", ")
    told = pl.struct(factors).map_elements(lambda row: json.dumps(row), return_dtype=pl.String)
    return frame.with_columns(shown.alias("cell_"), told.alias("factors")).with_columns(cell=pl.col("cell_"))


def _with_truth(frame: pl.DataFrame, file: Path, reading: Reading, names: Mapping[str, str]) -> pl.DataFrame:
    if reading.true is None:
        return (
            frame if "true_value" in frame.columns else frame.with_columns(pl.lit(None, pl.Float64).alias("true_value"))
        )
    try:
        return frame.with_columns(pl.lit(float(reading.true)).alias("true_value"))
    except ValueError:
        column = next((ours for ours, theirs in names.items() if theirs == reading.true), reading.true)
        if column not in frame.columns:
            told = hint(reading.true, frame.columns)
            raise DataError(f"{file}: --true {reading.true}: neither a number nor a column{told}") from None
    return frame.with_columns(pl.col(column).cast(pl.Float64).alias("true_value"))


def _completed(frame: pl.DataFrame, reading: Reading) -> pl.DataFrame:
    """Fill in what can be computed, and number replicates where nobody did."""
    defaults = {"method": pl.lit("method"), "estimand": pl.lit(""), "flags": pl.lit("")}
    frame = frame.with_columns(e.alias(n) for n, e in defaults.items() if n not in frame.columns)
    absent = [pl.lit(None, pl.Float64).alias(n) for n in (*NUMBERS, "own_true_value") if n not in frame.columns]
    frame = frame.with_columns(absent).with_columns(pl.col("method", "estimand", "flags").cast(pl.String).fill_null(""))
    if "replicate" not in frame.columns:
        number = pl.int_range(1, pl.len() + 1).over("cell", "method", "estimand")
        frame = frame.with_columns(number.alias("replicate"))
    else:
        frame = frame.with_columns(pl.col("replicate").rank("dense").cast(pl.Int64))
    frame = _intervals(frame, reading)
    if "status" not in frame.columns:
        nothing = pl.col("estimate").is_null() & pl.col("ci_lower").is_null() & pl.col("p_value").is_null()
        frame = frame.with_columns(pl.when(nothing).then(pl.lit("failed")).otherwise(pl.lit("ok")).alias("status"))
    wanted = ["cell", "factors", "replicate", "method", "estimand", *NUMBERS, "status", "flags", "true_value",
              "own_true_value", *(["ci_type"] if "ci_type" in frame.columns else [])]  # fmt: skip
    return frame.select(wanted)


def _intervals(frame: pl.DataFrame, reading: Reading) -> pl.DataFrame:
    e, s, df = (frame[n].fill_null(np.nan).to_numpy() for n in ("estimate", "std_error", "df"))
    df = np.where(np.isnan(df), np.inf, df) if reading.df is None else np.full(len(df), reading.df)
    half = critical(df, reading.level) * s
    with np.errstate(divide="ignore", invalid="ignore"):
        p = two_sided(e / s, df)
    made = {"ci_lower": e - half, "ci_upper": e + half, "p_value": p}
    filled = [pl.coalesce(pl.col(n), pl.Series(v).fill_nan(None)).alias(n) for n, v in made.items()]
    if "ci_type" not in frame.columns:
        return frame.with_columns(filled)
    empty, said = (pl.col("ci_type") == EMPTY).fill_null(False), frame["p_value"].is_not_null()
    made_p = pl.when(pl.col("ci_type").is_null() | said).then(pl.col("p_value")).alias("p_value")
    blank = [pl.when(~empty).then(pl.col(end)).alias(end) for end in ("ci_lower", "ci_upper")]
    return frame.with_columns(filled).with_columns(made_p, *blank)


def _cells(rows: pl.DataFrame, file: Path) -> pl.DataFrame:
    """Cells with their true values; two for one estimand are refused, unless they are said to be each trial's own."""
    values = rows.select("cell", "factors", "estimand", "true_value").unique(maintain_order=True)
    known = values.filter(pl.col("true_value").is_not_null())
    twice = known.filter(pl.len().over("cell", "estimand") > 1)
    if twice.height:
        first = twice.filter((pl.col("cell") == twice["cell"][0]) & (pl.col("estimand") == twice["estimand"][0]))
        numbers = " and ".join(f"{v:g}" for v in first["true_value"][:2])
        where = f"cell '{twice['cell'][0]}'" + (f", estimand '{twice['estimand'][0]}'" if twice["estimand"][0] else "")
        raise DataError(
            f"{file}: two true values, {numbers}, for one estimand ({where}); name the factor with --by, "
            "or, where each trial has its own, the column with --map own_true_value=..."
        )
    best = values.sort("true_value", nulls_last=True, maintain_order=True)
    one = best.unique(["cell", "estimand"], keep="first", maintain_order=True)
    told = rows.filter(pl.col("own_true_value").is_not_null()).select("cell", "estimand").unique()
    own = told.with_columns(pl.lit(True).alias("own"))
    joined = one.join(own, on=["cell", "estimand"], how="left", maintain_order="left")
    return joined.with_columns(pl.lit(0.0).alias("true_value_mcse"), pl.col("own").fill_null(False))
