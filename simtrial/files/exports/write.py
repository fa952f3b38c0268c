"""Exported results as files: CSV, Stata or Parquet, a codebook, and scripts that analyse them in R and Stata."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from simtrial.files.exports.results import Exported
from simtrial.files.exports.scripts import r_script, stata_script
from simtrial.files.formulas import harmless_frame
from simtrial.files.whole import parquet_bytes, write_bytes
from simtrial.files.write_trials import write_stata

ENDINGS = {"rsimsum": "csv", "siman": "dta", "csv": "csv", "dta": "dta", "parquet": "parquet"}
"""Kind of file of each format."""

LANGUAGES = {"rsimsum": "R", "siman": "Stata", "csv": "R, Stata", "dta": "R, Stata", "parquet": "R"}
"""Languages whose scripts go with a format."""

LARGEST = 8.9884656743115785e307
"""The largest number that Stata knows: it stands for infinity there."""


def write_results(found: Exported, folder: Path, form: str, origin: Mapping[str, str]) -> list[Path]:
    """Write results, codebook and scripts into a folder; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / f"results.{ENDINGS[form]}"
    if data.suffix == ".csv":
        write_bytes(data, csv_bytes(found.frame))
    elif data.suffix == ".parquet":
        write_bytes(data, parquet_bytes(found.frame, origin))
    else:
        _write_stata(found, data)
    book = folder / "codebook.csv"
    write_bytes(book, csv_bytes(codebook(found)))
    files = [data, book]
    if "R" in LANGUAGES[form].split(", "):
        files.append(folder / "analyse.R")
        write_bytes(files[-1], r_script(found, data.name).encode())
    if "Stata" in LANGUAGES[form].split(", "):
        files.append(folder / "analyse.do")
        write_bytes(files[-1], stata_script(found, data.name).encode())
    return files


def csv_bytes(frame: pl.DataFrame) -> bytes:
    """A frame as CSV that R, Stata and spreadsheets take: Inf for infinity, no text that begins a formula."""
    text = pl.col(pl.String)
    some = pl.when(text != "").then(text)  # else an empty cell would be written as a pair of quotes
    frame = harmless_frame(frame.with_columns(some.name.keep()))
    infinite = [n for n, t in frame.schema.items() if t == pl.Float64 and frame[n].is_infinite().any()]
    words = pl.when(pl.col(infinite) > 0).then(pl.lit("Inf")).otherwise(pl.lit("-Inf"))
    exact = pl.when(pl.col(infinite).is_infinite()).then(words).otherwise(pl.col(infinite).cast(pl.String)).name.keep()
    return (frame.with_columns(exact) if infinite else frame).write_csv().encode()


def codebook(found: Exported) -> pl.DataFrame:
    """Every column: its name, what it is, its values, and the key of the scenario that a factor is."""
    rows = []
    for name in found.frame.columns:
        levels = found.levels.get(name, ())
        numbered = name == "dgm" or name.endswith("_level")
        values = "; ".join(f"{at} = {word}" if numbered else word for at, word in enumerate(levels, 1))
        rows.append((name, found.labels[name], values, found.sources.get(name, "")))
    return pl.DataFrame(rows, schema=["name", "label", "values", "source"], orient="row")


def _write_stata(found: Exported, file: Path) -> None:
    """Write Stata's file: words as labelled numbers, infinite limits as its largest number, missing as its point."""
    import pandas as pd

    columns, labels = {}, {}
    for name in found.frame.columns:
        values = found.frame[name]
        levels = found.levels.get(name, ())
        if levels and values.dtype == pl.String:
            codes = {word: at for at, word in enumerate(levels, 1) if word}
            values = values.replace_strict(codes, default=None, return_dtype=pl.Int64)
        if levels:
            labels[name] = {at: word[:32_000] for at, word in enumerate(levels, 1) if word}
        columns[name] = _stata(values)
    write_stata(
        pd.DataFrame(columns), file, data_label=found.title[:80], value_labels=labels,
        variable_labels={name: text[:80] for name, text in found.labels.items()},
    )  # fmt: skip


def _stata(values: pl.Series) -> object:
    if values.dtype == pl.String:
        return values.fill_null("").to_list()
    if values.dtype.is_integer() and not values.null_count():
        return values.cast(pl.Int32).to_numpy()
    numbers = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return np.where(np.isinf(numbers), np.sign(numbers) * LARGEST, numbers)
