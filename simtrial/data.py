"""Data sets of real trials: read, checked, and laid out as a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from simtrial.batch import Column, Index, ObservedBatch
from simtrial.errors import DataError, nearest

BLANKS = ("", "NA", "NaN", "nan", ".")
INDICATORS = ("arm", "received", "treat", "treatment", "trt", "allocation")
"""Names under which a labelled 0/1 variable of a Stata file is read as a number."""

ORDERS = (("Birmingham", "Plymouth", "Cornwall", "Somerset"), ("small", "large"))
"""Orders of categories that are not alphabetical; the first is the reference."""


def read_frame(file: Path) -> pl.DataFrame:
    """Read a CSV, Parquet or Stata file as text columns, blanks as nulls."""
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    if file.stat().st_size == 0:
        raise DataError(f"{file}: the file is empty; expected a header line and one row per participant")
    try:
        frame = _read(file)
    except Exception as error:  # whatever a reader raises becomes one message about the file
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file}: cannot be read as {_kind(file)} ({str(error).splitlines()[0]})") from None
    if frame.height == 0:
        raise DataError(f"{file}: no rows; expected one row per participant")
    text = frame.select(pl.all().cast(pl.String).str.strip_chars())
    return text.with_columns(pl.when(pl.all().is_in(BLANKS)).then(None).otherwise(pl.all()).name.keep())


def _kind(file: Path) -> str:
    kinds = {".csv": "CSV", ".parquet": "Parquet", ".dta": "a Stata file"}
    if file.suffix.lower() not in kinds:
        raise DataError(f"{file}: unknown kind of file '{file.suffix}' (allowed: .csv, .parquet, .dta)")
    return kinds[file.suffix.lower()]


def _read(file: Path) -> pl.DataFrame:
    kind = _kind(file)
    if kind == "CSV":
        with file.open("rb") as handle:
            header = handle.readline()
        separator = ";" if header.count(b";") > header.count(b",") else ","
        frame = pl.read_csv(file, infer_schema=False, separator=separator)
        twice = [c.removesuffix("_duplicated_0") for c in frame.columns if c.endswith("_duplicated_0")]
        if twice:
            raise DataError(f"{file}:1: two columns are named '{twice[0]}'")
        return frame
    if kind == "Parquet":
        return pl.read_parquet(file)
    import pandas as pd

    frame, codes = pd.read_stata(file), pd.read_stata(file, convert_categoricals=False)
    for name in frame.columns:  # labelled 0/1 variables, such as an arm, are numbers
        if frame[name].dtype == "category" and set(codes[name].dropna().unique()) <= {0, 1} and name in INDICATORS:
            frame[name] = codes[name]
    columns = {str(name): [None if v is pd.NA else v for v in frame[name].astype("string")] for name in frame.columns}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def read_trials(
    files: Sequence[Path], needed: Iterable[str], renamed: Mapping[str, str], factors: Sequence[str] = ()
) -> tuple[list[str], ObservedBatch]:
    """Read one or more files, one or more trials in each, as one batch.

    Parameters
    ----------
    files
        CSV, Parquet or .dta; one row per participant. Without a column trial_id a file is one trial named after it.
    needed
        Columns the methods read.
    renamed
        Our name -> the user's name of a column.
    factors
        Columns of numbers to be taken as categories.

    Returns
    -------
    trial_ids, batch
        In order of first appearance.
    """
    wanted = [*dict.fromkeys(["practice", "arm", *sorted(needed)])]
    stems = [file.stem for file in files]
    names = [f.stem if stems.count(f.stem) == 1 else str(f) for f in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{twice[0]}: given twice")
    frames = [_one_file(file, name, wanted, renamed) for file, name in zip(files, names, strict=True)]
    seen: dict[str, str] = {}
    for file, part in zip(files, frames, strict=True):
        for name in part["trial_id"].unique().to_list():
            if seen.setdefault(name, str(file)) != str(file):
                raise DataError(f"{file}: trial '{name}' is in {seen[name]} as well")
    frame = pl.concat(frames).with_row_index("order")
    ids = frame["trial_id"].unique(maintain_order=True).to_list()
    places = {name: at for at, name in enumerate(ids)}
    frame = frame.with_columns(pl.col("trial_id").replace_strict(places, return_dtype=pl.Int64).alias("trial"))
    first = pl.col("order").min().over("trial", "practice")
    frame = frame.with_columns(first.alias("first")).sort("trial", "first", "order")
    practice = frame.select(pl.struct("trial", "first").rle_id()).to_series().to_numpy().astype(np.intp)
    starts = np.searchsorted(practice, np.arange(practice[-1] + 1))
    trial = frame["trial"].to_numpy().astype(np.intp)
    index = Index(len(ids), trial[starts], practice)
    columns = {name: _column(frame, name, index, starts, name in factors) for name in wanted if name != "practice"}
    _check_arm(frame, columns["arm"])
    return ids, ObservedBatch(index, columns)


def _one_file(file: Path, name: str, wanted: Sequence[str], renamed: Mapping[str, str]) -> pl.DataFrame:
    frame = read_frame(file)
    for ours, theirs in renamed.items():
        if theirs not in frame.columns:
            raise DataError(f"{file}: --map {ours}={theirs}: no column '{theirs}'{hint(theirs, frame.columns)}")
    moved = {theirs: ours for ours, theirs in renamed.items() if theirs != ours}
    frame = frame.drop([ours for ours in moved.values() if ours in frame.columns and ours not in moved]).rename(moved)
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        told = "; ".join(f"no column '{name}'{hint(name, frame.columns)}" for name in missing)
        raise DataError(f"{file}: {told}; columns there: {', '.join(frame.columns)}; rename with --map name=yours")
    trial = pl.col("trial_id") if "trial_id" in frame.columns else pl.lit(name).alias("trial_id")
    where = pl.int_range(2, pl.len() + 2).alias("line")
    frame = frame.select(trial, pl.lit(str(file)).alias("file"), where, *wanted)
    for name in ("trial_id", "practice"):
        blank = frame.filter(pl.col(name).is_null())
        if blank.height:
            raise DataError(f"{file}:{blank['line'][0]}: {name} is blank")
    return frame


def hint(name: str, columns: Sequence[str]) -> str:
    """Which column was probably meant, as the end of a message."""
    close = nearest(name, columns)
    return f" (did you mean '{close}'?)" if close else ""


def _column(frame: pl.DataFrame, name: str, index: Index, starts: NDArray[np.intp], factor: bool) -> Column:
    """Numbers where every value is one, categories where none is; practice level where constant in every practice."""
    text = frame[name]
    numbers = text.cast(pl.Float64, strict=False)
    wrong = frame.filter(text.is_not_null() & (numbers.is_null() | numbers.is_infinite() | numbers.is_nan()))
    numeric = name == "arm" or name.endswith(("_baseline", "_followup")) or wrong.height < text.count()
    categories: tuple[str, ...] = ()
    if factor or (not numeric and text.count()):
        categories = _categories(text)
        codes = {label: code for code, label in enumerate(categories)}
        values = text.replace_strict(codes, default=None, return_dtype=pl.Int64).fill_null(-1).to_numpy()
    elif wrong.height:
        row = wrong.row(0, named=True)
        raise DataError(
            f"{row['file']}:{row['line']}: column '{name}' must hold numbers (blank or NA if missing); "
            f"'{row[name]}' given"
        )
    else:
        values = numbers.fill_null(np.nan).to_numpy()
    at_practice = values[starts]
    same = (values == at_practice[index.participant_practice]) | (
        np.isnan(values) & np.isnan(at_practice[index.participant_practice])
    )
    values = at_practice if same.all() else values
    return Column(values, "practice" if same.all() else "participant", categories)


def _categories(text: pl.Series) -> tuple[str, ...]:
    found = set(text.drop_nulls().to_list())
    for order in ORDERS:
        if found <= set(order):
            return tuple(label for label in order if label in found)
    return tuple(sorted(found))


def _check_arm(frame: pl.DataFrame, arm: Column) -> None:
    wrong = frame.filter(pl.col("arm").is_null() | ~pl.col("arm").cast(pl.Float64, strict=False).is_in([0.0, 1.0]))
    if wrong.height:
        row = wrong.row(0, named=True)
        given = "a blank" if row["arm"] is None else f"'{row['arm']}'"
        raise DataError(f"{row['file']}:{row['line']}: arm must be 0 (control) or 1 (intervention); {given} given")
    if arm.level != "practice":
        mixed = frame.filter(pl.col("arm").n_unique().over("trial", "practice") > 1).row(0, named=True)
        raise DataError(
            f"{mixed['file']}:{mixed['line']}: practice '{mixed['practice']}' has participants in both arms; "
            "practices are allocated as a whole"
        )
