"""Estimates as rows of a frame, one per trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from simtrial.estimators import Estimates
from simtrial.flags import text as flag_text

NUMBERS = ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value")


class Piece(NamedTuple):
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
    return table([Piece(len(estimates.failed), {**labels, **columns_of(estimates, term)})])


def columns_of(estimates: Estimates, term: int = 0) -> dict[str, Any]:
    """Columns of the estimates of one term: one value for all trials, or one per trial.

    They are copies: a method may return arrays that it fills anew for the next block.
    """
    data: dict[str, Any] = {name: getattr(estimates, name)[term].copy() for name in NUMBERS}
    data["status"] = status(estimates) if estimates.failed.any() else "ok"
    data["flags"] = _texts(estimates.flags.tolist())
    data["n_used"] = estimates.n_used.astype(np.int64)
    data["clusters_used"] = estimates.clusters_used.astype(np.int64)
    data |= {name: values.copy() for name, values in estimates.extras.items()}
    for name, notes in estimates.notes.items():
        data[name] = pl.Series([note or None for note in notes.tolist()], dtype=pl.String)
    return data


def table(pieces: Sequence[Piece]) -> pl.DataFrame:
    """Make a frame of rows of different methods, column by column; one that a piece lacks is null there, as NaN is."""
    names = dict.fromkeys(name for piece in pieces for name in piece.columns)
    return pl.DataFrame([_column(name, pieces) for name in names])


def _column(name: str, pieces: Sequence[Piece]) -> pl.Series:
    """One column of all pieces, from one array or list where every piece has the like of it."""
    values: list[Any] = [piece.columns.get(name) for piece in pieces]
    kinds = {value.dtype if type(value) is np.ndarray else type(value) for value in values}
    if kinds <= {np.dtype(np.float64), type(None)}:
        filled = [np.full(piece.height, np.nan) if v is None else v for v, piece in zip(values, pieces, strict=True)]
        return pl.Series(name, np.concatenate(filled), nan_to_null=True)
    if kinds == {np.dtype(np.int64)}:
        return pl.Series(name, np.concatenate(values))
    if kinds == {str} and len(set(values)) == 1:
        return _repeated(name, values[0], sum(piece.height for piece in pieces))
    if kinds <= {str, list}:
        lists = ([v] * piece.height if isinstance(v, str) else v for v, piece in zip(values, pieces, strict=True))
        return pl.Series(name, [value for each in lists for value in each])
    return _stacked(name, values, pieces)


def _stacked(name: str, values: Sequence[Any], pieces: Sequence[Piece]) -> pl.Series:
    """One column of pieces of several kinds, or neither numbers nor texts; polars refuses what does not go together."""
    made = [_series(name, v, piece.height) for v, piece in zip(values, pieces, strict=True)]
    first = next(series for series in made if series is not None)
    return pl.concat([first.clear(piece.height) if s is None else s for s, piece in zip(made, pieces, strict=True)])


def _series(name: str, value: Any, count: int) -> pl.Series | None:
    """One column of one piece, None where it lacks it."""
    if value is None:
        return None
    return _repeated(name, value, count) if np.ndim(value) == 0 else pl.Series(name, value, nan_to_null=True)


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
