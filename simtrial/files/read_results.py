"""Results from other programs (R, Stata, a spreadsheet) as rows: rsimsum's, siman's and our own names, long or wide."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from simtrial.errors import DataError
from simtrial.files.read_trials import read_frame
from simtrial.files.results.columns import PLACE, Columns, columns_of
from simtrial.files.results.inference import completed
from simtrial.files.results.labels import cells_of, labelled
from simtrial.files.results.reading import Reading
from simtrial.files.results.values import numbered, set_types, statuses

__all__ = ["Reading", "Results", "pairs", "read_results", "results"]

ROWS = ("cell", "factors", "replicate", "method", "estimand", "estimate", "std_error", "df", "ci_lower", "ci_upper",
        "p_value", "status", "flags", "true_value", "true_value_mcse", "own_true_value")  # fmt: skip


@dataclass(frozen=True)
class Results:
    """Rows and cells as `simtrial.store.reading.read_run_by_cell` gives them, and how the file was understood.

    ``columns`` says in one line what every column was taken for; ``notes`` what was odd; ``in_order`` that there was no
    column of replicates, so that rows were numbered as they stand.
    """

    rows: pl.DataFrame
    cells: pl.DataFrame
    columns: str
    notes: tuple[str, ...]
    in_order: bool


def read_results(file: Path, reading: Reading) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows and cells of a file of results (see `results`)."""
    found = results(file, reading)
    return found.rows, found.cells


def results(file: Path, reading: Reading) -> Results:
    """Read a file of estimates.

    A method that has neither intervals nor p-values in the file gets both from estimate and standard error, by
    Student's t where there are degrees of freedom (a column df, or ``reading.df`` for all), else by the normal
    distribution. One that has intervals is judged by them alone, and one that has p-values of another test gets no
    intervals: one row's inference comes from one test.

    Raises
    ------
    DataError
        When a column is missing, ambiguous, or holds what it cannot hold; when a replicate is there twice; or an
        estimand has two true values in one cell.
    """
    reading.check()
    frame, where = read_frame(file)
    columns = columns_of(frame, file, reading)
    long = _stacked(frame.with_columns(where.every().alias(PLACE)), columns)
    long = set_types(statuses(numbered(long, file, columns, reading)), file)
    long = labelled(long, columns)
    _once(long)
    rows, notes = completed(long, file, reading)
    rows = rows.select(*ROWS, *(["ci_type"] if "ci_type" in rows.columns else []))
    in_order = "replicate" not in columns.roles
    return Results(
        rows=rows, cells=cells_of(rows, file), columns=columns.line(file, reading), notes=notes, in_order=in_order
    )


def _stacked(frame: pl.DataFrame, columns: Columns) -> pl.DataFrame:
    """Columns under our names, factors under theirs after ``by:``; the methods of a wide file below one another."""
    factors = [pl.col(name).alias(f"by:{name}") for name in columns.factors]
    common = [pl.col(PLACE), *factors, *(pl.col(theirs).alias(ours) for ours, theirs in columns.roles.items())]
    if not columns.stems:
        return frame.select(common)
    parts = []
    for stem in columns.stems:
        own = [pl.col(theirs).alias(ours) for ours, theirs in stem.roles.items()]
        parts.append(frame.select(*common, pl.lit(stem.method).alias("method"), *own))
    return pl.concat(parts, how="diagonal")


def _once(rows: pl.DataFrame) -> None:
    """Reject repeated replicates of a method: undeclared cells or methods, or copied rows."""
    keys = ["cell", "method", "estimand", "replicate"]
    twice = rows.filter(pl.len().over(keys) > 1)
    if twice.height:
        row = twice.row(0, named=True)
        where = f"cell '{row['cell']}', method '{row['method']}', replicate {row['replicate_']}"
        where += f", estimand '{row['estimand']}'" if row["estimand"] else ""
        raise DataError(
            f"{row[PLACE]}: {where} has more than one row; name the method with --map method=..., factors with --by"
        )


def pairs(found: Results, file: Path, reference: str | None) -> None:
    """Refuse a comparison replicate by replicate where it is not known which rows belong together.

    Without a column of replicates rows are paired as they stand, which needs equal numbers; with one, a method must
    share replicates with the reference.
    """
    for (cell, _), group in found.rows.group_by("cell", "estimand", maintain_order=True):
        counts = {str(m): g for (m,), g in group.group_by("method", maintain_order=True)}
        sizes = {m: g.height for m, g in counts.items()}
        if found.in_order and len(set(sizes.values())) > 1:
            (low, a), (high, b) = min(sizes.items(), key=lambda x: x[1]), max(sizes.items(), key=lambda x: x[1])
            raise DataError(
                f"{file}: no column of replicates, and unequal counts: in cell '{cell}' method '{low}' has {a} rows, "
                f"'{high}' has {b}; they cannot be paired; name the replicate with --map replicate=..."
            )
        if reference is None or reference not in counts:
            continue
        known = set(counts[reference]["replicate"])
        for method, rows in counts.items():
            if known.isdisjoint(rows["replicate"]):
                raise DataError(
                    f"{file}: in cell '{cell}' method '{method}' shares no replicate with the reference "
                    f"'{reference}'; name the replicate with --map replicate=..."
                )
