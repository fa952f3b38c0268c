"""Codes of missing values, such as -99: made blank where the user names them, pointed at where they are likely."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import polars as pl

from simtrial.batch import ObservedBatch
from simtrial.files.formats.cells import as_text, number

_REPEATED = (sign * float(digit * count) for sign in (-1, 1) for digit in "789" for count in range(2, 6))
USUAL = (*_REPEATED, -9.0, -8.0)
"""What surveys write for a missing answer: 77, 88, 99, 999, ... of either sign, and -8 and -9."""


def blanked_codes(
    frame: pl.DataFrame, codes: Collection[str], but: Collection[str]
) -> tuple[pl.DataFrame, frozenset[str]]:
    """Blank the cells that are one of the codes, as a number (-99, -99.0) or as text; columns ``but`` are left.

    Returns
    -------
    frame, found
        The frame, and the codes that occur.
    """
    found = set[str]()
    for name in [name for name in frame.columns if name not in but]:
        by_code = {code: _is_code(frame[name], code) for code in codes}
        found |= {code for code, cells in by_code.items() if cells.any()}
        coded = pl.any_horizontal(*(pl.lit(cells) for cells in by_code.values()))
        frame = frame.with_columns(pl.when(~coded).then(pl.col(name)).alias(name))
    return frame, frozenset(found)


def _is_code(cells: pl.Series, code: str) -> pl.Series:
    """Which cells are a code."""
    alike, value = (as_text(cells) == code).fill_null(False), number(code)
    if value is not None:
        alike |= (cells.cast(pl.Float64, strict=False) == float(value)).fill_null(False)
    return alike


def likely_codes(batch: ObservedBatch) -> list[str]:
    """Say of each numeric column which usual code stands further from all other values than these from one another."""
    found = []
    for name, column in batch.columns.items():
        if name == "arm" or column.categories:
            continue
        values = column.values[~np.isnan(column.values)]
        usual = np.isin(values, USUAL)
        others = values[~usual]
        if not len(others):
            continue
        low, high = others.min(), others.max()
        apart = usual & ((values < low - (high - low)) | (values > high + (high - low)))
        for code in np.unique(values[apart]):
            count = int((values == code).sum())
            rows = f"{count} row{'s' if count > 1 else ''}"
            found.append(
                f"{name} is {code:g} in {rows}, {low:g} to {high:g} in others; if it means missing: --missing {code:g}"
            )
    return found
