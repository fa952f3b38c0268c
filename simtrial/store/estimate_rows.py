"""Estimates as rows of a frame, one per trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from simtrial.estimators import Estimates
from simtrial.flags import text as flag_text

NUMBERS = ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value")


class Part(NamedTuple):
    """Some rows of a frame: how many, and their columns by name, each one value for all rows or one per row."""

    height: int
    columns: Mapping[str, Any]


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
    return table([Part(len(estimates.failed), {**labels, **said(estimates, term)})])


def said(estimates: Estimates, term: int = 0) -> dict[str, Any]:
    """Columns of what a method said of one term: one value for all trials, or one per trial."""
    data: dict[str, Any] = {name: getattr(estimates, name)[term] for name in NUMBERS}
    data["status"] = status(estimates) if estimates.failed.any() else "ok"
    data["flags"] = _texts(estimates.flags.tolist())
    data["n_used"] = estimates.n_used.astype(np.int64)
    data["clusters_used"] = estimates.clusters_used.astype(np.int64)
    data |= dict(estimates.extras)
    for name, notes in estimates.notes.items():
        data[name] = pl.Series([note or None for note in notes.tolist()], dtype=pl.String)
    return data


def table(parts: Sequence[Part]) -> pl.DataFrame:
    """Make a frame of rows of different methods, column by column; one that a part lacks is null there, as NaN is."""
    names = dict.fromkeys(name for part in parts for name in part.columns)
    return pl.DataFrame([_column(name, parts) for name in names])


def _column(name: str, parts: Sequence[Part]) -> pl.Series:
    """One column of all parts, from one array or list where every part has the like of it."""
    values: list[Any] = [part.columns.get(name) for part in parts]
    kinds = {value.dtype if isinstance(value, np.ndarray) else type(value) for value in values}
    if kinds <= {np.dtype(np.float64), type(None)}:
        filled = [np.full(part.height, np.nan) if v is None else v for v, part in zip(values, parts, strict=True)]
        return pl.Series(name, np.concatenate(filled), nan_to_null=True)
    if kinds == {np.dtype(np.int64)}:
        return pl.Series(name, np.concatenate(values))
    if kinds == {str} and len(set(values)) == 1:
        return _repeated(name, values[0], sum(part.height for part in parts))
    if kinds <= {str, list}:
        lists = ([v] * part.height if isinstance(v, str) else v for v, part in zip(values, parts, strict=True))
        return pl.Series(name, [value for each in lists for value in each])
    return _stacked(name, values, parts)


def _stacked(name: str, values: Sequence[Any], parts: Sequence[Part]) -> pl.Series:
    """One column of parts of several kinds, or neither numbers nor texts; polars refuses what does not go together."""
    made = [
        None
        if v is None
        else _repeated(name, v, part.height)
        if np.ndim(v) == 0
        else pl.Series(name, v, nan_to_null=True)
        for v, part in zip(values, parts, strict=True)
    ]
    first = next(series for series in made if series is not None)
    return pl.concat([first.clear(part.height) if s is None else s for s, part in zip(made, parts, strict=True)])


def _repeated(name: str, value: Any, count: int) -> pl.Series:
    """One value for all rows, without a query, which `pl.repeat` would make."""
    return pl.Series(name, [value]).new_from_index(0, count)


def _texts(masks: list[int]) -> list[str] | str:
    """Names of flags of each trial, once where all have the same; few combinations of them occur."""
    texts = {mask: flag_text(mask) for mask in set(masks)}
    return [texts[mask] for mask in masks] if len(texts) > 1 else "".join(texts.values())


def bind(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Stack rows of different methods; a column that one lacks is null there."""
    return pl.concat(frames, how="diagonal")
