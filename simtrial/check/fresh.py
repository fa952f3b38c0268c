"""Checks with new seeds: an expectation fails only if a second run, four times as large, fails it again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from secrets import randbelow
from typing import Any

import polars as pl

LARGER = 4
"""Replicates of the second run, in those of the first."""


def fresh_seed() -> int:
    """Seed from the entropy of the machine; nine digits, so that it can be typed again."""
    return randbelow(10**9)


def second_seed(first: int) -> int:
    """Seed of the second run, which follows from that of the first but shares no stream with it."""
    return int.from_bytes(sha256(f"second run after {first}".encode()).digest()[:4], "big")


def to_try_again(
    frame: pl.DataFrame, cells: pl.DataFrame, expectations: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return the expectations that failed, one for each cell and estimand in which they failed.

    Parameters
    ----------
    frame
        What `check` gave for the first run.
    cells
        cell, factors of the run.
    """
    factors = dict(cells.select("cell", "factors").unique().iter_rows())
    failed = frame.filter(pl.col("verdict") == "FAIL").select("expectation", "cell", "estimand")
    return [
        {**wanted, "estimand": estimand or wanted.get("estimand", ""), "cell": json.loads(factors[cell])}
        for at, cell, estimand in failed.iter_rows()
        for wanted in [expectations[at - 1]]
    ]


def both(first: pl.DataFrame, second: pl.DataFrame | None, rate: float) -> pl.DataFrame:
    """Rows of two runs as one: those of the first that hold, and in place of those that failed theirs of the second.

    ``expectation`` stays the place in the scenario. ``false_alarm`` is the probability that a correct program fails
    both: that of the first times that of the second, which is at most ``rate`` over all that it judges.
    """
    failed = first.filter(pl.col("verdict") == "FAIL")
    held = first.filter(pl.col("verdict") != "FAIL").with_columns(pl.col("false_alarm") * rate)
    if second is None:
        return held
    before = failed.select("expectation", first_alarm="false_alarm").with_row_index("at", 1)
    anew = second.rename({"expectation": "at"}).join(
        before.with_columns(pl.col("at").cast(second.schema["expectation"])), on="at", how="left", maintain_order="left"
    )
    anew = anew.with_columns(pl.col("false_alarm") * pl.col("first_alarm"))
    return pl.concat([held, anew.select(held.columns)], how="vertical_relaxed")
