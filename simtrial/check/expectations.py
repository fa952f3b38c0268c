"""Compare simulated performance with a scenario's expectations, in Monte Carlo standard errors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import hypot, isnan, sqrt
from typing import Any

import polars as pl

from simtrial.performance import SEEN, SHARES, counted

RARE = 9.0  # replicates expected, with or without, below which a share is judged by the exact binomial distribution
COLUMNS = ("cell", "method", "estimand", "measure", "value", "mcse", "n", "expected", "distance", "allowed", "verdict")


def check(frame: pl.DataFrame, cells: pl.DataFrame, expectations: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Judge every expectation in every cell it is about.

    A theory value fails when it is more than ``z`` combined standard errors away (its own ``mcse`` included); a bound
    when the measure lies beyond it by more than ``z`` standard errors. The error of a share is taken under the
    expectation, so that 0 or 100% observed is not mistaken for certainty; where the expectation is so near 0 or 1 that
    fewer than 9 of the n replicates are expected to differ, its distance is the normal deviate with the exact binomial
    tail probability. Failures and flags are judged as shares of replicates. A measure that cannot be computed fails.

    Returns
    -------
    frame
        One row per expectation and cell: `COLUMNS`; ``distance`` in standard errors, ``verdict`` ok or FAIL.
    """
    factors = {c: json.loads(f) for c, f in cells.select("cell", "factors").unique(maintain_order=True).iter_rows()}
    lines: list[tuple[Any, ...]] = []
    for wanted in expectations:
        for cell, values in factors.items():
            if all(values.get(k) == v for k, v in wanted.get("cell", {}).items()):
                lines += _judged(frame, cell, wanted)
    return pl.DataFrame(lines, schema=list(COLUMNS), orient="row", infer_schema_length=None)


def _judged(frame: pl.DataFrame, cell: str, wanted: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    rows = frame.filter((pl.col("cell") == cell) & (pl.col("method") == wanted["method"]))
    if wanted.get("estimand"):
        rows = rows.filter(pl.col("estimand") == wanted["estimand"])
    found = rows.filter(pl.col("measure") == wanted["measure"])
    if not found.height and wanted["measure"].startswith(SEEN) and rows.height:
        found = rows.filter(pl.col("measure") == "failures").with_columns(value=pl.lit(0.0), mcse=pl.lit(0.0))
    return [_line(cell, wanted, row) for row in found.iter_rows(named=True)] or [
        (cell, wanted["method"], "", wanted["measure"], None, None, 0, _expected(wanted), None, None, "FAIL")
    ]


def _line(cell: str, wanted: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[Any, ...]:
    value, mcse, n = row["value"], row["mcse"], row["n"]
    count = counted(wanted["measure"])
    if count and value is not None and n:
        value, mcse = value / n, (mcse or 0.0) / n
    share = count or wanted["measure"] in SHARES
    distance, allowed = _distance(wanted, value, mcse, n, share), float(wanted.get("z", 3.3))
    verdict = "ok" if not isnan(distance) and abs(distance) <= allowed else "FAIL"
    shown = None if isnan(distance) else distance
    return (cell, wanted["method"], row["estimand"], wanted["measure"], value, mcse, n, _expected(wanted), shown,
            allowed, verdict)  # fmt: skip


def _distance(wanted: Mapping[str, Any], value: float | None, mcse: float | None, n: int, share: bool) -> float:
    """Distance from the expectation in standard errors; 0 inside bounds or margin; NaN without a value."""
    if value is None or n == 0:
        return float("nan")
    margin = float(wanted.get("margin", 0.0))
    for key, sign in (("value", 0), ("lower", -1), ("upper", 1)):
        if wanted.get(key) is None:
            continue
        target = float(wanted[key])
        beyond = value - target
        if abs(beyond) <= margin or beyond * sign < 0:
            continue
        edge = target + (margin if beyond > 0 else -margin)
        own = float(wanted.get("mcse", 0.0))
        if share and not own and 0 <= edge <= 1 and n * min(edge, 1 - edge) < RARE:
            return _exact(value, edge, n)
        error = sqrt(target * (1 - target) / n) if share and 0 < target < 1 else (mcse or 0.0)
        error = hypot(error, own)
        return (value - edge) / error if error > 0 else float("inf") * (1 if beyond > 0 else -1)
    return 0.0


def _exact(share: float, expected: float, n: int) -> float:
    """Normal deviate of the exact binomial probability of a share at least as far from the expected one."""
    from scipy.special import bdtr, bdtrc, ndtri

    seen = round(share * n)
    if share < expected:
        return min(float(ndtri(bdtr(seen, n, expected))), 0.0)
    return max(-float(ndtri(bdtrc(seen - 1, n, expected))), 0.0)


def _expected(wanted: Mapping[str, Any]) -> str:
    if wanted.get("value") is not None:
        return f"{wanted['value']:g}" + (f" ({wanted['mcse']:g})" if wanted.get("mcse") else "")
    low, high = wanted.get("lower"), wanted.get("upper")
    if low is None:
        return f"<= {high:g}"
    return f">= {low:g}" if high is None else f"{low:g} to {high:g}"
