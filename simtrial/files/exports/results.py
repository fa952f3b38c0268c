"""Rows of a run as one table for other programs, and what its columns mean."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from simtrial.files.exports.names import LABELS, factor_names
from simtrial.kernels.interval_sets import EMPTY, INTERVAL, TWO_RAYS
from simtrial.scenario.cells import label

OURS = {"replicate": "rep", "estimand": "target", "std_error": "se", "ci_lower": "lci", "ci_upper": "uci",
        "p_value": "p", "own_true_value": "own_true"}  # fmt: skip
"""Our columns that other programs call otherwise."""

STATUS = ("ok", "failed")


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A table of results.

    Attributes
    ----------
    frame
        One row per replicate, method and estimand; numbers of failed fits are null.
    labels
        What each column is.
    sources
        Key of the scenario that each column of a factor holds.
    levels
        Words of the columns that hold numbers of words, in order from 1.
    title
        What the results are of.
    """

    frame: pl.DataFrame
    labels: Mapping[str, str]
    sources: Mapping[str, str]
    levels: Mapping[str, Sequence[str]]
    title: str

    @property
    def odd_sets(self) -> int:
        """Rows whose confidence set is not what lies between its limits."""
        if "ci_type" not in self.frame.columns:
            return 0
        return int(self.frame["ci_type"].is_in([TWO_RAYS, EMPTY]).sum())

    @property
    def own(self) -> bool:
        """Whether trials have true values of their own."""
        return "own_true" in self.frame.columns


def exported(parts: Iterable[pl.DataFrame], cells: pl.DataFrame, title: str) -> Exported:
    """Put the rows of every cell beside its factors and true values, in the order of cells, methods and replicates."""
    known = {str(c): json.loads(f) for c, f in cells.select("cell", "factors").unique(maintain_order=True).iter_rows()}
    names = factor_names([*dict.fromkeys(name for factors in known.values() for name in factors)])
    factors = _factors(known, names)
    frame = pl.concat([_rows(part, cells) for part in parts], how="diagonal")
    frame = frame.join(factors, on="cell", how="left", maintain_order="left")
    beside = [name for factor in names.values() for name in (factor, f"{factor}_level")]
    there = [name for name in LABELS if name in frame.columns]
    frame = frame.select("rep", "dgm", *beside, *(name for name in there if name not in ("rep", "dgm")))
    levels: dict[str, Sequence[str]] = {
        "dgm": [label(values) or cell for cell, values in known.items()],
        "target": frame["target"].unique(maintain_order=True).to_list(),
        "method": frame["method"].unique(maintain_order=True).to_list(),
        "status": STATUS,
    }
    levels |= {f"{names[name]}_level": _ordered([f.get(name) for f in known.values()])[1] for name in names}
    labels = {name: LABELS[name] for name in there}
    labels |= {column: f"factor {key}" for key, column in names.items()}
    labels |= {f"{column}_level": f"number of the level of {column}" for column in names.values()}
    sources = {column: key for key, column in names.items()}
    labels = {name: labels[name] for name in frame.columns}
    return Exported(frame=frame, labels=labels, sources=sources, levels=levels, title=title)


def _rows(part: pl.DataFrame, cells: pl.DataFrame) -> pl.DataFrame:
    """Rows under the names of other programs with true values; a failed fit has no numbers."""
    text = pl.col("cell", "method", "estimand", "status", "flags").cast(pl.String)
    rows = part.with_columns(text).with_columns(pl.col("replicate").cast(pl.Int64))
    truths = ["true_value", "true_value_mcse"]
    known = cells.select("cell", "estimand", *truths).unique(["cell", "estimand"], keep="first")
    rows = rows.join(known, on=["cell", "estimand"], how="left", maintain_order="left")
    fitted = pl.col("status") != "failed"
    numbers = pl.col("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value").cast(pl.Float64)
    rows = rows.with_columns(pl.when(fitted).then(numbers).name.keep())
    rows = rows.with_columns(pl.when(pl.col("df").is_finite()).then(pl.col("df")).alias("df"))
    if "own_true_value" in rows.columns:
        own = pl.col("own_true_value")
        rows = rows.with_columns(pl.coalesce(own, "true_value").alias("true_value"))
        rows = rows.with_columns(pl.when(own.is_null()).then(pl.col("true_value_mcse")).alias("true_value_mcse"))
        rows = rows if rows["own_true_value"].count() else rows.drop("own_true_value")
    if "ci_type" in rows.columns:
        odd = fitted & (pl.col("ci_type").cast(pl.String) != INTERVAL)
        rows = rows.with_columns(pl.when(odd).then(pl.col("ci_type").cast(pl.String)).alias("ci_type"))
        rows = rows if rows["ci_type"].count() else rows.drop("ci_type")
    given = {**OURS, "true_value": "true", "true_value_mcse": "true_mcse"}
    order = rows.select("method", "estimand").unique(maintain_order=True).with_row_index("order")
    rows = rows.join(order, on=["method", "estimand"], how="left").sort("order", "replicate").drop("order")
    return rows.rename({ours: theirs for ours, theirs in given.items() if ours in rows.columns})


def _factors(known: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> pl.DataFrame:
    """The cells with their number, and each factor as it is and as the number of its level."""
    columns: dict[str, Any] = {"cell": list(known), "dgm": list(range(1, len(known) + 1))}
    for key, name in names.items():
        values = [factors.get(key) for factors in known.values()]
        places, _ = _ordered(values)
        columns[name] = _plain(values)
        columns[f"{name}_level"] = places
    return pl.DataFrame(columns, strict=False)


def _plain(values: Sequence[Any]) -> pl.Series:
    """Levels of a factor: numbers if all are, yes and no as 1 and 0, else text (a list or table as JSON)."""
    there = [v for v in values if v is not None]
    if all(isinstance(v, bool) for v in there):
        return pl.Series([None if v is None else int(v) for v in values], dtype=pl.Int64)
    if all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in there):
        whole = all(isinstance(v, int) for v in there)
        return pl.Series(values, dtype=pl.Int64 if whole else pl.Float64, strict=False)
    return pl.Series([None if v is None else _word(v) for v in values], dtype=pl.String)


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _ordered(values: Sequence[Any]) -> tuple[list[int | None], list[str]]:
    """Number of each value's level from 1, and the levels: numbers by size, others as they come."""
    there = list({_word(v): v for v in values if v is not None}.values())
    if all(isinstance(v, (int, float)) for v in there):
        there = sorted(there)
    words = [_word(v) for v in there]
    return [None if v is None else words.index(_word(v)) + 1 for v in values], words
