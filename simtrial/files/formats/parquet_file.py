"""Parquet files: only the columns that are needed are read, so that others may be of any type."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import polars as pl

from simtrial.errors import DataError
from simtrial.files.formats.parquet_pages import sound
from simtrial.files.formats.source import Content, Source, blanked, reading, silent, stripped

READ = """\
import sys, polars
polars.read_parquet(sys.argv[1], columns=[int(place) for place in sys.argv[2:]], hive_partitioning=False)
"""
"""What a process of its own does with a file, and columns by their places."""


def parquet_source(file: Path) -> Source:
    """Open a Parquet file."""
    with reading(file, "Parquet"), silent():
        data = file.read_bytes()
        schema = pl.read_parquet_schema(BytesIO(data))
    there = list(schema)

    def cells(positions: Sequence[int]) -> Content:
        """Read columns by their places."""
        chosen = [there[at] for at in positions]
        for name in (name for name in chosen if not fits(schema[name])):
            raise DataError(
                f"{file}: column '{name.strip()}' holds values of type {str(schema[name]).lower()}; numbers or words "
                "are needed"
            )
        if not sound(data):
            _tried(file, positions)
        with reading(file, "Parquet"), silent():
            frame = pl.read_parquet(BytesIO(data), columns=chosen, hive_partitioning=False).select(chosen)
            frame = frame.select(plain(frame[name]).alias(name.strip()) for name in chosen)
        orders = {
            n.strip(): t.categories.to_list() for n, t in schema.items() if n in chosen and isinstance(t, pl.Enum)
        }
        rows = pl.int_range(1, frame.height + 1, dtype=pl.Int64, eager=True)
        some = ~frame.select(pl.all_horizontal(pl.all().is_null())).to_series()
        return Content(frame.filter(some), rows.filter(some), orders=orders)

    other = frozenset(name.strip() for name, kind in schema.items() if not fits(kind))
    return Source(file, stripped(there), cells, other=other)


def _tried(file: Path, positions: Sequence[int]) -> None:
    """Read the columns in a process of its own first, which a damaged page may end.

    The library believes a page that claims any number of values (below 0: some 2^64), and an allocation that fails is
    no exception: pages that are not what the footer says are tried where they do no harm. Every other outcome is left
    to the reading in this process.

    Raises
    ------
    DataError
        When that process neither ends well nor with an exception.
    """
    command = [sys.executable, "-P", "-c", READ, str(file.resolve()), *map(str, positions)]
    with suppress(OSError, ValueError):  # no such process can be started
        nowhere = subprocess.DEVNULL
        done = subprocess.run(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, check=False)
        if done.returncode not in (0, 1):
            raise DataError(f"{file}: cannot be read as Parquet (a damaged page ends the reader)")


def fits(kind: pl.DataType) -> bool:
    """Whether values of this type are numbers or words."""
    return kind.is_numeric() or isinstance(kind, (pl.String, pl.Categorical, pl.Enum, pl.Boolean, pl.Null))


def plain(values: pl.Series) -> pl.Series:
    """Cells as whole numbers, numbers or text; NaN is a blank."""
    if values.dtype == pl.Null:
        return values.cast(pl.Float64)
    if values.dtype == pl.Boolean:
        return values.cast(pl.Int64)
    if values.dtype.is_integer():
        return values.cast(pl.UInt64 if values.dtype == pl.UInt64 else pl.Int64)
    if values.dtype.is_numeric():
        return values.cast(pl.Float64).fill_nan(None)
    return values.cast(pl.String).to_frame("cells").select(blanked(pl.col("cells"))).to_series()
