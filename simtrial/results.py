"""Estimates as rows: frames, Parquet chunks with records, and the contents of a run directory."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from simtrial.errors import EnvironmentFailure, StoreError
from simtrial.estimators import Estimates
from simtrial.flags import text as flag_text

NUMBERS = ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value")


def status(estimates: Estimates) -> list[str]:
    """Say ok or failed for each trial."""
    return ["failed" if bad else "ok" for bad in estimates.failed.tolist()]


def rows(estimates: Estimates, labels: Mapping[str, Any], term: int = 0) -> pl.DataFrame:
    """Turn estimates of one term into rows, one per trial; NaN becomes null.

    Parameters
    ----------
    estimates
        What a method said.
    labels
        Columns put first: a scalar for all trials, or one value per trial.
    """
    count = len(estimates.failed)
    data: dict[str, Any] = {k: v if isinstance(v, (list, np.ndarray)) else [v] * count for k, v in labels.items()}
    data |= {name: getattr(estimates, name)[term] for name in NUMBERS}
    data["status"] = status(estimates)
    data["flags"] = [flag_text(mask) for mask in estimates.flags.tolist()]
    data["n_used"] = estimates.n_used.astype(np.int64)
    data["clusters_used"] = estimates.clusters_used.astype(np.int64)
    data |= dict(estimates.extras)
    for name, notes in estimates.notes.items():
        data[name] = pl.Series([note or None for note in notes.tolist()], dtype=pl.String)
    frame = pl.DataFrame(data)
    return frame.with_columns(pl.col(pl.Float64).fill_nan(None))


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file atomically: temporary file, fsync, rename.

    Raises
    ------
    EnvironmentFailure
        When the disk refuses.
    """
    aside = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        aside.replace(file)
    except OSError as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise EnvironmentFailure(f"{file}: cannot be written ({error.strerror or error})") from None


def write_json(file: Path, value: Any) -> None:
    """Write JSON, keys as given, no NaN."""
    write_bytes(file, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def parquet_bytes(frame: pl.DataFrame, provenance: Mapping[str, str]) -> bytes:
    """Return a frame as compressed Parquet that carries its origin."""
    from io import BytesIO

    buffer = BytesIO()
    frame.write_parquet(buffer, compression="zstd", metadata=dict(provenance))
    return buffer.getvalue()


def write_chunk(file: Path, frame: pl.DataFrame, record: Mapping[str, Any], provenance: Mapping[str, str]) -> None:
    """Write a chunk and then the record that makes it count."""
    content = parquet_bytes(frame, provenance)
    write_bytes(file, content)
    digest = hashlib.sha256(content).hexdigest()
    write_json(file.with_suffix(".json"), {"sha256": digest, "rows": frame.height, **record})


def read_chunk(file: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Read a chunk back, all columns or those of some that it has, words as categories.

    One that is not what its record says is refused.
    """
    record = read_record(file)
    content = file.read_bytes()
    if record is None or hashlib.sha256(content).hexdigest() != record["sha256"]:
        raise StoreError(f"{file}: damaged, its content has changed since it was written; delete it and run again")
    if columns is None:
        return pl.read_parquet(content)
    there = pl.read_parquet_schema(content)
    return pl.read_parquet(content, columns=[c for c in columns if c in there]).with_columns(
        pl.col(pl.String).cast(pl.Categorical)
    )


def read_record(file: Path) -> dict[str, Any] | None:
    """Return the record of a chunk, None if unreadable."""
    try:
        found = json.loads(file.with_suffix(".json").read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"sha256", "rows"} <= set(found) and file.is_file() else None


def bind(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Stack rows of different methods; a column that one lacks is null there."""
    return pl.concat(frames, how="diagonal")
