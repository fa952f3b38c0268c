"""Names in imported results: methods, estimands, replicates and cells; 7 and 7.0 are one name."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from simtrial.errors import DataError
from simtrial.files.formulas import FORMULA
from simtrial.files.results.columns import PLACE, Columns

LONGEST = 2**53  # whole numbers up to here are exact


def labelled(rows: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """Give every row a cell, a method, an estimand and a replicate.

    ``factors`` are those of the cell as JSON; ``replicate_`` is the replicate's own name in the file.
    """
    for name in ("method", "replicate"):
        if name in rows.columns and rows[name].null_count():
            at = int(rows[name].is_null().arg_true()[0])
            raise DataError(f"{rows[PLACE][at]}: {name} is blank")
    names = [n for n in ("method", "estimand", "replicate", *(f"by:{f}" for f in columns.factors)) if n in rows.columns]
    rows = rows.with_columns(one_spelling(_bare(rows[name])) for name in names)
    blank = {"method": "method", "estimand": "", "flags": ""}
    rows = rows.with_columns(pl.lit(text).alias(name) for name, text in blank.items() if name not in rows.columns)
    rows = rows.with_columns(pl.col("estimand", "flags").fill_null(""))
    rows = _with_cells(rows, columns)
    if "replicate" not in rows.columns:
        number = pl.int_range(1, pl.len() + 1).over("cell", "method", "estimand")
        return rows.with_columns(number.alias("replicate"), number.cast(pl.String).alias("replicate_"))
    rank = pl.col("replicate").rank("dense").cast(pl.Int64)
    return rows.with_columns(rank, pl.col("replicate").alias("replicate_"))


def _bare(names: pl.Series) -> pl.Series:
    """Names without the apostrophe that keeps spreadsheets from taking them for formulas."""
    return names.str.replace("^'(" + FORMULA[1:] + ")", "$1") if names.dtype == pl.String else names


def one_spelling(names: pl.Series) -> pl.Series:
    """Names under one spelling each, where all are numbers and some number is spelt in two ways."""
    numbers = names.cast(pl.Float64, strict=False)
    exact = numbers.is_finite() & (numbers.abs() < LONGEST)
    if not exact.fill_null(names.is_null()).all() or numbers.n_unique() == names.n_unique():
        return names
    first = pl.DataFrame({"text": names, "number": numbers}).with_columns(
        pl.col("text").sort_by(pl.col("text").str.len_chars()).first().over("number")
    )
    return first["text"].alias(names.name)


def _with_cells(rows: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """Cells by the factors, named after them."""
    if not columns.factors:
        return rows.with_columns(pl.lit("base").alias("cell"), pl.lit("{}").alias("factors"))
    inner = [f"by:{f}" for f in columns.factors]
    levels = rows.select(inner).unique(maintain_order=True)
    names = [{f: row[f"by:{f}"] for f in columns.factors} for row in levels.iter_rows(named=True)]
    labels = [", ".join(f"{f}={'' if v is None else v}" for f, v in row.items()) for row in names]
    stated = [json.dumps(row, ensure_ascii=False) for row in names]
    cells = stated if len(set(labels)) < len(labels) else labels
    levels = levels.with_columns(pl.Series("cell", cells), pl.Series("factors", stated))
    return rows.join(levels, on=inner, how="left", nulls_equal=True, maintain_order="left")


def cells_of(rows: pl.DataFrame, file: Path) -> pl.DataFrame:
    """Cells with their true values; two for one estimand are refused, unless they are said to be each trial's own."""
    kept = ["cell", "factors", "estimand", "true_value"]
    error = pl.when(pl.col("true_value").is_not_null()).then(pl.col("true_value_mcse")).fill_null(0.0)
    values = rows.select(*kept, error.alias("true_value_mcse")).unique(kept, keep="first", maintain_order=True)
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
    stated = rows.filter(pl.col("own_true_value").is_not_null()).select("cell", "estimand").unique()
    own = stated.with_columns(pl.lit(True).alias("own"))
    joined = one.join(own, on=["cell", "estimand"], how="left", maintain_order="left")
    return joined.with_columns(pl.col("own").fill_null(False))
