"""Estimates as rows of a frame, one per trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

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
    data: dict[str, Any] = {name: _repeated(v, count) if np.ndim(v) == 0 else v for name, v in labels.items()}
    data |= {name: getattr(estimates, name)[term] for name in NUMBERS}
    data["status"] = status(estimates) if estimates.failed.any() else _repeated("ok", count)
    data["flags"] = _texts(estimates.flags)
    data["n_used"] = estimates.n_used.astype(np.int64)
    data["clusters_used"] = estimates.clusters_used.astype(np.int64)
    data |= dict(estimates.extras)
    for name, notes in estimates.notes.items():
        data[name] = pl.Series([note or None for note in notes.tolist()], dtype=pl.String)
    # columns one by one: a frame made of arrays takes a seventh longer
    return pl.DataFrame([pl.Series(name, values, nan_to_null=True) for name, values in data.items()])


def _repeated(value: Any, count: int) -> pl.Series:
    """One value for all rows, without a query, which `pl.repeat` would make."""
    return pl.Series([value]).new_from_index(0, count)


def _texts(flags: NDArray[np.int64]) -> list[str]:
    """Names of flags of each trial; few combinations of them occur."""
    masks, which = np.unique(flags, return_inverse=True)
    texts = [flag_text(mask) for mask in masks.tolist()]
    return [texts[at] for at in which.tolist()]


def bind(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Stack rows of different methods; a column that one lacks is null there."""
    return pl.concat(frames, how="diagonal")
