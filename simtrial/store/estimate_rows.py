"""Estimates as rows of a frame, one per trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

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


def bind(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Stack rows of different methods; a column that one lacks is null there."""
    return pl.concat(frames, how="diagonal")
