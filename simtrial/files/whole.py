"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.errors import EnvironmentFailure


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
