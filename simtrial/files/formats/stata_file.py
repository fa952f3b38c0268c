"""Stata files: codes as numbers with their labels beside them, and only the columns that are needed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from simtrial.files.formats.source import Content, Labels, Source, blanked, reading, stripped

KIND = "a Stata file"


def stata_source(file: Path) -> Source:
    """Open a Stata file of any version."""
    with reading(file, KIND):
        data = file.read_bytes()
        there, labelled = _header(data)

    def cells(positions: Sequence[int]) -> Content:
        """Read columns by their places."""
        chosen = [there[at] for at in positions]
        with reading(file, KIND):
            table = _table(data, chosen, labelled=False)
            columns = {name.strip(): _plain(table[name].to_numpy()) for name in chosen}
            labels = {
                name.strip(): found
                for name in chosen
                if labelled
                and columns[name.strip()].dtype != pl.String
                and (found := _labels(data, name, table[name].to_numpy())) is not None
            }
        frame = pl.DataFrame(columns)
        rows = pl.int_range(1, frame.height + 1, dtype=pl.Int64, eager=True)
        some = ~frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
        return Content(frame.filter(some), rows.filter(some), labels=labels)

    return Source(file, stripped(there), cells)


def _header(data: bytes) -> tuple[list[str], bool]:
    """Names of the columns, and whether any values have labels."""
    from pandas.io.stata import StataReader

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with StataReader(BytesIO(data)) as reader:
            return list(reader.variable_labels()), bool(reader.value_labels())


def _table(data: bytes, columns: Sequence[str], labelled: bool) -> Any:
    """Read some columns; dates stay the numbers they are stored as, every missing value is NaN."""
    from pandas.io.stata import StataReader

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with StataReader(
            BytesIO(data), convert_categoricals=labelled, convert_dates=False, convert_missing=False,
            preserve_dtypes=False,
        ) as reader:  # fmt: skip
            return reader.read(columns=list(columns))


def _plain(values: np.ndarray[Any, Any]) -> pl.Series:
    """Cells as whole numbers, numbers or text; missing values, extended ones as well, are blanks."""
    if values.dtype.kind in "iu":
        return pl.Series(values.astype(np.int64))
    if values.dtype.kind == "f":
        return pl.Series(values.astype(np.float64)).fill_nan(None)
    words = pl.DataFrame({"cells": pl.Series([v if isinstance(v, str) else None for v in values], dtype=pl.String)})
    return words.select(blanked(pl.col("cells"))).to_series()


def _labels(data: bytes, name: str, codes: np.ndarray[Any, Any]) -> Labels | None:
    """Labels of the codes that occur, None for a column without labels."""
    try:
        words = _table(data, [name], labelled=True)[name]
    except ValueError as error:
        if "not unique" not in str(error):
            raise
        return Labels({}, str(error).strip().splitlines()[-1].strip())
    if str(words.dtype) != "category":
        return None
    each, rows = np.unique(codes, return_index=True)
    pairs = {float(code): words.iloc[row] for code, row in zip(each, rows, strict=True) if code == code}
    named = {code: word.strip() for code, word in pairs.items() if isinstance(word, str) and word.strip()}
    twice = [word for word in named.values() if list(named.values()).count(word) > 1]
    return Labels(named, twice[0] if twice else None)
